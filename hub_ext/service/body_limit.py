"""Bodies that are too large are answered with a problem document, before any handler sees them.

Guarantees: of a body above the limit nothing is kept; up to DRAINED bytes are read to their end, so
that the answer reaches whoever sends first and reads later (a proxy, too); what is larger still is
answered at once, and the connection closed. tornado by itself answers 400 without a word.
"""

from __future__ import annotations

from collections.abc import Awaitable
from http.client import responses

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)

from ..i18n import choose_language, set_language
from .handlers import SECURITY_HEADERS
from .http_errors import message_for
from .problems import MEDIA_TYPE, as_json, problem

MAX_BODY_BYTES = 64 * 1024
DRAINED = 16 * 2**20
UNLIMITED = 2**62  # for tornado, whose own limit then never comes first


class BodyLimit(HTTPServerConnectionDelegate):
    """An application whose requests have at most `most` bytes in their body."""

    def __init__(
        self, application: HTTPServerConnectionDelegate, prefix: str, most: int = MAX_BODY_BYTES
    ) -> None:
        self._application, self._prefix, self._most = application, prefix, most

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        inner = self._application.start_request(server_conn, request_conn)
        return _Limited(inner, request_conn, self._prefix, self._most)

    def on_close(self, server_conn: object) -> None:
        self._application.on_close(server_conn)


class _Limited(HTTPMessageDelegate):
    def __init__(
        self, inner: HTTPMessageDelegate, connection: HTTPConnection, prefix: str, most: int
    ) -> None:
        self._inner, self._connection, self._prefix, self._most = inner, connection, prefix, most
        self._language = ""
        self._size = 0
        self._refused = self._answered = False

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        self._language = headers.get("Accept-Language", "")
        given = headers.get("Content-Length", "")
        # tornado refuses what is no number, or two of them
        length = int(given) if given.isascii() and given.isdigit() and len(given) < 18 else 0
        if length <= self._most:
            return self._inner.headers_received(start_line, headers)
        self._refused = True
        if length > DRAINED or "Expect" in headers:
            self._answer()
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._size += len(chunk)
        self._refused = self._refused or self._size > self._most
        if not self._refused:
            return self._inner.data_received(chunk)
        if self._size > DRAINED:
            self._answer()
        return None

    def finish(self) -> None:
        if self._refused:
            self._answer()
        else:
            self._inner.finish()

    def on_connection_close(self) -> None:
        if not self._refused:
            self._inner.on_connection_close()

    def _answer(self) -> None:
        if self._answered:
            return
        self._answered = True
        set_language(choose_language(self._language))
        document = problem(None, 413, message_for(None, 413), self._prefix)
        body = as_json(document).encode()
        headers = HTTPHeaders(
            {
                **SECURITY_HEADERS,
                "Content-Type": MEDIA_TYPE,
                "Content-Length": str(len(body)),
                "Connection": "close",
            }
        )
        self._connection.write_headers(
            ResponseStartLine("HTTP/1.1", 413, responses[413]), headers, body
        )
        self._connection.finish()
