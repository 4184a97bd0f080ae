"""Examinations from outside: who may, one at a time, every way they can end, what comes out."""

from __future__ import annotations

import asyncio
import html
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resets import reset
from service_server import RunningService, expand, person, running_service
from service_world import (
    REPORT,
    EngineSilent,
    FakeEngine,
    FakeRunner,
    RunnerHangs,
    World,
    make_ledger,
    now,
)

from hub_ext import scopes
from hub_ext.engine_exec import ContainerNotRunning, Done, OutputTooLong
from hub_ext.errors import Conflict, EngineRefused, EngineUnavailable, LedgerUnavailable
from hub_ext.i18n import set_language
from hub_ext.service.examinations import KEPT, Examinations, State, Trouble, command
from hub_ext.service.examined_report import NoReport, read_report
from hub_ext.service.wording_doctor import trouble_text

BASE = "api/v1/users/ada/server/doctor"
PREFIX = "/services/gpucamp/"


def until_over(ask: RunningService) -> dict[str, Any]:
    deadline = time.monotonic() + 10
    while True:
        found = ask("GET", BASE, "instructor-token").json()["examination"]
        if found["ended_at"]:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def examine(ask: RunningService, **body: Any) -> dict[str, Any]:
    answer = ask("POST", f"{BASE}/examine", "instructor-token", json=body)
    assert answer.status_code == 202, answer.text
    return until_over(ask)


@contextmanager
def hanging(world: World) -> Iterator[RunningService]:
    """A service whose commands in containers hang until they are released."""
    runner = RunnerHangs()
    with running_service(world, runner=runner) as ask:
        yield ask
        runner.released = True


# -- the way through


def test_an_instructor_reads_the_report_and_the_verdict_is_kept(ask, world):
    found = examine(ask)
    assert (found["state"], found["by"], found["error"]) == ("done", "kim", None)
    report = found["report"]
    assert [(each["code"], each["who"]) for each in report["findings"]] == [
        ("GC102", "instructor"),
        ("GC403", "you"),
    ], "worst first"
    assert report["findings"][0]["docs_url"] == "/services/gpucamp/findings/GC102"
    assert report["findings"][0]["evidence"] == ["GPU-5ca1ab1e <b>", "/dev: no nvidia0"]
    assert report["facts"] == REPORT["facts"]
    lease = world.ledger.lease_of("ada", "")
    verdict = ask("GET", "api/v1/users/ada/server").json()["doctor"]
    assert (verdict["verdict"], verdict["current"]) == ("blocked", True)
    assert ask("GET", BASE, "ada-token").json()["verdict"] == verdict
    lines = [each for each in world.ledger.audit_trail(lease.id) if each.action == "examine"]
    assert [(each.actor, each.detail) for each in lines] == [("kim", "ada/")]


def test_the_command_is_the_bases_own_in_the_servers_container(ask, world):
    examine(ask, kernel="mine")
    ((container, argv, environment),) = ask.runner.asked
    (fact,) = world.containers
    assert container == fact.id
    assert argv[:2] == ("/usr/bin/timeout", "--kill-after=10")
    assert argv[3:] == (
        "/opt/gpucamp/base/bin/gpucamp-doctor",
        "--json",
        "--locale",
        "en",
        "--kernel=mine",
    )
    assert environment == {"GPUCAMP_DOCTOR_ATTACHED": "1"}
    assert command("", "zh_CN", 180)[2:] == ("200", argv[3], "--json", "--locale", "zh_CN")


def test_what_the_server_told_itself_stays(ask, world):
    lease = world.ledger.lease_of("ada", "").id
    told = {"at": REPORT["started_at"], "findings": [], "version": "0.1.0", "lease": lease}
    assert ask("POST", f"{BASE}/verdict", "ada-server-token", json=told).ok
    examine(ask)
    assert ask("GET", "api/v1/users/ada/server").json()["doctor"]["version"] == "0.1.0"


def test_a_named_server_is_examined_by_itself(ask, world):
    world.run_server("ada", "second")
    answer = ask(
        "POST", "api/v1/users/ada/servers/second/doctor/examine", "instructor-token", json={}
    )
    assert answer.status_code == 202
    assert ask("GET", BASE).json()["examination"] is None
    found = ask("GET", "api/v1/users/ada/servers/second/doctor").json()
    assert found["examination"]["by"] == "kim"


# -- who may


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (None, 401),
        ("nonsense", 401),
        ("stranger-token", 403),
        ("reader-token", 403),
        ("bob-token", 404),
        ("other-class-token", 404),
        ("ada-second-server-token", 404),
        ("ada-token", 202),
        ("ada-server-token", 202),
        ("class-token", 202),
        ("instructor-token", 202),
        ("admin-token", 202),
    ],
)
def test_it_is_for_its_user_and_those_who_teach_them(ask, world, token, status):
    def of(name: str, names: list[str], server: str = "") -> dict[str, Any]:
        return {"kind": "user", "name": name, "scopes": expand(names, name, server)}

    world.users["ada"] = ("class-1",)
    read, examine = scopes.ENVIRONMENT_READ, scopes.ENVIRONMENT_EXAMINE
    ask.tokens.update(
        {
            "reader-token": of("mon", [scopes.ACCESS_SERVICE, read, scopes.ENVIRONMENT_RESET]),
            "class-token": person("kim", f"{examine}!group=class-1"),
            "other-class-token": person("kim", f"{examine}!group=class-2"),
            "ada-second-server-token": of("ada", list(scopes.SERVER_TOKEN_SCOPES), "second"),
        }
    )
    for method, path, good in (
        ("POST", f"{BASE}/examine", 202),
        ("GET", BASE, 200),
        ("POST", f"{BASE}/cancel", 200),
    ):
        expected = good if status == 202 else status
        assert ask(method, path, token).status_code == expected, path
    assert bool(ask.runner.asked) == (status == 202)


def test_a_server_that_never_was_is_not_found(ask):
    for path in ("api/v1/users/ada/servers/none/doctor", "api/v1/users/nobody/server/doctor"):
        assert ask("GET", path, "admin-token").status_code == 404
        assert ask("POST", f"{path}/examine", "admin-token").status_code == 404


@pytest.mark.parametrize("body", [{"kernel": "a b"}, {"kernel": 5}, {"command": "rm"}, [], "x"])
def test_a_body_out_of_bounds_is_refused(ask, body):
    assert ask("POST", f"{BASE}/examine", json=body).status_code == 400
    assert ask.runner.asked == []


def test_a_server_that_does_not_run_is_not_examined(ask, world):
    world.containers.clear()
    answer = ask("POST", f"{BASE}/examine")
    assert answer.status_code == 409
    assert "does not run" in answer.json()["detail"]
    world.stop_server("ada", "")
    assert ask("POST", f"{BASE}/examine").status_code == 409
    assert ask.runner.asked == []


def test_without_the_engine_nothing_begins(world):
    with running_service(world, engine=EngineSilent(world)) as ask:
        assert ask("POST", f"{BASE}/examine").status_code == 503
        assert ask("GET", BASE).json() == {"verdict": None, "examination": None}
    assert [each for each in world.ledger.audit_trail() if each.action == "examine"] == []


# -- one at a time, and its ends


def test_who_asks_meanwhile_joins(world):
    with hanging(world) as ask:
        first = ask("POST", f"{BASE}/examine", "instructor-token").json()["examination"]
        again = ask("POST", f"{BASE}/examine", "instructor-token").json()["examination"]
        other = ask("POST", f"{BASE}/examine", "ada-token").json()["examination"]
        assert first["id"] == again["id"] == other["id"]
        assert first["state"] in ("waiting", "running")
        ask.runner.released = True
        assert until_over(ask)["state"] == "done"
        assert len(ask.runner.asked) == 1
        newer = ask("POST", f"{BASE}/examine", "ada-token").json()["examination"]
        assert newer["id"] != first["id"]


def test_cancelled_it_ends_at_once_and_can_begin_anew(world):
    with hanging(world) as ask:
        ask("POST", f"{BASE}/examine", "instructor-token")
        while not ask.runner.asked:
            time.sleep(0.01)
        found = ask("POST", f"{BASE}/cancel", "instructor-token").json()["examination"]
        assert (found["state"], found["report"]) == ("cancelled", None)
        assert ask.runner.ended == 1, "nothing is left behind"
        again = ask("POST", f"{BASE}/cancel", "instructor-token").json()["examination"]
        assert again == found
        ask.runner.released = True
        assert examine(ask)["state"] == "done"


def test_a_service_that_ends_ends_them(world):
    runner = RunnerHangs()
    with running_service(world, runner=runner) as ask:
        ask("POST", f"{BASE}/examine", "instructor-token")
        while not runner.asked:
            time.sleep(0.01)
        assert not runner.ended
    assert runner.ended == 1


# -- the page


def test_the_page_shows_the_report_in_place(ask, world):
    page = ask("GET", "users/ada/server", "instructor-token").text
    assert 'data-post="/services/gpucamp/api/v1/users/ada/server/doctor/examine"' in page
    examine(ask)
    page = ask("GET", "users/ada/server", "instructor-token").text
    assert "The GPU that was given is not in the container." in page
    assert "GPU-5ca1ab1e &lt;b&gt;" in page and "<b>" not in page
    assert "Report of an examination by kim" in page
    assert "by kim" in ask("GET", "").text, "its user sees who it was"


def test_after_a_reset_the_page_says_that_the_report_is_of_the_environment_before(ask, world):
    examine(ask)
    earlier = "in the environment before this one"
    assert earlier not in ask("GET", "").text
    reset(world.ledger, "ada", "", now())
    page = ask("GET", "").text
    assert "Report of an examination by kim" in page and earlier in page
    assert "not examined yet" in page


def card(ask: RunningService) -> dict[str, Any]:
    found: list[dict[str, Any]] = ask("GET", "api/v1/class", "instructor-token").json()["servers"]
    return next(each for each in found if each["user"] == "ada")


def test_the_class_sees_an_examination_and_that_it_gave_no_report(world):
    with hanging(world) as ask:
        assert card(ask)["examination"] is None
        ask("POST", f"{BASE}/examine", "instructor-token", json={})
        assert card(ask)["examination"]["state"] == "running"
        mine = ask("GET", "class", "instructor-token").text
        assert "Examining…" in mine and 'data-poll="3"' in mine
        theirs = ask("GET", "class", "admin-token").text
        assert "Examining…" in theirs and 'data-poll="3"' not in theirs
        assert "Examining…" in ask("GET", "class?view=table", "instructor-token").text
    runner = FakeRunner()
    runner.answer = raising(ContainerNotRunning("gone"))
    with running_service(world, runner=runner) as ask:
        examine(ask)
        found = card(ask)["examination"]
        assert found["state"] == "failed" and "report" not in found
        page = ask("GET", "class", "instructor-token").text
        assert html.escape(found["error"]) in page and 'data-poll="3"' not in page
        world.stop_server("ada", "")
        world.run_server("ada")
        page = ask("GET", "class", "instructor-token").text
        assert html.escape(found["error"]) not in page, "it was another start"


def test_the_page_says_who_can_mend_what_to_whom_it_concerns(ask):
    examine(ask)
    others = ask("GET", "users/ada/server", "instructor-token").text
    assert badges(others) == ["for you to do", "ada can do this"]
    # of advice to oneself nobody need say whose it is
    assert badges(ask("GET", "").text) == ["for your instructor"]


def badges(page: str) -> list[str]:
    return re.findall('<span class="badge plain">([^<]*)</span>', page)


def test_the_page_shows_one_under_way_with_a_way_out(world):
    with hanging(world) as ask:
        ask("POST", f"{BASE}/examine", "instructor-token")
        page = ask("GET", "users/ada/server", "instructor-token").text
        assert 'id="cancel-examination"' in page and 'id="examine"' not in page


@pytest.mark.parametrize("pending", ["spawn", ""])
def test_a_server_that_never_becomes_ready_can_be_examined(ask, world, pending):
    """Its container runs, but Jupyter does not answer in it."""
    world.servers["ada", ""] = replace(world.servers["ada", ""], ready=False, pending=pending)
    assert 'id="examine"' in ask("GET", "users/ada/server", "instructor-token").text
    assert examine(ask)["state"] == "done"
    world.stop_server("ada", "")
    assert 'id="examine"' not in ask("GET", "users/ada/server", "instructor-token").text


def test_who_may_not_examine_sees_no_report(ask):
    examine(ask)
    scope = scopes.ENVIRONMENT_READ
    ask.tokens["reader-token"] = person("mon", scope)
    page = ask("GET", "users/ada/server", "reader-token").text
    assert "GC102" not in page and "doctor/examine" not in page


@pytest.fixture
def fake(world: World) -> tuple[Examinations, FakeRunner]:
    runner = FakeRunner()
    made = Examinations(world.ledger, FakeEngine(world), runner, prefix=PREFIX, seconds=0.2)
    return made, runner


async def ended(examinations: Examinations, user: str = "ada") -> Any:
    async with asyncio.timeout(10):
        while not (found := examinations.of(user, "")) or not found.over:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return found


def raising(error: Exception) -> Any:
    def answer() -> Done:
        raise error

    return answer


def saying(stdout: bytes = b"", stderr: bytes = b"", code: int = 0) -> Any:
    return lambda: Done(code, stdout, stderr)


WHOLE = json.dumps(REPORT).encode()


@pytest.mark.parametrize(
    ("answer", "trouble", "detail"),
    [
        (raising(ContainerNotRunning("gone")), Trouble.SERVER_STOPPED, ""),
        (raising(OutputTooLong("much")), Trouble.TOO_LONG, ""),
        (raising(EngineUnavailable("/var/run: away")), Trouble.ENGINE_SILENT, ""),
        (raising(EngineRefused("no runtime", 500)), Trouble.ENGINE_REFUSED, "no runtime"),
        (raising(RuntimeError("a bug")), Trouble.UNEXPECTED, ""),
        (
            saying(b"", b"timeout: failed to run command: no such file", 127),
            Trouble.NO_COMMAND,
            "no",
        ),
        (saying(b"OCI runtime exec failed: no such file", b"", 126), Trouble.NO_COMMAND, "OCI"),
        (saying(b"", b"", 124), Trouble.TIMEOUT, ""),
        (saying(b"", b"", 137), Trouble.KILLED, ""),
        (saying(WHOLE[:-20], b"", 2), Trouble.GARBLED, ""),
        (saying(b"hello", b"", 0), Trouble.GARBLED, ""),
        (saying(b"[]", b"", 0), Trouble.GARBLED, ""),
        (saying(b"", b"gpucamp-doctor: OSError: no space\x1b[31m", 3), Trouble.FAILED, "no space"),
        (saying(b"", b"usage: gpucamp-doctor", 2), Trouble.FAILED, "usage"),
    ],
)
async def test_each_failure_is_told_in_words(fake, world, answer, trouble, detail):
    examinations, runner = fake
    runner.answer = answer
    await examinations.begin("ada", "", by="kim")
    found = await ended(examinations)
    assert (found.state, found.trouble) == (State.FAILED, trouble)
    assert detail in found.detail and "\x1b" not in found.detail
    assert found.report is None and world.ledger.verdict("ada", "") is None


async def test_killed_with_its_container_says_that_the_server_stopped(fake, world):
    examinations, runner = fake

    def stopped() -> Done:
        # the Engine tells it a moment later
        asyncio.get_running_loop().call_later(0.5, world.containers.clear)
        return Done(137, b"", b"")

    runner.answer = stopped
    await examinations.begin("ada", "", by="kim")
    assert (await ended(examinations)).trouble is Trouble.SERVER_STOPPED


async def test_one_that_hangs_is_over_in_time(world):
    runner = RunnerHangs()
    examinations = Examinations(world.ledger, FakeEngine(world), runner, prefix=PREFIX, seconds=0.1)
    await examinations.begin("ada", "", by="kim")
    assert (await ended(examinations)).trouble is Trouble.TIMEOUT
    assert runner.ended == 1


async def test_a_few_at_once_and_the_others_wait(world):
    runner = RunnerHangs()
    examinations = Examinations(
        world.ledger, FakeEngine(world), runner, prefix=PREFIX, seconds=10, at_once=1
    )
    world.run_server("bob")
    await examinations.begin("ada", "", by="kim")
    await examinations.begin("bob", "", by="kim")
    await asyncio.sleep(0.05)
    assert [examinations.of(user, "").state for user in ("ada", "bob")] == ["running", "waiting"]
    await examinations.cancel("bob", "")
    assert examinations.of("bob", "").state is State.CANCELLED
    runner.released = True
    assert (await ended(examinations)).state is State.DONE


async def test_two_requests_at_once_begin_one(fake, monkeypatch):
    examinations, runner = fake
    both_asked = asyncio.Event()
    monkeypatch.setattr(runner, "wait", both_asked.wait)
    both = await asyncio.gather(*(examinations.begin("ada", "", by=who) for who in ("kim", "ada")))
    both_asked.set()
    assert both[0].id == both[1].id
    await ended(examinations)
    assert len(runner.asked) == 1


async def test_what_the_ledger_cannot_note_does_not_begin(fake, world, monkeypatch):
    examinations, runner = fake

    def away(*_args: object, **_named: object) -> None:
        raise LedgerUnavailable("away")

    monkeypatch.setattr(world.ledger, "note_examination", away)
    with pytest.raises(LedgerUnavailable):
        await examinations.begin("ada", "", by="kim")
    assert runner.asked == [] and examinations.of("ada", "") is None


async def test_a_verdict_that_cannot_be_kept_does_not_cost_the_report(fake, world, monkeypatch):
    examinations, _runner = fake

    def away(*_args: object) -> None:
        raise LedgerUnavailable("away")

    monkeypatch.setattr(world.ledger, "keep_verdict", away)
    await examinations.begin("ada", "", by="kim")
    assert (await ended(examinations)).report is not None


async def test_reports_are_remembered_for_a_while_and_for_few_servers(tmp_path):
    ledger = make_ledger(tmp_path)
    world = World(ledger)
    moment = now()
    examinations = Examinations(
        ledger, FakeEngine(world), FakeRunner(), prefix=PREFIX, now=lambda: moment
    )
    for number in range(KEPT + 3):
        world.run_server(f"user{number}", gpus=0)
        await examinations.begin(f"user{number}", "", by="kim")
        await ended(examinations, f"user{number}")
    remembered = [n for n in range(KEPT + 3) if examinations.of(f"user{n}", "")]
    assert remembered == list(range(3, KEPT + 3))
    moment += timedelta(minutes=16)
    assert examinations.of(f"user{KEPT}", "") is None
    with pytest.raises(Conflict):
        await examinations.begin("nobody", "", by="kim")
    ledger.close()


# -- what is read of what was printed


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


@given(
    change=st.dictionaries(st.sampled_from(sorted(REPORT)), json_values, max_size=3),
    finding=st.dictionaries(
        st.sampled_from(["code", "severity", "title", "evidence", "who"]), json_values, max_size=2
    ),
)
@settings(max_examples=60)
def test_whatever_is_printed_gives_a_report_of_one_form_or_none(change, finding):
    findings = [*REPORT["findings"], {**REPORT["findings"][0], **finding}]
    printed = json.dumps({**REPORT, "findings": findings, **change}).encode()
    try:
        report = read_report(printed, PREFIX)
    except NoReport:
        return
    sent = json.dumps(report, ensure_ascii=False, allow_nan=False).encode()
    assert set(report) == set(read_report(WHOLE, PREFIX))
    assert json.loads(sent) == report
    for each in report["findings"]:
        assert each["docs_url"].startswith(f"{PREFIX}findings/GC")


@pytest.mark.parametrize(
    "printed",
    [
        b"",
        b"null",
        b'{"findings": []}',
        b"[" * 100_000,
        b'{"findings": ' + b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        WHOLE.replace(b"2.345", b"NaN"),
        WHOLE.replace(b"2.345", b"1e999"),
        WHOLE.replace(b"GC102", b"javascript:x"),
        WHOLE.replace(b'"blocker"', b'"awful"'),
        WHOLE + b"x",
        "é".encode("latin-1"),
    ],
    ids=range(12),
)
def test_what_is_no_report_is_refused(printed):
    with pytest.raises(NoReport):
        read_report(printed, PREFIX)


def test_long_and_odd_texts_are_cut_and_cleaned():
    deep: Any = "end"
    for _ in range(100):
        deep = [deep]
    odd = {
        **REPORT,
        "kernel": "\x1b[31mred\ud800" + "x" * 500,
        "checks_passed": ["good", "<b>", 5, "x" * 200],
        "facts": {"deep": deep, "many": ["y" * 9000]},
    }
    report = read_report(json.dumps(odd).encode(), PREFIX)
    assert report["kernel"].startswith("\ufffd[31mred\ufffdxxx") and len(report["kernel"]) == 200
    assert report["checks_passed"] == ["good"]
    assert "end" not in json.dumps(report["facts"]["deep"])
    assert len(report["facts"]["many"][0]) == 2000


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("python train.py --hf-token abc --lr 1", "python train.py --hf-token *** --lr 1"),
        ("WANDB_API_KEY=0123 python x.py", "WANDB_API_KEY=*** python x.py"),
        ("password: hunter2", "password: ***"),
        ("http_proxy=http://ada:pw@proxy:3128", "http_proxy=http://ada:***@proxy:3128"),
        ("tokenizers 0.22 and keys", "tokenizers 0.22 and keys"),
    ],
)
def test_what_looks_like_a_password_is_masked(said, shown):
    finding = {**REPORT["findings"][0], "evidence": [said]}
    printed = {**REPORT, "findings": [finding], "facts": {"command": said}}
    report = read_report(json.dumps(printed).encode(), PREFIX)
    assert report["findings"][0]["evidence"] == [shown]
    assert report["facts"]["command"] == shown


@pytest.mark.parametrize("trouble", list(Trouble))
def test_every_failure_says_what_happened_and_what_to_do(trouble):
    assert trouble_text(trouble, "").count(".") >= 2
    assert "odd words" in trouble_text(trouble, "odd words")
    set_language("zh_CN")
    chinese = trouble_text(trouble, "")
    set_language("en")
    assert chinese != trouble_text(trouble, "") and "。" in chinese
