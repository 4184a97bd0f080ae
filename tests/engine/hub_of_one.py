"""A hub with one user, as far as a single-user server asks: version, whose token, activity."""

from __future__ import annotations

import json
import secrets
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class HubOfOne:
    """Answers on 127.0.0.1 while its `with` block runs."""

    def __init__(self, user: str, version: str = "6.1.1") -> None:
        self.token = secrets.token_hex(16)
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                known = self.headers.get("Authorization", "").endswith(hub.token)
                body, status = {"version": version}, 200
                if self.path.startswith("/hub/api/user"):
                    status = 200 if known else 403
                    body = {
                        "kind": "user",
                        "name": user,
                        "admin": False,
                        "groups": [],
                        "scopes": [f"access:servers!server={user}/"],
                    }
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.send_header("X-JupyterHub-Version", version)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = _answer

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def environment(self, user: str, port: int) -> dict[str, str]:
        """What a spawner tells the single-user server."""
        hub = f"http://127.0.0.1:{self._server.server_port}/hub"
        scopes = json.dumps([f"access:servers!server={user}/"])
        return {
            "JUPYTERHUB_API_TOKEN": self.token,
            "JUPYTERHUB_API_URL": f"{hub}/api",
            "JUPYTERHUB_ACTIVITY_URL": f"{hub}/api/users/{user}/activity",
            "JUPYTERHUB_BASE_URL": "/",
            "JUPYTERHUB_CLIENT_ID": f"jupyterhub-user-{user}",
            "JUPYTERHUB_HOST": "",
            "JUPYTERHUB_HUB_PREFIX": "/hub/",
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES": scopes,
            "JUPYTERHUB_OAUTH_CALLBACK_URL": f"/user/{user}/oauth_callback",
            "JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES": "[]",
            "JUPYTERHUB_OAUTH_SCOPES": scopes,
            "JUPYTERHUB_SERVER_NAME": "",
            "JUPYTERHUB_SERVICE_PREFIX": f"/user/{user}/",
            "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}/",
            "JUPYTERHUB_USER": user,
        }

    def __enter__(self) -> HubOfOne:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
