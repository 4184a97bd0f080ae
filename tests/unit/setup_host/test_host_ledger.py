"""The ledger is made before the hub starts, in SQLite or in PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ledger_databases import KINDS, new_database

from hub_ext.ledger import Ledger
from setup_host import ledger
from setup_host.errors import SetupError
from setup_host.settings import Settings


@pytest.mark.parametrize("kind", KINDS)
def test_the_ledger_is_made_and_its_id_is_kept(
    settings: Settings, tmp_path: Path, kind: str
) -> None:
    with new_database(kind, tmp_path) as url:
        mine = replace(settings, ledger_url=url)
        made = ledger.ensure(mine)
        assert ledger.ensure(mine) == made == ledger.hub_id(mine)
        opened = Ledger(url)
        assert (opened.hub_id(), opened.leases()) == (made, ())
        opened.close()


@pytest.mark.parametrize(
    "url", ["postgresql://ann:s3cr3t@/db?host=/nowhere", "mysql://ann:s3cr3t@host/db", "s3cr3t"]
)
def test_what_is_wrong_is_said_without_the_password(settings: Settings, url: str) -> None:
    with pytest.raises(SetupError) as caught:
        ledger.ensure(replace(settings, ledger_url=url))
    said = f"{caught.value} {vars(caught.value)}"
    assert "GPUCAMP_LEDGER_URL" in said
    assert "s3cr3t" not in said
