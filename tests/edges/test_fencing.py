"""Zombies: a driver that was stopped, overtaken and woken appends nothing any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from edges.ledger_samples import acting, opened, running, step_events
from orchestrator.errors import Conflict, Unavailable
from orchestrator.ledger import Ledger, Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orchestrator.ledger import Writer

ZOMBIES = int(os.environ.get("INTERLOCK_ZOMBIES", "20"))
PATIENCE_S = 60

DRIVER = """
import sys
from pathlib import Path
from edges.ledger_samples import running, step_events
from orchestrator.errors import Conflict
from orchestrator.ledger import Ledger
path, run = Path(sys.argv[1]), sys.argv[2]
with Ledger.open(path) as ledger, ledger.writer(run, "zombie") as writer:
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        for turn in range(100_000):
            writer.append(step_events(turn), running(turn))
            print(writer.seq, flush=True)
    except Conflict as error:
        print("fenced", error.what, flush=True)
        try:
            writer.append(step_events(1), running(1))
        except Exception as error:
            print("refused", type(error).__name__, flush=True)
"""


class Driver:
    """A real process that drives a run as fast as it can."""

    def __init__(self, path: Path, run: str) -> None:
        self.run = run
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(path), run],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": ".:tests"},
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go(self, appends: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        for _ in range(appends):
            self.line()

    def rest(self) -> list[str]:
        out, _ = self.process.communicate(timeout=PATIENCE_S)
        return out.splitlines()

    def bury(self) -> None:
        """End it, however the test went."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.communicate(timeout=PATIENCE_S)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    path = tmp_path / ".interlock" / "ledger.db"
    with Ledger.open(path, create=True, machine=Machine(busy_ms=200)) as ledger:
        yield ledger


def test_a_driver_that_was_stopped_and_overtaken_appends_nothing_any_more(
    ledger: Ledger, record_property: Callable[[str, object], None]
) -> None:
    runs = [ledger.open_run(opened(f"CHG-{number}"), acting) for number in range(ZOMBIES)]
    drivers = [Driver(ledger.path, run) for run in runs]
    try:
        # Whoever is stopped within a commit holds up the others: all must come this far before.
        assert [driver.line() for driver in drivers] == ["ready"] * ZOMBIES
        for number, driver in enumerate(drivers):
            _overtake(ledger, driver, appends=1 + number % 7)
    finally:
        for driver in drivers:
            driver.bury()
    ledger.verify()
    record_property("figure", f"zombies: {ZOMBIES} fenced, 0 stale appends")


def _overtake(ledger: Ledger, zombie: Driver, *, appends: int) -> None:
    zombie.go(appends)
    with _taken_over(ledger, zombie) as writer:
        before = writer.seq
        for turn in range(3):
            writer.append(step_events(turn), running(turn))
        zombie.process.send_signal(signal.SIGCONT)
        told = zombie.rest()
        writer.append(step_events(9), running(9))
    assert zombie.process.returncode == 0
    assert told[-2].startswith(f"fenced fenced: run {zombie.run} was taken over in epoch 2")
    assert told[-1] == "refused Unavailable"
    promised = [int(line) for line in told[:-2]]
    assert max(promised, default=0) <= before
    epochs = [recorded.epoch for recorded in ledger.read(zombie.run)]
    assert epochs == [0] + [1] * (before - 1) + [2] * 8


def _taken_over(ledger: Ledger, zombie: Driver) -> Writer:
    """Stop the driver and take its run; if it stopped inside a commit, let it end that first.

    The lock of a stopped process cannot be taken. Here somebody has deleted the lock file, so that
    only the epoch is left.
    """
    while True:
        zombie.process.send_signal(signal.SIGSTOP)
        (ledger.path.parent / "locks" / f"{zombie.run}.lock").unlink(missing_ok=True)
        try:
            return ledger.writer(zombie.run, "successor")
        except Unavailable:
            zombie.process.send_signal(signal.SIGCONT)
            time.sleep(0.003)


def test_the_epoch_alone_fences_before_the_successor_has_written(ledger: Ledger) -> None:
    run = ledger.open_run(opened(), acting)
    with ledger.writer(run, "first") as first:
        (ledger.path.parent / "locks" / f"{run}.lock").unlink()
        with ledger.writer(run, "second") as second:
            with pytest.raises(Conflict, match=r"fenced: run CHG-1\.1 was taken over in epoch 2"):
                first.append(step_events(1), running(1))
            with pytest.raises(Unavailable, match="stopped earlier: fenced"):
                first.append(step_events(1), running(1))
            assert second.append(step_events(1), running(1))[0].seq == 2


def test_a_second_process_cannot_drive_the_same_run(ledger: Ledger) -> None:
    run = ledger.open_run(opened(), acting)
    driver = Driver(ledger.path, run)
    try:
        assert driver.line() == "ready"
        who = f"zombie, process {driver.process.pid} on {os.uname().nodename}"
        assert ledger.holder(run) == who
        with pytest.raises(Conflict, match=f"run {run} is already driven by {who}") as refused:
            ledger.writer(run, "me")
        assert "stop that process" in refused.value.next_step
    finally:
        driver.bury()
    assert ledger.holder(run) is None
    with ledger.writer(run, "me") as writer:
        assert writer.epoch == 2


ORPHAN = """
import os, sys, time
from pathlib import Path
from orchestrator.ledger import Ledger
writer = Ledger.open(Path(sys.argv[1])).writer(sys.argv[2], "dying")
act = os.fork()
if act == 0:
    os.close(1)
    time.sleep(60)
    os._exit(0)
print(act, flush=True)
os._exit(9)
"""


def test_a_run_stays_taken_while_an_act_of_its_dead_driver_still_runs(ledger: Ledger) -> None:
    run = ledger.open_run(opened(), acting)
    command = [sys.executable, "-c", ORPHAN, str(ledger.path), run]
    dead = subprocess.run(command, check=False, stdout=subprocess.PIPE, env={"PYTHONPATH": "."})
    assert dead.returncode == 9
    try:
        with pytest.raises(Conflict, match="it is gone, but an act that it started still runs"):
            ledger.writer(run, "me")
    finally:
        os.kill(int(dead.stdout), signal.SIGKILL)
    while ledger.holder(run):
        time.sleep(0.01)
    with ledger.writer(run, "me") as writer:
        assert writer.epoch == 2


def test_two_processes_drive_two_runs_at_once_and_nothing_is_lost(ledger: Ledger) -> None:
    runs = [ledger.open_run(opened(ticket), acting) for ticket in ("CHG-1", "CHG-2")]
    drivers = [Driver(ledger.path, run) for run in runs]
    try:
        for driver in drivers:
            assert driver.line() == "ready"
            driver.go(0)
        promised = {driver.run: int([driver.line() for _ in range(400)][-1]) for driver in drivers}
    finally:
        for driver in drivers:
            driver.bury()
    assert all(ledger.row(run).seq >= seq == 801 for run, seq in promised.items())
    ledger.verify()
