"""What jupyterhub_config.py works out from the host instead of asking for it."""

from __future__ import annotations

import os
from contextvars import copy_context

from jupyterhub.app import JupyterHub

from . import i18n
from .errors import LedgerInUse, LedgerUnavailable
from .hub_side import claim_ledger

GIB = 1024**3


def fair_memory_limit(servers: int, *, total: int | None = None) -> int:
    """Bytes of memory for one server, if `servers` of them run at a time.

    An equal share of this host's memory (`total`, by default looked up) after a fifth is left to
    the host; never less than 2 GiB, without which torch does not load.
    """
    if total is None:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(2 * GIB, total * 4 // 5 // servers)


def text_in(message: str, language: str) -> str:
    """A message in a language, for the hub's templates (there as `gettext`)."""

    def translated() -> str:
        i18n.set_language(language)
        return i18n._(message)

    return copy_context().run(translated)


def refuse_second_hub(ledger_url: str) -> None:
    """Claim the ledger for this hub, or exit with the reason.

    Only in a hub that starts: `jupyterhub token` and the like read the configuration, too.
    """
    if not JupyterHub.initialized() or JupyterHub.instance().subapp is not None:
        return
    try:
        claim_ledger(ledger_url)
    except (LedgerInUse, LedgerUnavailable) as error:
        raise SystemExit(f"gpucamp does not start. {error}") from error
