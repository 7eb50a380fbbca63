"""Acts, kinds and drivers that do not behave: no effect that is not in the plan, none twice."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from actors.spec import Done, Found, InDoubt, Unexpected
from edges import rig
from edges.rig import Mishap, Process
from edges.rig_watch import (
    CLAIM,
    SLOW,
    acting,
    noted,
    outcomes,
)
from orchestrator.act_redaction import MAX_LOG_BYTES

# --- hostile parts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mishap", "why"),
    [
        (Mishap(target="h09"), "the targets are not the step's"),
        (Mishap(count=9), "the params are not the step's"),
    ],
)
def test_a_driver_that_asks_for_something_else_has_no_effect(
    ws: Path, mishap: Mishap, why: str
) -> None:
    rig.build(ws)
    run = rig.opened(ws, rig.chain("a", "b"))
    Process(ws, run, mishap).ends("held")
    assert outcomes(ws, run, "a") == [
        ("apply", 1, Unexpected(message=f"refused before it acted: {why}"))
    ]
    assert [incident.step for incident in rig.folded(ws, run).incidents] == ["a"]
    assert rig.effects(ws) == []


def test_an_actor_that_changes_while_a_run_acts_does_not_act(ws: Path) -> None:
    rig.build(ws, rules=[SLOW.replace("3000", "1000")])
    run = rig.opened(ws, rig.chain("a", "b"))
    driver = Process(ws, run)
    acting(ws, run, "a.apply.1")
    (ws / "playbooks" / "lab.change" / "extra.yaml").write_text("x: 1\n")
    driver.ends("held")
    incident = rig.folded(ws, run).incidents[-1]
    assert "the folder of lab.change is not the pinned one" in incident.message
    assert not {e["step"] for e in rig.effects(ws)} & {"b"}


@pytest.mark.parametrize(
    "how",
    [
        "acts and raises",
        "acts and exits",
        "answers nothing",
        "answers without measure",
        "tears its outcome",
    ],
)
def test_an_act_that_ends_without_a_readable_outcome_is_verified_not_repeated(
    ws: Path, kinds: Path, how: str
) -> None:
    rig.build(ws, how=how)
    run = rig.opened(ws, rig.chain("a"))
    Process(ws, run, None, kinds).ends("succeeded")
    (first, second) = outcomes(ws, run, "a")
    assert isinstance(first[2], InDoubt)
    assert second == ("verify", 1, Found(state="applied"))
    assert len(rig.effects(ws)) == 1
    rig.judge(ws, run)


@pytest.mark.parametrize("how", ["chatters", "forks", "starts another", "closes everything"])
def test_an_act_with_bad_manners_is_done_and_nothing_stays(ws: Path, kinds: Path, how: str) -> None:
    rig.build(ws, how=how)
    run = rig.opened(ws, rig.chain("a"))
    Process(ws, run, None, kinds).ends("succeeded")
    assert outcomes(ws, run, "a") == [("apply", 1, Done())]
    assert len(rig.effects(ws)) == 1
    assert rig.act_processes(ws) == []
    if how == "forks":
        left = noted(ws, run, "a.apply.1")
        assert not Path(f"/proc/{left}").exists() or "Z" in _state(left)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_what_a_fork_still_holds_does_not_keep_the_next_driver(ws: Path, kinds: Path) -> None:
    rig.build(ws, how="forks")
    run = rig.opened(ws, rig.chain("a"))
    first = Process(ws, run, Mishap(kill_before=CLAIM + 1), kinds)
    assert first.wait() == -signal.SIGKILL
    Process(ws, run, None, kinds).ends("succeeded")
    assert outcomes(ws, run, "a") == [("apply", 1, Done())]


def test_an_act_that_always_raises_is_begun_again_a_bounded_number_of_times(
    ws: Path, kinds: Path
) -> None:
    rig.build(ws, how="raises")
    run = rig.opened(ws, rig.chain("a"))
    Process(ws, run, None, kinds).ends("held")
    assert rig.effects(ws) == []
    assert rig.folded(ws, run).incidents[0].reason == "in_doubt"
    rig.judge(ws, run)


def test_an_apply_that_answers_like_a_verify_is_an_incident(ws: Path, kinds: Path) -> None:
    rig.build(ws, how="answers found")
    run = rig.opened(ws, rig.chain("a"))
    Process(ws, run, None, kinds).ends("held")
    assert "answered with 'found'" in rig.folded(ws, run).incidents[0].message


def test_an_act_that_never_ends_is_stopped_then_killed_then_verified(ws: Path, kinds: Path) -> None:
    rig.build(
        ws, how="ignores all signals once", change=rig.CHANGE.replace("apply_s: 20", "apply_s: 6")
    )
    run = rig.opened(ws, rig.chain("a"))
    Process(ws, run, Mishap(grace_s=0.2), kinds).ends("succeeded")
    found = outcomes(ws, run, "a")
    assert found[0] == ("apply", 1, InDoubt(message="timed out"))
    assert [(verb, attempt) for verb, attempt, _ in found[1:]] == [("verify", 1), ("apply", 2)]
    assert len(rig.effects(ws)) == 1
    assert rig.act_processes(ws) == []


def test_a_child_sees_nothing_of_its_drivers_environment_and_shares_nothing(
    ws: Path, kinds: Path
) -> None:
    rig.build(ws, how="looks around")
    run = rig.opened(ws, rig.chain("a"))
    secret = {"INTERLOCK_CANARY": "tell-nobody", "AWS_SECRET_ACCESS_KEY": "tell-nobody"}
    Process(ws, run, None, kinds, **secret).ends("succeeded")
    directory = ws / ".interlock" / "acts" / run / "a.apply.1"
    seen = (directory / "seen").read_text()
    assert "tell-nobody" not in seen
    assert f"cwd {directory}" in seen.splitlines()
    assert "fd 0 /dev/null" in seen.splitlines()
    assert "ledger.db" not in seen, "the driver's ledger is not open in the child"
    assert f"{run}.lock" not in seen, "the run's lock is not open in the child"
    folders = [directory, directory.parent, directory.parent.parent]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}
    assert {file.stat().st_mode & 0o777 for file in directory.iterdir()} == {0o600}


def test_the_log_of_an_act_holds_what_it_said(ws: Path, kinds: Path) -> None:
    rig.build(ws, how="chatters")
    run = rig.opened(ws, rig.chain("a"))
    Process(ws, run, None, kinds).ends("succeeded")
    log = ws / ".interlock" / "acts" / run / "a.apply.1" / "log"
    said = log.read_bytes()
    assert said.startswith(bytes(range(256)) * 2)
    assert said.endswith(b"what follows was not kept]\n"), "five megabytes are too many"
    assert MAX_LOG_BYTES < len(said) < MAX_LOG_BYTES + 100
    assert all("\\u0000" not in str(fact) for fact in rig.events(ws, run))
