"""Base of every handler of the extension.

Guarantees: errors are JSON `{"status", "message"}` and decided in one place (`STATUS`); an
unexpected error shows no internals; a streamed answer waits for a slow reader instead of filling
memory, and stops its source when the reader leaves.

Every verb of a subclass carries `@web.authenticated` and `@authorized`; tests/server/test_app.py
walks all handlers and fails on one that does not.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from http.client import responses
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.extension.handler import ExtensionHandlerMixin
from tornado import web
from tornado.iostream import StreamClosedError

from . import errors, i18n
from .i18n import N_

STATUS: dict[type[errors.GpucampServerError], int] = {
    errors.BadRequest: 400,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.ServiceUnavailable: 503,
}

# A proxy may close a connection that says nothing; a blank line is skipped by every NDJSON reader.
KEEPALIVE_SECONDS = 8.0

Event = Mapping[str, Any] | list[Mapping[str, Any]]


def status_of(error: errors.GpucampServerError) -> int:
    """The HTTP status of a domain error; 500 for one that nobody thought of."""
    return next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)


class GpucampHandler(ExtensionHandlerMixin, APIHandler):
    """A JSON handler of the extension; see the module's guarantees."""

    auth_resource = "gpucamp"

    _producer: asyncio.Task[None] | None = None

    # -- language

    @property
    def locale_name(self) -> str:
        """The language of this request: `?locale=`, else Accept-Language."""
        return i18n.negotiate(
            self.get_query_argument("locale", None), self.request.headers.get("Accept-Language")
        )

    def gettext(self, message: str) -> str:
        """`message` in the language of this request."""
        return i18n.gettext_for(self.locale_name)(message)

    # -- input

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object; an empty body is {}. Raises BadRequest for anything else."""
        body = self.request.body.strip()
        if not body:
            return {}
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            raise errors.BadRequest(N_("The request is not valid JSON.")) from None
        if not isinstance(value, dict):
            raise errors.BadRequest(N_("The request must be a JSON object."))
        return value

    def empty_body(self) -> None:
        """Accepts no body or {}. Raises BadRequest."""
        if self.json_object():
            raise errors.BadRequest(N_("The request takes no values: send {}."))

    # -- output

    def reply(self, value: Any, status: int = 200) -> None:
        """Answers with JSON; names of files in it need not be valid Unicode."""
        self.set_status(status)
        self.finish(json.dumps(value))

    async def stream(self, events: AsyncGenerator[Event, None]) -> None:
        """Answers with one JSON object per line (NDJSON), each sent when the reader has taken the
        last.

        A list of objects is sent together, a line each: for sources that have much to say. When
        the reader leaves, `events` is cancelled at its await and closed, and this returns. A
        domain error before the first event becomes an ordinary JSON error; after it, a last line
        `{"event": "error", "status", "message"}`.
        """
        self.set_header("Content-Type", "application/x-ndjson; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")
        connection: Any = self.request.connection
        if connection.stream.closed():
            await events.aclose()
            return
        self._producer = asyncio.create_task(self._produce(events))
        try:
            await asyncio.shield(self._producer)
        except asyncio.CancelledError:
            if not self._producer.done():
                # this handler was cancelled (server shutdown), not the producer: end it before
                # leaving
                self._producer.cancel()
                await asyncio.wait([self._producer])
                raise
        except StreamClosedError:
            pass
        finally:
            self._producer = None

    async def _produce(self, events: AsyncGenerator[Event, None]) -> None:
        sending = asyncio.Lock()

        async def send(line: str) -> None:
            # tornado forgets an earlier flush when a second one starts, so they take turns
            async with sending:
                self.write(line + "\n")
                await self.flush()

        async def keep_alive() -> None:
            while True:
                await asyncio.sleep(KEEPALIVE_SECONDS)
                if not sending.locked():
                    await send("")

        keeper = asyncio.create_task(keep_alive())
        try:
            async with aclosing(events):
                async for event in events:
                    together = event if isinstance(event, list) else [event]
                    await send("\n".join(json.dumps(one, ensure_ascii=False) for one in together))
        except errors.GpucampServerError as error:
            if not self._headers_written:
                raise
            message = error.render(self.gettext)
            await send(
                json.dumps(
                    {"event": "error", "status": status_of(error), "message": message},
                    ensure_ascii=False,
                )
            )
        finally:
            keeper.cancel()
            # its own failure can only be a closed stream, which on_connection_close sees too
            await asyncio.gather(keeper, return_exceptions=True)

    def on_connection_close(self) -> None:
        """The reader left: tornado may leave a pending flush waiting for ever, so the source is
        cancelled.
        """
        super().on_connection_close()
        if self._producer is not None:
            self._producer.cancel()

    def finish(self, *args: Any, **kwargs: Any) -> asyncio.Future[None]:
        """As APIHandler.finish, but keeps the content type of a stream."""
        content_type = self._headers.get("Content-Type", "")
        if content_type.startswith("application/x-ndjson"):
            kwargs.setdefault("set_content_type", content_type)
        return super().finish(*args, **kwargs)

    # -- errors

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Maps a domain error to its status."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        if isinstance(error, errors.GpucampServerError):
            status_code = status_of(error)
        super().send_error(status_code, **kwargs)

    def log_exception(self, kind: Any, error: Any, traceback: Any) -> None:
        """A domain error is an answer, not a fault: no traceback in the log."""
        if isinstance(error, errors.GpucampServerError) and status_of(error) < 500:
            self.log.info("%s %s: %s", self.request.method, self.request.path, error)
            return
        super().log_exception(kind, error, traceback)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every error as `{"status", "message"}`."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        if isinstance(error, errors.GpucampServerError):
            message = error.render(self.gettext)
        elif isinstance(error, web.HTTPError):
            message = error.log_message or error.reason or responses.get(status_code, "")
            if error.log_message and error.args:
                message = error.log_message % error.args
        else:
            message = self.gettext(
                N_("Something went wrong in the server; its log has the details.")
            )
        self.finish(json.dumps({"status": status_code, "message": message}, ensure_ascii=False))
