"""Broken disks: after a failed operation the writer is dead, and what was promised is there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from edges.crashvfs import Fault, Tape, TapeVfs
from edges.ledger_samples import acting, answered, exclusive, opened, running, step_events
from orchestrator.errors import InterlockError, Unavailable
from orchestrator.ledger import Ledger, Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.ledger import Writer

WAL_BYTES = 1 << 16
LOCAL = Machine(filesystem=lambda _: None, wal_bytes=WAL_BYTES)


@pytest.fixture
def fast() -> Iterator[Path]:
    shm = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


class Attempt:
    """The workload on a disk that may break, and what became of it."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.machine = Machine(
            vfs="faulty", filesystem=lambda _: None, wal_bytes=WAL_BYTES, checkpoint_pages=10
        )
        self.acked: dict[str, int] = {}
        self.tried: dict[str, int] = {}
        self.failures: list[InterlockError] = []
        self.survivors = 0

    def work(self, path: Path) -> None:
        try:
            with Ledger.open(path, machine=self.machine) as ledger:
                for ticket in ("CHG-1", "CHG-2"):
                    self._run(ledger, ticket)
        except InterlockError as error:
            self.failures.append(error)

    def _run(self, ledger: Ledger, ticket: str) -> None:
        self.tried[f"{ticket}.1"] = 1
        run = ledger.open_run(opened(ticket), acting)
        self.acked[run] = 1
        with ledger.writer(run, "driver") as writer:
            for turn in range(4):
                if not self._append(writer, turn):
                    return

    def _append(self, writer: Writer, turn: int) -> bool:
        events = [*step_events(turn), answered(1_500)]
        self.tried[writer.run] = writer.seq + len(events)
        try:
            writer.append(events, running(turn), want=exclusive(f"host:web{turn}"))
        except Unavailable as error:
            self.failures.append(error)
            self._poke(writer)
            return False
        self.acked[writer.run] = writer.seq
        return True

    def _poke(self, writer: Writer) -> None:
        """A dead writer must stay dead, although the disk works again."""
        self.tape.fault = None
        try:
            writer.append(step_events(99), running(99))
        except Unavailable as error:
            self.survivors += "re-read the ledger" not in error.next_step
        else:
            self.survivors += 1


def test_every_failed_operation_kills_the_writer_and_loses_nothing(
    fast: Path, record_property: Callable[[str, object], None]
) -> None:
    empty = fast / "empty"
    Ledger.open(empty / "ledger.db", create=True, machine=LOCAL).close()
    points, failed, unacked = _operations(fast, empty), 0, 0
    faults = [
        Fault(at, code, persistent)
        for at in range(1, points + 1)
        for code in (apsw.SQLITE_FULL, apsw.SQLITE_IOERR_FSYNC)
        for persistent in (False, True)
    ]
    for fault in faults:
        attempt = _struck(fast, empty, fault)
        assert attempt.survivors == 0, fault
        failed += bool(attempt.failures)
        unacked += _found_after(fast / "now" / "ledger.db", attempt, fault)
    record_property(
        "figure",
        f"I/O faults: {len(faults)} struck at {points} operations, {failed} reported,"
        f" {unacked} left an event that was not promised, 0 lost",
    )
    assert points > 50
    assert failed > points


def _operations(fast: Path, empty: Path) -> int:
    """Count the operations of a workload on a sound disk."""
    attempt = _struck(fast, empty, None)
    assert not attempt.failures
    assert attempt.acked == attempt.tried == {"CHG-1.1": 13, "CHG-2.1": 13}
    return attempt.tape.count


def _struck(fast: Path, empty: Path, fault: Fault | None) -> Attempt:
    shutil.rmtree(fast / "now", ignore_errors=True)
    shutil.copytree(empty, fast / "now")
    tape = Tape(fault=fault, recording=True)
    vfs = TapeVfs("faulty", tape)
    attempt = Attempt(tape)
    try:
        attempt.work(fast / "now" / "ledger.db")
    finally:
        vfs.unregister()
    return attempt


def _found_after(path: Path, attempt: Attempt, fault: Fault) -> bool:
    """Open the ledger again on a sound disk; say whether it holds more than was promised."""
    with Ledger.open(path, machine=LOCAL) as ledger:
        ledger.verify()
        there = {row.run: row.seq for row in ledger.rows()}
        for run, seq in attempt.acked.items():
            assert there.get(run, 0) in {seq, attempt.tried[run]}, fault
        assert set(there) <= set(attempt.tried), fault
        for run in there:
            with ledger.writer(run, "next") as writer:
                writer.append(step_events(50), running(50))
        ledger.verify()
    return there != attempt.acked


FILL = """
import resource, signal, sys
from pathlib import Path
from edges.ledger_samples import acting, answered, opened
from orchestrator.errors import Unavailable
from orchestrator.ledger import Ledger
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Ledger.open(Path(sys.argv[1])) as ledger:
    run = ledger.open_run(opened(), acting)
    with ledger.writer(run, "filling") as writer:
        if len(sys.argv) > 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
        try:
            while True:
                writer.append([answered(20_000)] * 20, acting)
        except Unavailable as error:
            print(run, writer.seq, error.exit_code, error.what)
"""


def test_a_process_that_may_write_no_more_reports_it_and_the_ledger_opens_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    Ledger.open(path, create=True).close()
    _fill_and_look(path, str(6 << 20))


def test_a_full_disk_is_reported_and_the_ledger_opens_again(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small disk; the limit on file size is tested instead")
    try:
        path = tmp_path / "w" / "ledger.db"
        Ledger.open(path, create=True).close()
        _fill_and_look(path)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def _fill_and_look(path: Path, *limit: str) -> None:
    folders = {"PYTHONPATH": ".:tests", "PATH": ""}
    command = [sys.executable, "-c", FILL, str(path), *limit]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=folders)
    run, seq, code, what = done.stdout.split(maxsplit=3)
    assert (code, done.stderr) == ("7", ""), what
    assert int(seq) > 20
    with Ledger.open(path) as ledger:
        assert ledger.row(run).seq in {int(seq), int(seq) + 20}
        assert sum(1 for _ in ledger.read(run)) == ledger.row(run).seq
        ledger.verify()


def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be read or written"):
        Ledger.open(tmp_path / "file" / "ledger.db", create=True)


def test_a_ledger_locked_by_a_stuck_process_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    machine = Machine(busy_ms=50)
    with Ledger.open(path, create=True, machine=machine) as ledger:
        run = ledger.open_run(opened(), acting)
        stuck = apsw.Connection(str(path))
        with ledger.writer(run, "x") as writer:
            stuck.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="locked by another process"):
                writer.append(step_events(1), acting)
            stuck.execute("ROLLBACK")
            with pytest.raises(Unavailable, match="stopped earlier"):
                writer.append(step_events(1), acting)
        stuck.close()
        assert ledger.row(run).seq == 1
