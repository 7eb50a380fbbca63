"""Firmware by Redfish: what a BMC is asked, in which order, and never twice, whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actors.spec import Done, Failed, Found, InDoubt, Predicted, Unexpected
from ansible_rig import ACT, ROOT, until
from redfish_rig import PASSWORD, PLAYBOOKS, Bmc, Rig, certificate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.spec import Brief

pytestmark = pytest.mark.xdist_group("redfish")
OLD = {"A": "9.4.2", "B": "9.4.2"}
NEW = {"A": "9.4.3", "B": "9.4.3"}


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Path, Path]]:
    """Make what all tests of this file share: a certificate, and the folder of the warm server."""
    with tempfile.TemporaryDirectory(prefix="redfish-") as folder:
        yield certificate(Path(folder)), Path(folder) / "warm"


@pytest.fixture
def rig(tmp_path: Path, shared: tuple[Path, Path]) -> Iterator[Rig]:
    """Have one BMC, and a step that is to update what it looks after."""
    with Bmc(shared[0]) as bmc:
        yield Rig(tmp_path, *shared, [bmc])


@pytest.fixture
def bmc(rig: Rig) -> Bmc:
    return rig.bmcs[0]


def closed(bmc: Bmc) -> None:
    assert bmc.seen()["open_sessions"] == 0, "a session was left open"


# --- the order --------------------------------------------------------------------------------


@pytest.mark.parametrize(("active", "passive"), ["AB", "BA"])
def test_the_passive_unit_goes_first_whatever_it_is_called(
    rig: Rig, bmc: Bmc, active: str, passive: str
) -> None:
    bmc.turn(active=active)
    assert rig.ask("apply") == Done(changed=True, outputs={"updated": 2, "paths": 2})
    first, second = bmc.orders()
    assert bmc.ordered() == [passive, active]
    assert first["units"][passive] == ["9.4.2", "StandbySpare", "OK"]
    assert first["units"][active] == ["9.4.2", "Enabled", "OK"]
    # The other is touched only when the first has the version, and both are well again.
    assert second["units"][passive] == ["9.4.3", "StandbySpare", "OK"]
    assert second["units"][active] == ["9.4.2", "Enabled", "OK"]
    assert bmc.versions() == NEW
    assert isinstance(found := rig.ask("verify"), Found)
    assert found.state == "applied"
    closed(bmc)


def test_what_has_the_version_is_ordered_nothing(rig: Rig, bmc: Bmc) -> None:
    outcome = rig.ask("apply", version="9.4.2")
    assert outcome == Done(changed=False, outputs={"updated": 2, "paths": 2})
    assert bmc.orders() == []


def test_one_of_two_is_the_passive_one_and_a_second_step_brings_the_other(
    rig: Rig, bmc: Bmc
) -> None:
    assert rig.ask("apply", with_version=1) == Done(outputs={"updated": 1, "paths": 2})
    assert bmc.versions() == {"A": "9.4.2", "B": "9.4.3"}
    assert rig.ask("verify", with_version=1).kind == "found"
    assert isinstance(half := rig.ask("verify"), Found)
    assert half.state == "partial"
    assert rig.ask("apply") == Done(outputs={"updated": 2, "paths": 2})
    assert bmc.ordered() == ["B", "A"]


def test_a_firmware_of_one_unit_needs_no_pair(rig: Rig, bmc: Bmc) -> None:
    outcome = rig.ask("apply", "good-1.1.0.bin", component="bmc-fw", units=1, version="1.1.0")
    assert outcome == Done(outputs={"updated": 1, "paths": 1})
    assert bmc.ordered() == ["bmc"]


def test_a_pair_of_which_one_is_reported_is_not_taken_for_one_alone(rig: Rig, bmc: Bmc) -> None:
    bmc.turn(missing="A")
    outcome = rig.ask("apply")
    assert isinstance(outcome, Failed)
    assert (outcome.mode, bmc.orders()) == ("path_degraded", [])


def test_a_dry_run_says_from_which_version_to_which_and_orders_nothing(rig: Rig, bmc: Bmc) -> None:
    outcome = rig.ask("check")
    assert isinstance(outcome, Predicted)
    assert outcome.grade == "predicted", outcome.message
    lines = [line for change in outcome.changes for line in change.diff.splitlines()]
    told = [line for line in lines if line.startswith(("-fw", "+fw"))]
    assert told == ["-fw-B: 9.4.2", "+fw-B: 9.4.3", "-fw-A: 9.4.2", "+fw-A: 9.4.3"]
    log = bmc.seen()["log"]
    assert {line["path"].rpartition("/")[2] for line in log if line["method"] == "POST"} == {
        "Sessions"
    }
    assert not (rig.root / "keep").exists()


def test_one_target_that_is_not_well_and_no_target_is_touched(rig: Rig, bmc: Bmc) -> None:
    with Bmc(rig.pem) as ill:
        ill.turn(health={"A": "Critical"})
        rig.bmcs.append(ill)
        outcome = rig.ask("apply")
        assert isinstance(outcome, Failed)
        assert outcome.mode == "path_degraded"
        assert "fw-A is Critical" in outcome.message
        assert (bmc.orders(), ill.orders()) == ([], [])


# --- what goes wrong --------------------------------------------------------------------------

BEFORE_ANYTHING: dict[str, tuple[str, dict[str, Any], str]] = {
    "the passive one is ill": ("path_degraded", {"health": {"B": "Warning"}}, "fw-B is Warning"),
    "the active one is ill": ("path_degraded", {"health": {"A": "Critical"}}, "fw-A is Critical"),
    "none is passive": ("path_degraded", {"active": "AB"}, "not one is active"),
    "another update is under way": ("busy", {"foreign_task": True}, "/Tasks/1"),
}


@pytest.mark.parametrize("what", BEFORE_ANYTHING)
def test_nothing_is_ordered_while_something_is_not_as_it_should_be(
    rig: Rig, bmc: Bmc, what: str
) -> None:
    mode, knobs, says = BEFORE_ANYTHING[what]
    bmc.turn(**knobs)
    outcome = rig.ask("apply")
    assert isinstance(outcome, Failed)
    assert (outcome.mode, bmc.orders()) == (mode, [])
    assert says in outcome.message
    closed(bmc)


# image, what is reported, what is said of it, which firmware the units have then
AFTER_THE_FIRST = {
    "refused": ("image_refused", "400 Update.1.0.TransferFailed", OLD),
    "busy": ("busy", "503", OLD),
    "exception": ("update_failed", "Exception: Update.1.0.ApplyFailed", OLD),
    "hangs": ("task_timed_out", "/Tasks/1", OLD),
    "wrong": ("version_differs", "has 9.9.9, not 9.4.3", OLD | {"B": "9.9.9"}),
    "same": ("version_differs", "has 9.4.2, not 9.4.3", OLD),
    "lost": ("path_lost", "fw-B is Critical", OLD | {"B": "9.4.3"}),
    "dead": ("did_not_come_back", "", OLD | {"B": "9.4.3"}),
}


@pytest.mark.parametrize("image", AFTER_THE_FIRST)
def test_the_active_unit_is_not_touched_when_the_passive_one_is_not_done_and_well(
    rig: Rig, bmc: Bmc, image: str
) -> None:
    mode, says, versions = AFTER_THE_FIRST[image]
    outcome = rig.ask("apply", f"{image}-9.4.3.bin", update_within_s=2, back_within_s=2)
    assert isinstance(outcome, Failed), outcome
    assert outcome.mode == mode
    assert says in outcome.message
    assert bmc.ordered() == ["B"]
    assert bmc.versions() == versions


def test_an_order_nobody_heard_of_is_in_doubt_and_not_given_again(rig: Rig, bmc: Bmc) -> None:
    outcome = rig.ask("apply", "unheard-9.4.3.bin", back_within_s=2)
    assert isinstance(outcome, InDoubt)
    assert bmc.ordered() == ["B"]
    found = rig.ask("verify")
    assert isinstance(found, Found)
    assert found.state == "not_applied"


@pytest.mark.parametrize("image", ["silent", "late", "forgotten", "monitored"])
def test_a_bmc_that_resets_or_forgets_is_waited_for_and_asked_once(
    rig: Rig, bmc: Bmc, image: str
) -> None:
    assert rig.ask("apply", f"{image}-9.4.3.bin").kind == "done"
    assert bmc.ordered() == ["B", "A"]
    assert bmc.versions() == NEW


@pytest.mark.parametrize(
    "knobs", [{"token_uses": 9}, {"unavailable": 2}, {"elsewhere": True}], ids=str
)
def test_tokens_expire_and_services_are_away_without_a_second_order(
    rig: Rig, bmc: Bmc, knobs: dict[str, Any]
) -> None:
    bmc.turn(**knobs)
    assert rig.ask("apply").kind == "done"
    assert bmc.ordered() == ["B", "A"]


def test_who_may_not_log_in_does_nothing(rig: Rig, bmc: Bmc) -> None:
    rig.password = "another"
    outcome = rig.ask("apply")
    assert isinstance(outcome, Failed)
    assert outcome.mode == "wrong_credentials"
    assert {line["path"] for line in bmc.seen()["log"] if line["status"] == 200} == {"/redfish/v1/"}


def test_a_bmc_that_is_not_trusted_is_told_nothing(rig: Rig, bmc: Bmc) -> None:
    rig.labels["redfish_ca"] = ""
    outcome = rig.ask("apply")
    assert isinstance(outcome, Failed)
    assert (outcome.mode, bmc.seen()["log"]) == ("not_trusted", [])


def test_a_bmc_that_is_not_there_has_a_name_of_its_own(rig: Rig, bmc: Bmc) -> None:
    rig.labels["redfish_url"] = "https://127.0.0.1:1"
    outcome = rig.ask("apply")
    assert isinstance(outcome, Failed)
    assert outcome.mode == "bmc_silent"


@pytest.mark.parametrize("label", ["redfish_url", "firmware_url"])
def test_a_label_that_leaves_out_tls_is_refused(rig: Rig, bmc: Bmc, label: str) -> None:
    rig.labels[label] = "http://127.0.0.1/fw"
    outcome = rig.ask("apply")
    assert isinstance(outcome, Unexpected)
    assert f"the label {label} must be https" in outcome.message
    assert bmc.orders() == []


def test_a_component_nobody_reports_is_named(rig: Rig, bmc: Bmc) -> None:
    outcome = rig.ask("apply", component="disk-fw")
    assert isinstance(outcome, Failed)
    assert (outcome.mode, bmc.orders()) == ("no_such_component", [])


# --- killed, resumed, undone ------------------------------------------------------------------


@contextlib.contextmanager
def acting(rig: Rig, brief: Brief) -> Iterator[subprocess.Popen[str]]:
    """Begin an act in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", ACT],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        text=True,
    )
    assert process.stdin is not None
    told = json.loads(brief.model_dump_json())
    told["secrets"] = {"password": PASSWORD}
    process.stdin.write(f"{json.dumps(told)}\n{json.dumps(rig.settings)}\n")
    process.stdin.close()
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("units", [1, 2])
def test_an_act_that_is_killed_is_resumed_without_a_second_order(
    tmp_path: Path, shared: tuple[Path, Path], units: int
) -> None:
    with Bmc(shared[0], task_s=2.0) as bmc:
        rig = Rig(tmp_path, *shared, [bmc])
        with acting(rig, rig.update("apply")) as act:
            until(lambda: len(bmc.orders()) == units, "an update is ordered")
            os.kill(act.pid, signal.SIGKILL)
            act.wait()
        found = rig.ask("verify")
        assert isinstance(found, Found)
        assert found.state == ("partial" if units == 1 else "applied")
        assert rig.ask("apply").kind == "done"
        assert bmc.ordered() == ["B", "A"]
        assert bmc.versions() == NEW


def test_a_task_that_hung_is_waited_for_again_and_not_ordered_again(rig: Rig, bmc: Bmc) -> None:
    image = "hangs-9.4.3.bin"
    outcome = rig.ask("apply", image, update_within_s=2)
    assert isinstance(outcome, Failed)
    assert outcome.mode == "task_timed_out"
    assert rig.ask("verify", image, update_within_s=2) == Found(
        state="unknown", message="unknown: array-0"
    )
    assert bmc.ordered() == ["B"]
    bmc.turn(release=True)
    assert rig.ask("apply", image).kind == "done"
    assert bmc.ordered() == ["B", "A"]


def test_undo_gives_back_what_each_unit_had_the_passive_one_first(rig: Rig, bmc: Bmc) -> None:
    assert rig.ask("apply").kind == "done"
    bmc.turn(forget=True)
    outcome = rig.ask("undo", former_image="good-9.4.2.bin")
    assert outcome == Done(changed=True)
    first, second = bmc.orders()
    assert first["units"][bmc.ordered()[0]][1] == "StandbySpare"
    assert [second["units"][name][2] for name in "AB"] == ["OK", "OK"]
    assert bmc.versions() == OLD
    assert list((rig.root / "keep").iterdir()) == []


def test_undo_waits_for_an_update_that_is_under_way(
    tmp_path: Path, shared: tuple[Path, Path]
) -> None:
    with Bmc(shared[0], task_s=2.0) as bmc:
        rig = Rig(tmp_path, *shared, [bmc])
        with acting(rig, rig.update("apply")) as act:
            until(bmc.orders, "an update is ordered")
            os.kill(act.pid, signal.SIGKILL)
            act.wait()
        assert rig.ask("undo", former_image="good-9.4.2.bin").kind == "done"
        assert bmc.ordered() == ["B", "B"]
        assert bmc.versions() == OLD


def test_undo_without_the_former_image_says_so_and_orders_nothing(rig: Rig, bmc: Bmc) -> None:
    assert rig.ask("apply", with_version=1).kind == "done"
    outcome = rig.ask("undo", with_version=1)
    assert isinstance(outcome, Failed)
    assert outcome.mode == "no_former_image"
    assert bmc.ordered() == ["B"]


# --- and besides ------------------------------------------------------------------------------


def test_the_password_is_written_nowhere(rig: Rig, bmc: Bmc) -> None:
    for verb in ("check", "apply", "verify"):
        rig.ask(verb)
    holding = [
        path
        for path in rig.root.rglob("*")
        if path.is_file() and PASSWORD.encode() in path.read_bytes()
    ]
    assert holding == []


def test_the_audit_says_which_one_is_passive_or_fails(rig: Rig, bmc: Bmc) -> None:
    rig.actor = "redfish.path_audit"
    outcome = rig_audit(rig)
    assert outcome == Done(changed=False, outputs={"paths": 2, "passive": ("fw-B",)})
    bmc.turn(active="B")
    assert rig_audit(rig) == Done(changed=False, outputs={"paths": 2, "passive": ("fw-A",)})
    for mode, knobs, says in (BEFORE_ANYTHING[one] for one in ("none is passive",)):
        bmc.turn(**knobs)
        outcome = rig_audit(rig)
        assert isinstance(outcome, Failed)
        assert outcome.mode == mode
        assert says in outcome.message
    assert {line["method"] for line in bmc.seen()["log"]} == {"GET", "POST", "DELETE"}
    assert bmc.orders() == []
    closed(bmc)


def rig_audit(rig: Rig) -> Any:
    from actors.ansible.kind import Ansible  # noqa: PLC0415 - only here

    return Ansible().perform(rig.brief("apply"), rig.settings)


def test_both_actors_speak_redfish_with_the_same_words() -> None:
    one, other = PLAYBOOKS / "redfish.firmware_update", PLAYBOOKS / "redfish.path_audit"
    for path in ["module_utils/redfish_service.py", "module_utils/redfish_pair.py",
                 "library/redfish_report.py", "tests/degraded/apply.yml"]:  # fmt: skip
        assert (one / path).read_bytes() == (other / path).read_bytes(), path
