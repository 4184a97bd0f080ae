"""The whole of gpucamp as two participants live it, in a real Chromium on a real hub and Engine.

One test, since each step stands on the one before; each leaves a screenshot in artifacts/browser.
"""

from __future__ import annotations

import re

import pytest
from journey import Participant
from playwright.sync_api import expect

BREAKING = "typing_extensions==4.0.0"  # torch 2.9 needs a newer one

pytestmark = pytest.mark.timeout(1200)


def test_two_participants_from_sign_in_to_undo(participants: tuple[Participant, Participant]):
    ada, lin = participants

    # each signs in and gets a server with one GPU
    for person in (ada, lin):
        person.sign_in()
        person.start_server(gpus=1)
        person.hear_of_the_end()  # a lease lasts half an hour here

    # they see different single devices, from inside
    seen = [person.gpus_seen_inside() for person in (ada, lin)]
    assert [len(uuids) for uuids in seen] == [1, 1]
    assert seen[0] != seen[1]
    for person, uuids in zip((ada, lin), seen, strict=True):
        assert person.inside("printenv NVIDIA_VISIBLE_DEVICES").strip() == uuids[0]

    # the untouched environment is in order: nothing above advice
    ada.examine("the untouched environment")
    assert ada.findings(("blocker", "degraded")) == []

    # an installed package breaks torch in the kernel, and the doctor names it
    ada.open_notebook()
    ada.run_cell("import torch; print('torch', torch.__version__)", expected="torch 2.9.1")
    ada.run_cell(
        f"%pip install --no-index --find-links /home/jovyan/work/wheels {BREAKING}",
        expected="Successfully installed typing_extensions-4.0.0",
    )
    ada.save_and_close_notebook()
    assert "cannot import name" in ada.inside("python -c 'import torch' 2>&1 || true")
    ada.examine("a package that breaks torch")
    culprit = ada.doctor.get_by_test_id("gpucamp-finding-GC311")
    expect(culprit).to_contain_text("torch cannot be imported: typing_extensions 4.0.0")
    expect(culprit).to_contain_text("Take typing_extensions out")

    # what one breaks does not touch the other: two processes train and finish
    lin.launch_ddp("examples/train_ddp.py", processes=2)
    expect(lin.run_state).to_have_text(re.compile("succeeded", re.IGNORECASE), timeout=180_000)
    expect(lin.run_log).to_contain_text("rank 1 of 2 running on the CPU")
    result = re.search(r"result: loss=\S+ accuracy=[0-9.]+", lin.run_log.inner_text())
    assert result is not None
    lin.picture("ddp-succeeded")

    # the same launch in the broken environment fails, and says why
    ada.launch_ddp("examples/train_ddp.py", processes=2)
    expect(ada.run_state).to_have_text(re.compile("failed", re.IGNORECASE), timeout=180_000)
    ada.picture("ddp-failed")

    # reset: torch works again, the work files are the same to the byte, the GPU is the same
    before = ada.work_files()
    assert any(path.endswith("examples/train_ddp.py") for path in before)
    ada.reset()
    assert ada.inside("python -c 'import torch; print(torch.__version__)'").startswith("2.9.1")
    assert ada.work_files() == before
    assert ada.gpus_seen_inside() == seen[0]
    ada.launch_ddp("examples/train_ddp.py", processes=2)
    expect(ada.run_state).to_have_text(re.compile("succeeded", re.IGNORECASE), timeout=180_000)
    expect(ada.run_log).to_contain_text(result.group())  # the same seeds, the same result

    # undo: the environment is the broken one again, and the work is untouched
    before = ada.work_files()
    ada.undo_reset()
    assert "cannot import name" in ada.inside("python -c 'import torch' 2>&1 || true")
    assert ada.work_files() == before

    # nobody waits, so there is more time for whoever asks
    lin.extend_lease()
    lin.ask_for_help()

    # the other never noticed
    assert lin.gpus_seen_inside() == seen[1]
