"""REST for those who look after the devices: lists that are limited, maintenance, usage."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta

import pytest
from service_server import person, running_service
from service_world import UUIDS, World, first_free, make_ledger, now

from hub_ext import scopes
from hub_ext.models import Cordon, NoticeKind, Request
from hub_ext.policy import Policy, Pool

HOUR = timedelta(hours=1)
READS = [
    "api/v1/devices",
    f"api/v1/devices/{UUIDS[0]}",
    "api/v1/leases",
    "api/v1/queue",
    "api/v1/audit",
    "api/v1/usage",
]
CHANGES = {"cordon": {}, "drain": {"minutes": 60}, "uncordon": {}, "slots": {"slots": 2}}


@pytest.fixture(scope="module")
def module_ask(tmp_path_factory):
    """For questions that change nothing."""
    ledger = make_ledger(tmp_path_factory.mktemp("admin"))
    with running_service(World(ledger)) as running:
        yield running
    ledger.close()


CALLERS = [
    (None, 401),
    ("nonsense", 401),
    ("stranger-token", 403),
    ("ada-token", 403),
    ("ada-server-token", 403),
    ("instructor-token", 403),
]


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize(("token", "status"), [*CALLERS, ("admin-token", 200)])
def test_what_concerns_all_is_for_admins(module_ask, path, token, status):
    assert module_ask("GET", path, token).status_code == status


@pytest.mark.parametrize("verb", list(CHANGES))
@pytest.mark.parametrize(
    ("token", "status"), [*CALLERS, ("monitoring-token", 403), ("class-token", 403)]
)
def test_maintenance_is_for_admins(module_ask, verb, token, status):
    module_ask.tokens["monitoring-token"] = person("prometheus", scopes.DEVICES_READ)
    module_ask.tokens["class-token"] = person("kim", f"{scopes.DEVICES_MANAGE}!group=class-1")
    answer = module_ask("POST", f"api/v1/devices/{UUIDS[0]}/{verb}", token, json=CHANGES[verb])
    assert answer.status_code == status
    assert all(record.accepts for record in module_ask.world.ledger.devices())


def change(ask, verb: str, body: object, uuid: str = UUIDS[0]):
    return ask("POST", f"api/v1/devices/{uuid}/{verb}", "admin-token", json=body)


# -- maintenance


def test_a_cordon_takes_a_device_out_of_use_and_is_lifted(world, ask):
    view = change(ask, "cordon", {"reason": " new fan "}, UUIDS[1]).json()["device"]
    assert (view["cordon"], view["cordon_reason"]) == ("cordoned", "new fan")
    assert ask("GET", "api/v1/health").json()["devices"]["free"] == 0
    assert world.ledger.acquire(Request("bob", "", 1), first_free(1), now()) is None
    line = world.ledger.audit_trail()[-1]
    assert (line.actor, line.action) == ("root", "cordon")
    view = change(ask, "uncordon", {}, UUIDS[1]).json()["device"]
    assert (view["cordon"], view["cordon_reason"]) == ("", "")
    assert ask("GET", "api/v1/health").json()["devices"]["free"] == 1


def test_a_drain_ends_leases_and_tells_their_users(world, ask):
    view = change(ask, "drain", {"minutes": 30, "reason": "new fan"}).json()["device"]
    assert view["cordon"] == "draining"
    (holder,) = view["leases"]
    assert holder["user"] == "ada"
    left = datetime.fromisoformat(holder["expires_at"]) - now()
    assert timedelta(minutes=29) < left <= timedelta(minutes=30)
    (notice,) = world.ledger.notices("ada", "")
    assert (notice.kind, notice.detail["reason"]) == (NoticeKind.DRAINING, "new fan")
    change(ask, "uncordon", {})
    assert world.ledger.lease_of("ada", "").expires_at is None


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("drain", {}),
        ("drain", {"minutes": -1}),
        ("drain", {"minutes": 10081}),
        ("drain", {"minutes": 1e9}),
        ("drain", {"minutes": 1.5}),
        ("drain", {"minutes": "60"}),
        ("drain", {"minutes": True}),
        ("drain", {"minutes": None}),
        ("drain", {"minutes": 60, "reason": "x" * 201}),
        ("drain", {"minutes": 60, "reason": "two\nlines"}),
        ("drain", {"minutes": 60, "reason": 5}),
        ("drain", {"minutes": 60, "until": "2030-01-01"}),
        ("drain", [60]),
        ("cordon", {"reason": None}),
        ("cordon", {"reson": "a typo"}),
        ("cordon", "because"),
        ("uncordon", {"reason": "x"}),
        ("slots", {"slots": 0}),
        ("slots", {"slots": 65}),
        ("slots", {"slots": None}),
        ("slots", {"slots": "2"}),
        ("slots", {"slots": 2, "shared": True}),
    ],
)
def test_a_body_out_of_bounds_changes_nothing(module_ask, verb, body):
    assert change(module_ask, verb, body).status_code == 400
    assert all(record.cordon is Cordon.NONE for record in module_ask.world.ledger.devices())


@pytest.mark.parametrize("verb", list(CHANGES))
def test_a_device_that_never_was_is_not_found(module_ask, verb):
    answer = change(module_ask, verb, CHANGES[verb], "GPU-none")
    assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such device.")


def test_one_device_tells_its_slots_and_what_it_did(world, ask):
    found = ask("GET", f"api/v1/devices/{UUIDS[0]}", "admin-token").json()["device"]
    (listed,) = [
        each
        for each in ask("GET", "api/v1/devices", "admin-token").json()["devices"]
        if each["uuid"] == UUIDS[0]
    ]
    assert {name: found[name] for name in listed} == listed
    assert found["slot_leases"] == [world.ledger.lease_of("ada", "").id]
    assert found["configured_slots"] == 1
    samples = found["samples"]
    assert len(samples["utilization_percent"]) == len(samples["memory_used_bytes"]) == 120
    free = ask("GET", f"api/v1/devices/{UUIDS[1]}", "admin-token").json()["device"]
    assert (free["slot_leases"], free["leases"]) == ([None], [])
    assert ask("GET", "api/v1/devices/GPU-none", "admin-token").status_code == 404


def test_slots_are_changed_while_nobody_holds_a_device(world, ask):
    view = change(ask, "slots", {"slots": 3, "reason": "workshop"}, UUIDS[1]).json()["device"]
    assert (view["slots"], view["shared"]) == (3, True)
    line = world.ledger.audit_trail()[-1]
    assert (line.actor, line.action) == ("root", "device.slots")
    found = ask("GET", f"api/v1/devices/{UUIDS[1]}", "admin-token").json()["device"]
    assert (found["slot_leases"], found["configured_slots"]) == ([None] * 3, 1)
    view = change(ask, "slots", {}, UUIDS[1]).json()["device"]
    assert (view["slots"], view["shared"]) == (1, False)
    for language, words in (("en", "Somebody holds this device"), ("zh-CN", "有人正在使用")):
        answer = ask(
            "POST",
            f"api/v1/devices/{UUIDS[0]}/slots",
            "admin-token",
            json={"slots": 2},
            headers={"Accept-Language": language},
        )
        assert answer.status_code == 409 and words in answer.text
    assert all(not record.device.shared for record in world.ledger.devices())


def test_a_reason_may_be_in_any_language(ask):
    assert (
        change(ask, "cordon", {"reason": "更换风扇"}).json()["device"]["cordon_reason"]
        == "更换风扇"
    )


def test_a_shared_device_shows_all_who_have_it(world, ask):
    world.stop_server("ada", "")
    world.ledger.set_policy(Policy(pools=(Pool("demo", (UUIDS[0],), slots=3),)))
    world.ledger.record_inventory([r.device for r in world.ledger.devices()], now())
    for user in ("bob", "kim"):
        request = Request(user, "", 1, share=True, term=HOUR)
        world.ledger.acquire(request, lambda _seen: [UUIDS[0]], now())
    first, second = ask("GET", "api/v1/devices", "admin-token").json()["devices"]
    assert (first["slots"], first["shared"], first["pool"]) == (3, True, "demo")
    assert [lease["user"] for lease in first["leases"]] == ["bob", "kim"]
    assert all(lease["expires_at"] for lease in first["leases"])
    assert (second["slots"], second["shared"], second["leases"]) == (1, False, [])


# -- lists


def test_the_line_is_told_in_order_with_what_each_waits_for(world, ask):
    world.ledger.begin_run("present", now())
    world.ledger.enqueue(Request("bob", "", 2, groups=("class-1",)), now(), waiter="present")
    world.ledger.enqueue(Request("kim", "x", 1, model="A100", priority=3), now(), waiter="gone")
    rows = ask("GET", "api/v1/queue", "admin-token").json()["queue"]
    assert {row["user"] for row in rows} == {"bob", "kim"}
    kim = next(row for row in rows if row["user"] == "kim")
    assert (kim["server"], kim["model"], kim["priority"]) == ("x", "A100", 3)
    assert kim["interrupted"] is True
    bob = next(row for row in rows if row["user"] == "bob")
    assert (bob["gpus"], bob["groups"], bob["interrupted"]) == (2, ["class-1"], False)
    assert [row["position"] for row in rows] == [1, 2]


# -- usage


def use(world: World, user: str, groups: tuple[str, ...], days_ago: int, hours: float) -> None:
    began = datetime.combine((now() - timedelta(days=days_ago)).date(), datetime.min.time())
    began = began.replace(tzinfo=now().tzinfo)
    lease = world.ledger.acquire(Request(user, "", 1, groups=groups), first_free(1), began)
    world.ledger.end(lease.id, "stopped", began + timedelta(hours=hours))


def test_usage_is_summed_as_asked_for(world, ask):
    world.stop_server("ada", "")
    use(world, "lin", ("class-1", "class-2"), 2, 3.0)
    use(world, "lin", ("class-1",), 1, 1.0)
    use(world, "max", ("class-1",), 1, 2.0)
    day = {n: (now() - timedelta(days=n)).date().isoformat() for n in (1, 2)}
    period = f"since={day[2]}&until={day[1]}"

    def rows(by: str) -> list[dict]:
        answer = ask("GET", f"api/v1/usage?{period}&by={by}", "admin-token").json()
        assert (answer["since"], answer["until"]) == (day[2], day[1])
        return answer["usage"]

    assert rows("user") == [
        {"user": "lin", "device_seconds": 4 * 3600.0},
        {"user": "max", "device_seconds": 2 * 3600.0},
    ]
    assert rows("group") == [
        {"group": "class-1", "device_seconds": 6 * 3600.0},
        {"group": "class-2", "device_seconds": 3 * 3600.0},
    ]
    assert rows("day,user") == [
        {"day": day[2], "user": "lin", "device_seconds": 3 * 3600.0},
        {"day": day[1], "user": "lin", "device_seconds": 3600.0},
        {"day": day[1], "user": "max", "device_seconds": 2 * 3600.0},
    ]
    assert sum(row["device_seconds"] for row in rows("device")) == 6 * 3600.0


def test_usage_as_a_spreadsheet(world, ask):
    use(world, "=cmd()", (), 1, 1.5)
    answer = ask("GET", "api/v1/usage?by=user&format=csv", "admin-token")
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert "attachment" in answer.headers["Content-Disposition"]
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert rows[0] == ["user", "device_hours"]
    assert ["'=cmd()", "1.5000"] in rows


def test_usage_includes_what_is_in_use_now(world, ask):
    world.stop_server("ada", "")
    world.run_server("bob", at=now() - timedelta(minutes=30))
    rows = ask("GET", "api/v1/usage", "admin-token").json()["usage"]
    assert 0.49 < next(r for r in rows if r["user"] == "bob")["device_seconds"] / 3600 < 0.6


@pytest.mark.parametrize(
    "query", ["by=colour", "by=", "since=today", "until=2026-13-01", "format=xml", "days=3"]
)
def test_a_report_out_of_bounds_is_refused(module_ask, query):
    assert module_ask("GET", f"api/v1/usage?{query}", "admin-token").status_code == 400


# -- pages


@pytest.mark.parametrize("page", ["devices", "queue", "usage"])
def test_pages_of_all_are_for_admins(module_ask, page):
    assert module_ask("GET", page).status_code == 403
    assert module_ask("GET", page, "instructor-token").status_code == 403
    assert module_ask("GET", page, "admin-token").status_code == 200
    header = module_ask("GET", "", "ada-token").text.split("</header>")[0]
    assert f"/services/gpucamp/{page}" not in header


def test_a_devices_page_without_the_right_to_manage_has_no_buttons(module_ask):
    module_ask.tokens["watcher"] = person("watcher", scopes.DEVICES_READ)
    page = module_ask("GET", "devices", "watcher").text
    assert "Simulated A100" in page and "drain-dialog" not in page


def test_a_reason_is_text_on_a_page(ask):
    change(ask, "cordon", {"reason": "<b>fan</b>"})
    page = ask("GET", "devices", "admin-token").text
    assert "&lt;b&gt;fan" in page and "<b>fan" not in page


@pytest.mark.parametrize("query", ["since=x", "since=2026-02-01&until=2026-01-01", "by=colour",
                                   "since=2020-01-01&until=2026-01-01"])  # fmt: skip
def test_a_usage_page_out_of_bounds_says_so(module_ask, query):
    assert module_ask("GET", f"usage?{query}", "admin-token").status_code == 400


def test_a_choice_of_language_keeps_the_report(module_ask):
    answer = module_ask("GET", "usage?by=group&lang=zh_CN", "admin-token")
    assert answer.headers["Location"] == "/services/gpucamp/usage?by=group"
