"""What all pages share: templates, languages, the frame around the content.

Guarantees: a page shows what REST would tell the same visitor, in their language; nothing of it
runs or loads from elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import jinja2

from ..audit_actions import Action
from ..i18n import LANGUAGES, _, comma, gap, ngettext
from ..scopes import (
    DEVICES_READ,
    ENVIRONMENT_READ,
    ENVIRONMENT_RESET,
    IMAGES_READ,
    LEASES_READ,
    SETTINGS_READ,
)
from . import sparkline
from .auth import Caller
from .end_reasons import end_reason
from .finding_page import inline_html, paragraphs_html
from .handlers import LANGUAGE_COOKIE, ServiceHandler
from .views import server_path
from .wording import bytes_text, size_text, verdict_word

HERE = Path(__file__).parent


def make_templates() -> jinja2.Environment:
    """The templates, with gettext in the language of the running request."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]  # i18n adds it
        gettext=_, ngettext=ngettext, newstyle=True
    )
    environment.filters["short_image"] = short_image
    environment.filters["gibibytes"] = lambda size: f"{size / 2**30:.0f} GiB"
    environment.filters["hours"] = hours
    environment.filters["size"] = size_text
    environment.filters["bytes"] = bytes_text
    environment.filters["moment"] = lambda seconds: datetime.fromtimestamp(seconds, UTC).isoformat()
    environment.filters["utc"] = utc
    environment.filters["sparkline"] = sparkline.path
    environment.filters["paragraphs"] = paragraphs_html
    environment.filters["inline"] = inline_html
    environment.filters["end_reason"] = end_reason
    environment.filters["short_name"] = lambda uuid, names: names.get(uuid, uuid)
    environment.filters["urlpart"] = lambda name: quote(name, safe="")
    environment.globals["server_path"] = server_path
    environment.globals["comma"] = comma
    environment.globals["gap"] = gap
    environment.globals["verdict_word"] = verdict_word
    return environment


@lru_cache(maxsize=1)
def static_version() -> str:
    """Changes whenever a static file does: browsers keep what has the same for years."""
    digest = sha256()
    for path in sorted((HERE / "static").iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def short_image(image: str) -> str:
    """The first twelve digits of an image's digest or id; a name without one stays."""
    name, separator, digest = image.rpartition("sha256:")
    return digest[:12] if separator else image


def hours(value: float) -> str:
    """Device-hours as people read them: one digit after the point, none if it is zero."""
    return f"{value:.1f}".removesuffix(".0")


def utc(moment: str) -> str:
    """A time for those whose browser runs no script; others see their own clock's."""
    return f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def sees_others(caller: Caller) -> bool:
    """Whether somebody may see servers beside their own: all, or those of a class."""
    return caller.holds_for_all(ENVIRONMENT_READ) or caller.filters_by_group(ENVIRONMENT_READ)


def resets_groups(caller: Caller) -> bool:
    """Whether somebody may reset all of a class."""
    return caller.holds_for_all(ENVIRONMENT_RESET) or caller.filters_by_group(ENVIRONMENT_RESET)


@dataclass(frozen=True, slots=True)
class Live:
    """When a page is fetched again, in seconds, if it has parts that change (static/live.js).

    `poll`: at the latest; `gap`: at the earliest, whatever happens, but for `urgent` events, which
    are shown within seconds; `about`: the user whom events must be about to count ("": any).
    """

    poll: int = 30
    gap: int = 20
    about: str = ""
    urgent: tuple[Action, ...] = ()


class PageHandler(ServiceHandler):
    """Base of pages."""

    async def prepare(self) -> None:
        await super().prepare()
        chosen = self.get_query_argument("lang", "")
        if not self._finished and chosen in LANGUAGES:
            self.set_cookie(
                LANGUAGE_COOKIE, chosen, path=self.service.prefix, expires_days=365, samesite="Lax"
            )
            rest = urlencode(self._query())
            self.redirect(self.request.path + ("?" + rest if rest else ""))

    def _query(self) -> list[tuple[str, str]]:
        """The query without the choice of language."""
        return [pair for pair in parse_qsl(self.request.query) if pair[0] != "lang"]

    def refuse_unknown(self) -> None:
        self.redirect(self.get_login_url())

    def show(self, template: str, *, live: Live | None = None, **values: Any) -> None:
        """Render a template with what every page needs; `live`: how it keeps itself up to date."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        service = self.service
        caller = self.caller if self.current_user else None
        self.finish(
            self.settings["templates"]
            .get_template(template)
            .render(
                prefix=service.prefix,
                home_url=f"{service.hub_prefix}home",
                language=self.language,
                languages=LANGUAGES,
                path=self.request.path,
                query=urlencode([*self._query(), ("", "")]).removesuffix("="),
                visitor=caller.name if caller else "",
                sees_servers=bool(caller and sees_others(caller)),
                sees_groups=bool(caller and resets_groups(caller)),
                sees_devices=bool(caller and caller.holds_for_all(DEVICES_READ)),
                sees_leases=bool(caller and caller.holds_for_all(LEASES_READ)),
                sees_images=bool(caller and caller.holds_for_all(IMAGES_READ)),
                sees_settings=bool(caller and caller.holds_for_all(SETTINGS_READ)),
                now=service.now().isoformat(),
                xsrf_token=self.xsrf_token.decode() if caller else "",
                version=static_version(),
                live=live or Live(),
                after=service.events.latest,
                **values,
            )
        )

    def show_error(self, status: int, message: str, error: BaseException | None = None) -> None:
        self.show("error.html", status=status, message=message)
