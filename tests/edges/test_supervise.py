"""The processes of acts, from the side of whoever supervises them: began, found again, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actors.spec import Done, Found, InDoubt
from edges import rig
from edges.rig_watch import catches
from orchestrator.act import write_outcome
from orchestrator.errors import Unavailable
from orchestrator.local import Local
from orchestrator.pure.commands import Act
from orchestrator.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.supervise import ChildActs, Report

A = Act("a", "apply", 1)
ORPHAN = Act("a", "apply", 1, orphan=True)
HOLDER = """
import fcntl, os, signal, sys, time
if sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
os.write(lock, str(os.getpid()).encode())
time.sleep(600)
"""


@pytest.fixture
def acts(tmp_path: Path) -> ChildActs:
    return supervisor(rig.build(tmp_path / "ws", rules=["{step: b, takes_ms: 15000, do: work}"]))


def supervisor(root: Path) -> ChildActs:
    name = rig.opened(root, rig.chain("a", "b"))
    with Session.open(root) as session:
        run = session.load(name)
        workspace = session.workspace
    supervised = Local(workspace, lambda: run, os.environ, None, run.id).acts
    supervised.grace_s = 0.3
    return supervised


def gathered(acts: ChildActs, *, number: int = 1) -> list[Report]:
    reports: list[Report] = []
    while len(reports) < number:
        reports += acts.reports(0.5)
    return reports


def directory_of(acts: ChildActs, name: str = "a.apply.1") -> Path:
    return acts.directory / name


def lock_holder(directory: Path, how: str = "hears") -> subprocess.Popen[bytes]:
    """Stand in for the act of an earlier driver, which sleeps."""
    directory.mkdir(parents=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory / "lock"), how], start_new_session=True
    )
    lock = directory / "lock"
    rig.until(lambda: lock.exists() and lock.read_text() == str(holder.pid), "it holds the lock")
    return holder


# --- begun ----------------------------------------------------------------------------------------


def test_an_act_is_begun_once_and_reported_once(acts: ChildActs) -> None:
    acts.begin(A)
    assert acts.under_way == 1
    (report,) = gathered(acts)
    assert report == ("a", "apply", 1, Done(outputs={"size": 4}))
    assert acts.under_way == 0
    assert acts.reports(0.0) == []


def test_an_act_whose_directory_is_there_is_not_begun(acts: ChildActs) -> None:
    directory_of(acts).mkdir(parents=True)
    acts.begin(A)
    (report,) = gathered(acts)
    assert report.outcome == InDoubt(message="its directory was there before it was begun")
    assert list(directory_of(acts).iterdir()) == []


@pytest.mark.parametrize("where", ["acts", "log", "python"])
def test_what_the_machine_refuses_stops_the_driver_and_assumes_nothing(
    acts: ChildActs, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    if where == "acts":
        acts.directory.parent.mkdir(parents=True, exist_ok=True)
        acts.directory.write_text("a file is in the way")
    elif where == "python":
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
    else:
        make = acts.warrant_for

        def blocked(act: Act, directory: Path) -> object:
            (directory / "log").mkdir()
            return make(act, directory)

        acts.warrant_for = blocked  # type: ignore[assignment]  # it only puts something in the way
    with pytest.raises(Unavailable, match="apply 1 of a cannot be handled here") as refused:
        acts.begin(A)
    assert "resume" in refused.value.next_step
    assert acts.under_way == 0


def test_what_nobody_can_close_stops_the_driver(acts: ChildActs) -> None:
    (directory_of(acts) / "lock").mkdir(parents=True)
    with pytest.raises(Unavailable, match="cannot be handled here"):
        acts.attach(ORPHAN)


# --- found again ----------------------------------------------------------------------------------


def test_an_orphan_without_a_directory_is_in_doubt_and_closed(acts: ChildActs) -> None:
    acts.attach(ORPHAN)
    (report,) = gathered(acts)
    assert isinstance(report.outcome, InDoubt)
    assert directory_of(acts).stat().st_mode & 0o777 == 0o700
    acts.begin(A)
    (late,) = gathered(acts)
    assert late.outcome == InDoubt(message="its directory was there before it was begun")


def test_the_word_of_an_orphan_that_ended_is_taken(acts: ChildActs) -> None:
    directory_of(acts).mkdir(parents=True)
    write_outcome(directory_of(acts), Found(state="applied"))
    acts.attach(ORPHAN)
    (report,) = gathered(acts)
    assert report.outcome == Found(state="applied")


def test_an_orphan_with_a_torn_outcome_is_in_doubt_and_stays_so(acts: ChildActs) -> None:
    directory_of(acts).mkdir(parents=True)
    (directory_of(acts) / "outcome.json").write_text('{"kind": "done"')
    for _ in range(2):
        acts.attach(ORPHAN)
        (report,) = gathered(acts)
        assert isinstance(report.outcome, InDoubt)


def test_an_orphan_is_followed_until_it_dies(acts: ChildActs) -> None:
    holder = lock_holder(directory_of(acts))
    try:
        acts.attach(ORPHAN)
        acts.attach(ORPHAN)
        assert acts.reports(0.1) == []
        assert acts.under_way == 1
        holder.kill()
        holder.wait()
        (report,) = gathered(acts)
    finally:
        holder.kill()
        holder.wait()
    assert isinstance(report.outcome, InDoubt)


@pytest.mark.parametrize("how", ["hears", "deaf"])
def test_an_orphan_that_is_stopped_is_asked_first_and_killed_after_the_grace(
    acts: ChildActs, how: str
) -> None:
    holder = lock_holder(directory_of(acts), how)
    acts.attach(ORPHAN)
    acts.stop()
    (report,) = gathered(acts)
    assert report.outcome == InDoubt(message="stopped by its operator")
    assert holder.wait() == (-signal.SIGTERM if how == "hears" else -signal.SIGKILL)


def test_an_orphan_that_takes_too_long_is_stopped(acts: ChildActs) -> None:
    holder = lock_holder(directory_of(acts), "deaf")
    acts.timeout_s_for = lambda _act: 1
    acts.attach(ORPHAN)
    (report,) = gathered(acts)
    assert report.outcome == InDoubt(message="timed out")
    assert holder.wait() == -signal.SIGKILL


def test_a_lock_that_names_no_process_signals_nobody(acts: ChildActs) -> None:
    holder = lock_holder(directory_of(acts))
    lock = directory_of(acts) / "lock"
    try:
        for text in ("", "0", "1", "-1", "x"):
            lock.write_text(text)
            acts.attach(ORPHAN)
            acts.stop()
            acts.reports(0.0)
        assert holder.poll() is None
    finally:
        holder.kill()
        holder.wait()


# --- stopped --------------------------------------------------------------------------------------


def test_a_child_is_stopped_in_its_group_and_only_once(acts: ChildActs) -> None:
    acts.begin(Act("b", "apply", 1))
    lock = directory_of(acts, "b.apply.1") / "lock"
    pid = int(rig.until(lambda: lock.exists() and lock.read_text(), "it began"))
    rig.until(lambda: catches(pid, signal.SIGTERM), "it listens")
    assert os.getpgid(pid) == os.getsid(pid) == pid
    acts.stop()
    acts.stop()
    (report,) = gathered(acts)
    assert report.outcome.kind == "failed"


def test_a_stopped_process_is_killed_all_the_same(acts: ChildActs) -> None:
    acts.begin(Act("b", "apply", 1))
    lock = directory_of(acts, "b.apply.1") / "lock"
    pid = int(rig.until(lambda: lock.exists() and lock.read_text(), "it began"))
    os.kill(pid, signal.SIGSTOP)
    acts.stop()
    (report,) = gathered(acts)
    assert report.outcome == InDoubt(message="stopped by its operator")


def test_a_signal_ends_the_wait(tmp_path: Path) -> None:
    root = rig.build(tmp_path / "ws", rules=["{step: b, takes_ms: 15000, do: work}"])
    acts = supervisor(root)
    read_end, write_end = os.pipe()
    acts.wake_fd = read_end
    try:
        acts.begin(Act("b", "apply", 1))
        os.write(write_end, b"\x02")
        assert acts.reports(3_600.0) == []
        assert acts.under_way == 1
        acts.stop()
        gathered(acts)
    finally:
        os.close(read_end)
        os.close(write_end)


def test_no_descriptor_is_left_behind(acts: ChildActs, monkeypatch: pytest.MonkeyPatch) -> None:
    count: Callable[[], int] = lambda: len(list(Path("/proc/self/fd").iterdir()))  # noqa: E731 - a counter
    acts.begin(A)
    gathered(acts)
    before = count()
    for attempt in range(2, 5):
        acts.begin(Act("a", "apply", attempt))
        acts.attach(Act("a", "undo", attempt, orphan=True))
    gathered(acts, number=6)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(Unavailable):
        acts.begin(Act("a", "apply", 9))
    assert count() == before


def test_time_that_passes_while_nothing_is_under_way_is_only_waited(acts: ChildActs) -> None:
    began = time.monotonic()
    assert acts.reports(0.05) == []
    assert time.monotonic() - began >= 0.04
