"""Drivers that are stopped, killed, doubled, put to sleep, or asked: real processes, one world.

Nothing here looks into a driver: what it did is in the ledger and in the rehearsal's world.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from actors.spec import Done, Failed, Found, InDoubt
from edges import rig
from edges.rig import Mishap, Process
from edges.rig_watch import (
    CLAIM,
    SLOW,
    acting,
    claimed,
    let_go,
    noted,
    outcomes,
    status,
    types,
)
from orchestrator.ledger import Ledger
from orchestrator.pure.events import (
    ActFinished,
    Cancelled,
    Confirmed,
    Paused,
    RollbackRequested,
    TakenOver,
)
from orchestrator.session import Session, clock_ms, login_name

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.pure.events import Event

# --- signals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_lets_what_is_under_way_settle_and_begins_nothing(
    ws: Path, number: signal.Signals
) -> None:
    rig.build(ws, rules=[SLOW.replace("3000", "1500")])
    run = rig.opened(ws, rig.chain("a", "b"))
    driver = Process(ws, run)
    acting(ws, run, "a.apply.1")
    driver.send(number)
    driver.ends("running")
    assert outcomes(ws, run, "a") == [("apply", 1, Done(outputs={"size": 4}))]
    assert claimed(ws, run) == ["a"]
    Process(ws, run).ends("succeeded")
    rig.judge(ws, run)
    assert claimed(ws, run) == ["a", "b"]


def test_one_signal_before_anything_was_claimed_begins_nothing(ws: Path) -> None:
    rig.build(ws)
    run = rig.opened(ws, rig.chain("a", "b"))
    driver = Process(ws, run, Mishap(stop_after=CLAIM - 1))
    rig.until(lambda: rig.folded(ws, run).phase == "running", "it was started")
    rig.until(lambda: "T (stopped)" in status(driver), "it stands still")
    driver.send(signal.SIGTERM)
    driver.send(signal.SIGCONT)
    driver.ends("running")
    assert claimed(ws, run) == []
    assert rig.effects(ws) == []
    Process(ws, run).ends("succeeded")


def test_two_signals_stop_an_act_that_can_stop_before_its_effect(ws: Path) -> None:
    rig.build(ws, rules=[SLOW.replace("3000", "15000")])
    run = rig.opened(ws, rig.chain("a", "b"))
    driver = Process(ws, run)
    acting(ws, run, "a.apply.1")
    _twice(driver)
    driver.ends("rolled_back")
    ((_, _, outcome),) = outcomes(ws, run, "a")
    assert isinstance(outcome, Failed)
    assert outcome.mode == "stopped"
    assert rig.effects(ws) == []
    assert rig.act_processes(ws) == []


def test_two_signals_kill_an_act_that_does_not_stop_and_leave_it_in_doubt(
    ws: Path, kinds: Path
) -> None:
    rig.build(ws, how="ignores all signals once")
    run = rig.opened(ws, rig.chain("a"))
    driver = Process(ws, run, Mishap(grace_s=0.2), kinds)
    noted(ws, run, "a.apply.1")
    _twice(driver)
    driver.ends("running")
    assert outcomes(ws, run, "a") == [("apply", 1, InDoubt(message="stopped by its operator"))]
    assert rig.effects(ws) == []
    Process(ws, run, None, kinds).ends("succeeded")
    verbs = [(verb, attempt) for verb, attempt, _ in outcomes(ws, run, "a")]
    assert verbs == [("apply", 1), ("verify", 1), ("apply", 2)]
    rig.judge(ws, run)


def test_three_signals_leave_the_act_to_the_next_driver(ws: Path, kinds: Path) -> None:
    rig.build(ws, how="is stubborn")
    run = rig.opened(ws, rig.chain("a"))
    driver = Process(ws, run, Mishap(grace_s=90), kinds)
    pid = noted(ws, run, "a.apply.1")
    _twice(driver)
    driver.send(signal.SIGINT)
    driver.ends("running")
    assert rig.act_processes(ws) == [pid]
    assert outcomes(ws, run, "a") == []
    let_go(ws, run)
    Process(ws, run, None, kinds).ends("succeeded")
    assert outcomes(ws, run, "a") == [("apply", 1, Done())]
    assert [effect["pid"] for effect in rig.effects(ws)] == [pid]
    rig.judge(ws, run)


def _twice(driver: Process) -> None:
    """Two signals, far enough apart to be counted as two."""
    for _ in range(2):
        driver.send(signal.SIGINT)
        time.sleep(0.3)


# --- found again ----------------------------------------------------------------------------------


def test_a_living_act_of_a_dead_driver_is_followed(ws: Path, kinds: Path) -> None:
    rig.build(ws, how="is stubborn")
    run = rig.opened(ws, rig.chain("a"))
    first = Process(ws, run, None, kinds)
    pid = noted(ws, run, "a.apply.1")
    first.send(signal.SIGKILL)
    first.wait()
    second = Process(ws, run, None, kinds)
    rig.until(lambda: "taken_over" in types(rig.events(ws, run)), "the second took over")
    assert rig.children(ws, run) == {"a.apply.1": pid}
    let_go(ws, run)
    second.ends("succeeded")
    assert outcomes(ws, run, "a") == [("apply", 1, Done())]
    assert len(rig.effects(ws)) == 1
    rig.judge(ws, run)


def test_what_a_dead_drivers_act_wrote_down_is_taken(ws: Path) -> None:
    rig.build(ws, rules=[SLOW.replace("3000", "500")])
    run = rig.opened(ws, rig.chain("a"))
    first = Process(ws, run)
    acting(ws, run, "a.apply.1")
    first.send(signal.SIGKILL)
    first.wait()
    outcome = ws / ".interlock" / "acts" / run / "a.apply.1" / "outcome.json"
    rig.until(outcome.exists, "the act ended")
    Process(ws, run).ends("succeeded")
    assert outcomes(ws, run, "a") == [("apply", 1, Done(outputs={"size": 4}))]
    rig.judge(ws, run)


def test_an_act_that_died_with_its_driver_is_verified_and_begun_again(ws: Path) -> None:
    rig.build(ws, rules=["{step: a, attempt: 1, takes_ms: 15000, do: work}"])
    run = rig.opened(ws, rig.chain("a"))
    first = Process(ws, run)
    pid = acting(ws, run, "a.apply.1")
    first.send(signal.SIGKILL)
    first.wait()
    os.kill(pid, signal.SIGKILL)
    Process(ws, run).ends("succeeded")
    (_, doubt, seen, done) = (None, *outcomes(ws, run, "a"))
    assert isinstance(doubt[2], InDoubt)
    assert isinstance(seen[2], Found)
    assert seen[2].state == "not_applied"
    assert done[:2] == ("apply", 2)
    rig.judge(ws, run)


def test_a_claim_whose_act_was_never_begun_is_in_doubt(ws: Path) -> None:
    rig.build(ws)
    run = rig.opened(ws, rig.chain("a"))
    assert Process(ws, run, Mishap(kill_after=CLAIM)).wait() == -signal.SIGKILL
    assert claimed(ws, run) == ["a"]
    assert not (ws / ".interlock" / "acts" / run / "a.apply.1").exists()
    Process(ws, run).ends("succeeded")
    verbs = [(verb, attempt) for verb, attempt, _ in outcomes(ws, run, "a")]
    assert verbs == [("apply", 1), ("verify", 1), ("apply", 2)]
    rig.judge(ws, run)


def test_an_act_whose_directory_is_lost_is_not_done_twice(ws: Path) -> None:
    rig.build(ws)
    run = rig.opened(ws, rig.chain("a"))
    first = Process(ws, run, Mishap(kill_before=CLAIM + 1))
    assert first.wait() == -signal.SIGKILL
    rig.until(lambda: rig.effects(ws) and not rig.act_processes(ws), "the act ended")
    shutil.rmtree(ws / ".interlock" / "acts")
    Process(ws, run).ends("succeeded")
    verbs = [(verb, attempt) for verb, attempt, _ in outcomes(ws, run, "a")]
    assert verbs == [("apply", 1), ("verify", 1)]
    assert len(rig.effects(ws)) == 1


def test_an_empty_directory_is_closed_and_a_late_starter_refuses(ws: Path) -> None:
    rig.build(ws)
    run = rig.opened(ws, rig.chain("a"))
    assert Process(ws, run, Mishap(kill_at_begin="a.apply.1")).wait() == -signal.SIGKILL
    directory = ws / ".interlock" / "acts" / run / "a.apply.1"
    assert list(directory.iterdir()) == []
    Process(ws, run).ends("succeeded")
    rig.judge(ws, run)
    late = [sys.executable, "-P", "-m", "orchestrator.act", str(directory)]
    shutil.copy(directory.with_name("a.apply.2") / "warrant.json", directory)
    env = {"PYTHONPATH": str(rig.TESTS.parent)}
    assert subprocess.run(late, env=env, check=False).returncode == 7
    assert len(rig.effects(ws)) == 1


@pytest.mark.parametrize(
    "mishap", [Mishap(stop_after=CLAIM), Mishap(stop_at_begin="a.apply.1")], ids=["claim", "mkdir"]
)
def test_a_driver_that_wakes_up_after_it_was_replaced_begins_nothing(
    ws: Path, mishap: Mishap
) -> None:
    rig.build(ws)
    run = rig.opened(ws, rig.chain("a", "b"))
    zombie = Process(ws, run, mishap)
    try:
        rig.until(lambda: claimed(ws, run) == ["a"], "it claimed the act")
        rig.until(lambda: "T (stopped)" in status(zombie), "it stands still")
        (ws / ".interlock" / "locks" / f"{run}.lock").unlink()
        Process(ws, run).ends("succeeded")
        facts = rig.events(ws, run)
        zombie.send(signal.SIGCONT)
        assert zombie.wait() == 7, zombie.said
    finally:
        zombie.bury()
    assert zombie.said.splitlines()[-1] == "Conflict"
    rig.until(lambda: not rig.act_processes(ws), "nothing acts")
    assert rig.events(ws, run) == facts
    assert [(e["step"], e["attempt"]) for e in rig.effects(ws)] == [("a", 2), ("b", 1)]
    rig.judge(ws, run)


# --- two drivers ----------------------------------------------------------------------------------


def test_a_second_driver_is_refused_and_writes_nothing(ws: Path) -> None:
    rig.build(ws, rules=[SLOW])
    run = rig.opened(ws, rig.chain("a"))
    first = Process(ws, run)
    acting(ws, run, "a.apply.1")
    before = rig.events(ws, run)
    second = Process(ws, run)
    assert second.wait() == 7
    assert f"process {first.process.pid}" in second.said
    assert rig.events(ws, run)[: len(before)] == before
    first.ends("succeeded")
    assert not [f for f in rig.events(ws, run) if isinstance(f, TakenOver)]


@pytest.mark.parametrize(
    ("kind", "body", "fact", "end"),
    [
        ("cancel", "not today", Cancelled, "rolled_back"),
        ("rollback", "go back", RollbackRequested, "rolled_back"),
        ("pause", "", Paused, "running"),
        ("confirm", "d=lab", Confirmed, "succeeded"),
    ],
)
def test_what_another_terminal_asks_is_heard_while_an_act_is_under_way(
    ws: Path, kind: str, body: str, fact: type[Event], end: str
) -> None:
    rig.build(ws, rules=[SLOW])
    gate = "  - {id: d, actor: interlock.confirm, params: {text: Go on?, expect: name}, after: [b]}"
    steps = [
        rig.step("a", host="h01"),
        rig.step("b", host="h02"),
        gate,
        rig.step("e", host="h03", after="a, d"),
    ]
    run = rig.opened(ws, "\n".join(["decision: plan", "steps:", *steps]) + "\n")
    driver = Process(ws, run)
    acting(ws, run, "a.apply.1")
    rig.until(lambda: outcomes(ws, run, "b"), "the gate is open")
    with Session.open(ws) as session:
        assert session.ask(run, kind, body) == (f"{_who(driver)}", True)
    driver.ends(end)
    facts = rig.events(ws, run)
    heard = next(i for i, f in enumerate(facts) if isinstance(f, fact))
    ended = next(i for i, f in enumerate(facts) if isinstance(f, ActFinished) and f.step == "a")
    assert heard < ended, "the ask was heard before the act had ended"
    assert ("e" in claimed(ws, run)) == (end == "succeeded")
    rig.judge(ws, run)
    assert bool(rig.net(rig.effects(ws))) == (end != "rolled_back")


def _who(driver: Process) -> str:
    return f"{login_name()}, process {driver.process.pid} on {os.uname().nodename}"


def test_asks_that_make_no_sense_are_dropped_without_harm(ws: Path) -> None:
    rig.build(ws, rules=[SLOW.replace("3000", "1500")])
    run = rig.opened(ws, rig.chain("a", "b"))
    driver = Process(ws, run)
    acting(ws, run, "a.apply.1")
    asks = [
        ("confirm", "nobody=1"),
        ("confirm", "a=1"),
        ("confirm", ""),
        ("confirm", "a=" + "9" * 10_000),
        ("cancel", "x" * 100_000),
        ("dance", "now"),
        ("opened", "{}"),
    ]
    with Ledger.open(ws / ".interlock" / "ledger.db") as ledger:
        for kind, body in asks:
            ledger.ask(run, kind, "eve", body, clock_ms())
        ledger.ask(run, "cancel", "eve; drop table", "a principal that is none", clock_ms())
    driver.ends("succeeded")
    assert not {"confirmed", "cancelled"} & set(types(rig.events(ws, run)))
    with Ledger.open(ws / ".interlock" / "ledger.db") as ledger, ledger.writer(run, "me") as writer:
        assert writer.asks() == []


def test_two_runs_on_the_same_targets_go_one_after_the_other(ws: Path) -> None:
    rig.build(ws, rules=[SLOW])
    one = rig.opened(ws, rig.chain("a"), ticket="CHG-1")
    two = rig.opened(ws, rig.chain("b"), ticket="CHG-2")
    first = Process(ws, one)
    acting(ws, one, "a.apply.1")
    under_way = rig.act_processes(ws)
    for (
        pid
    ) in under_way:  # however slow this machine is, it does not end before the other has asked
        os.kill(pid, signal.SIGSTOP)
    second = Process(ws, two)
    try:
        assert second.wait() == 7
    finally:
        for pid in under_way:
            os.kill(pid, signal.SIGCONT)
    assert f"run {two} must wait: {one} holds" in second.said
    assert second.said.splitlines()[-1] == "Conflict"
    assert claimed(ws, two) == []
    first.ends("succeeded")
    Process(ws, two).ends("succeeded")
    assert [effect["run"] for effect in rig.effects(ws)] == [one, two]


def test_a_dry_run_that_is_called_off_leaves_nothing_running(ws: Path) -> None:
    rig.build(ws, ms=15_000)
    run = rig.opened(ws, rig.chain("a", "b"))
    driver = Process(ws, run, Mishap(preview=True, grace_s=0.2))
    rig.until(lambda: len(rig.act_processes(ws)) == 2, "both checks are under way")
    with Session.open(ws) as session:
        session.ask(run, "cancel", "never mind")
    driver.ends("cancelled")
    assert rig.act_processes(ws) == []
    assert rig.effects(ws) == []
