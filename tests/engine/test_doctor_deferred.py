"""The doctor imports torch faster than a kernel does, and sees the same.

What it puts off, and when, is in server_ext/doctor/probes/deferred.py; that small changes keep it
from putting anything off is tested in tests/server/doctor/test_deferred.py.
"""

from __future__ import annotations

from typing import Any

import pytest
from doctor_patient import SITE, Patient

pytestmark = pytest.mark.timeout(300)

PUT_OFF = [
    *("torch._meta_registrations", "torch.quantization", "torch.export", "torch.nested"),
    *("torch.distributions", "torch.nn.intrinsic"),
]


def torch_facts(patient: Patient, env: dict[str, str] | None = None) -> dict[str, Any]:
    """What the report says of torch, less the time that it took."""
    facts = dict(patient.examine(env or {}).report["facts"]["torch"]["value"])
    facts.pop("seconds")
    return facts


def test_what_the_image_ran_when_it_was_built_is_put_off_and_all_facts_are_the_same(
    patient: Patient,
) -> None:
    fast = torch_facts(patient)
    assert fast.pop("deferred") == PUT_OFF
    whole = torch_facts(patient, {"PYTHONUNBUFFERED": "1"})
    assert whole.pop("deferred") is None
    assert fast == whole and fast["ok"] is True


def test_what_runs_before_torch_keeps_it_from_being_put_off(patient: Patient) -> None:
    patient.ok(f"echo 'raise_later = 1' > {SITE}/hook.py; echo 'import hook' > {SITE}/hook.pth")
    assert torch_facts(patient)["deferred"] is None


def test_what_is_put_off_is_a_finding_when_it_is_missing(make_patient: Any) -> None:
    refs = "/opt/gpucamp/base/lib/python3.11/site-packages/torch/_refs"
    examined = make_patient(tmpfs={"/tmp": "exec", refs: ""}).examine()  # an empty folder over it
    torch = examined.report["facts"]["torch"]["value"]
    assert torch["deferred"] is None and torch["ok"] is False
    assert "GC315" in examined.codes and examined.status == 2, examined
