"""The ledger: what is recorded is read back, in order, by whoever may, and nothing else is."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import apsw
import pytest

from edges.ledger_samples import acting, answered, exclusive, opened, running, shared, step_events
from orchestrator.errors import Conflict, Corrupted, IllegalEvent, InvalidInput, Unavailable
from orchestrator.ledger import Held, Ledger, Machine, Projection
from orchestrator.ledger_files import network_filesystem
from orchestrator.ledger_schema import ENDED
from orchestrator.pure.state import ENDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".interlock" / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger.open(path, create=True) as ledger:
        yield ledger


# --- opening ------------------------------------------------------------------------------------


def test_a_ledger_is_made_once_and_only_for_its_owner(path: Path) -> None:
    Ledger.open(path, create=True).close()
    made = path.stat().st_ino
    Ledger.open(path, create=True).close()
    assert path.stat().st_ino == made
    for name in ("ledger.db", "ledger.db-wal"):
        assert stat.S_IMODE((path.parent / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not list(path.parent.glob("*.new*"))


def test_what_an_interrupted_making_left_is_made_anew(path: Path) -> None:
    path.parent.mkdir()
    path.with_name("ledger.db.new").write_bytes(b"half")
    path.with_name("ledger.db-wal").write_bytes(bytes(1000))
    with Ledger.open(path, create=True) as ledger:
        assert ledger.rows() == []


def test_a_missing_ledger_is_the_persons_to_mend(path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no ledger at") as refused:
        Ledger.open(path)
    assert "interlock init" in refused.value.next_step
    assert not path.parent.exists()


def test_a_wal_without_its_ledger_is_not_written_over(ledger: Ledger, path: Path) -> None:
    ledger.open_run(opened(), acting)
    ledger.close()
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(Corrupted, match="the ledger was moved or deleted"):
        Ledger.open(path, create=True)


@pytest.mark.parametrize("version", ["3.40.1", "3.51.2", "3.9.99"])
def test_an_old_sqlite_is_refused(path: Path, version: str) -> None:
    with pytest.raises(InvalidInput, match=f"SQLite {version} can damage a ledger") as refused:
        Ledger.open(path, create=True, machine=Machine(sqlite=version))
    assert "3.51.3" in refused.value.next_step


def test_a_network_file_system_is_refused(path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"shared file system \(nfs\)"):
        Ledger.open(path, create=True, machine=Machine(filesystem=lambda _: "nfs"))
    assert not path.exists()


def test_the_file_system_is_asked_for(tmp_path: Path) -> None:
    assert network_filesystem(tmp_path) is None
    with pytest.raises(Unavailable, match="cannot tell the file system"):
        network_filesystem(tmp_path / "missing")


def test_another_database_is_not_a_ledger(path: Path) -> None:
    path.parent.mkdir()
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(Corrupted, match="it is not a ledger"):
        Ledger.open(path)


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to be one" * 100])
def test_another_file_is_not_a_ledger(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(Corrupted):
        Ledger.open(path)


def test_a_ledger_of_a_newer_version_is_not_touched(ledger: Ledger, path: Path) -> None:
    ledger.close()
    _edit(path, "PRAGMA user_version = 2")
    with pytest.raises(InvalidInput, match="ledger format 2"):
        Ledger.open(path)


def test_looking_at_the_runs_loads_no_models() -> None:
    code = "import sys, orchestrator.ledger; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- recording and reading ----------------------------------------------------------------------


def test_a_run_is_named_after_its_ticket_and_counted(ledger: Ledger) -> None:
    tickets = ("CHG-1", "CHG-2", "CHG-1")
    names = [ledger.open_run(opened(ticket), acting) for ticket in tickets]
    assert names == ["CHG-1.1", "CHG-2.1", "CHG-1.2"]
    assert [row.run for row in ledger.rows()] == names[::-1]
    assert [row.run for row in ledger.rows(limit=1)] == ["CHG-1.2"]


def test_what_was_recorded_is_read_back(ledger: Ledger) -> None:
    run = ledger.open_run(opened(), acting)
    events = [*step_events(1), *step_events(2), answered(20_000)]
    with ledger.writer(run, "me") as writer:
        told = writer.append(events[:3], running(1)) + writer.append(events[3:], running(2))
    found = list(ledger.read(run))
    assert found[0].event == opened()
    assert found[1:] == told
    assert [recorded.event for recorded in found[1:]] == events
    assert [(recorded.seq, recorded.epoch) for recorded in found[:3]] == [(1, 0), (2, 1), (3, 1)]
    assert list(ledger.read(run, after=4)) == found[4:]
    assert list(ledger.read(run, after=6)) == []


def test_a_row_tells_how_a_run_stands(ledger: Ledger) -> None:
    run = ledger.open_run(opened(), Projection("drafting", "asking the planner", {}))
    with ledger.writer(run, "me") as writer:
        writer.append(step_events(1, at_ms=7_000), Projection("held", "Café", {"done": 3}))
        row = ledger.row(run)
        assert (row.seq, row.epoch, row.head) == (writer.seq, writer.epoch, writer.head)
    assert (row.phase, row.note, row.counts) == ("held", "Café", {"done": 3})
    assert (row.ticket, row.title, row.environment) == ("CHG-1", "Patch the web servers", "prod")
    assert (row.opened_ms, row.at_ms) == (1_000, 7_000)


def test_an_ended_run_is_not_live(ledger: Ledger) -> None:
    for number, phase in enumerate(ENDED):
        ledger.open_run(opened(f"CHG-{number}"), Projection(phase, "", {}))
    live = ledger.open_run(opened("CHG-99"), acting)
    assert [row.run for row in ledger.rows(live_only=True)] == [live]


def test_the_ledger_and_the_machine_agree_on_what_has_ended() -> None:
    assert set(ENDED) == ENDS


def test_an_unknown_run_is_answered_with_the_nearest_names(ledger: Ledger) -> None:
    for ticket in ("CHG-1", "CHG-2", "INC-7"):
        ledger.open_run(opened(ticket), acting)
    ways = (ledger.row, ledger.read_raw, ledger.holder, lambda run: ledger.writer(run, "me"))
    for ask in ways:
        with pytest.raises(InvalidInput, match="there is no run 'INC-71'") as refused:
            ask("INC-71")
        assert "INC-7.1" in refused.value.next_step


def test_a_name_that_leaves_the_folder_is_an_unknown_run(ledger: Ledger) -> None:
    with pytest.raises(InvalidInput):
        ledger.writer("../../etc/passwd", "me")


def test_time_does_not_go_back_within_a_run(ledger: Ledger) -> None:
    run = ledger.open_run(opened(at_ms=5_000), acting)
    with ledger.writer(run, "me") as writer:
        with pytest.raises(IllegalEvent, match="lies before its newest"):
            writer.append(step_events(1, at_ms=4_999), acting)
        assert writer.append(step_events(1, at_ms=writer.at_ms), acting)[-1].seq == 3


def test_an_empty_batch_moves_the_projection_alone(ledger: Ledger) -> None:
    run = ledger.open_run(opened(), acting)
    with ledger.writer(run, "me") as writer:
        assert writer.append([], running(2)) == []
        assert writer.append(step_events(1), running(2))[0].seq == 2
    assert ledger.row(run).counts == {"done": 2}
    ledger.verify()


def test_a_closed_writer_appends_nothing_and_lets_the_next_one_in(ledger: Ledger) -> None:
    run = ledger.open_run(opened(), acting)
    with ledger.writer(run, "me") as writer:
        assert ledger.holder(run) == f"me, process {os.getpid()} on {os.uname().nodename}"
        with pytest.raises(Conflict, match="already driven by me"):
            ledger.writer(run, "me too")
    writer.close()
    assert ledger.holder(run) is None
    with pytest.raises(Unavailable, match="it was closed"):
        writer.append(step_events(1), acting)
    with ledger.writer(run, "next") as following:
        assert following.epoch == 2


def test_a_writer_does_not_survive_a_fork(ledger: Ledger) -> None:
    run = ledger.open_run(opened(), acting)
    with ledger.writer(run, "me") as writer:
        writer._process -= 1
        with pytest.raises(Unavailable, match="belongs to process"):
            writer.append(step_events(1), acting)


def test_an_interrupted_append_leaves_nothing_behind_and_a_dead_writer(ledger: Ledger) -> None:
    run = ledger.open_run(opened(), acting)
    with ledger.writer(run, "me") as writer:
        with pytest.raises(ValueError, match="interrupted"):
            writer.append(step_events(1), acting, asks=_Interrupting())
        with pytest.raises(Unavailable, match="stopped earlier"):
            writer.append(step_events(1), acting)
    assert ledger.row(run).seq == 1
    ledger.verify()


class _Interrupting(list[int]):
    """Asks whose reading is interrupted in the middle of the transaction."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[int]:
        raise ValueError("interrupted")


# --- leases -------------------------------------------------------------------------------------


def test_a_resource_is_held_by_one_live_run(ledger: Ledger) -> None:
    one, two = (ledger.open_run(opened(), acting) for _ in range(2))
    with ledger.writer(one, "1") as first, ledger.writer(two, "2") as second:
        first.append([], acting, want=exclusive("host:a", "host:b"))
        assert ledger.conflicts(two, exclusive("host:b")) == [
            Held("host:b", "exclusive", one, "wanted")
        ]
        first.append([], acting, take=exclusive("host:a", "host:b"))
        with pytest.raises(Conflict, match=f"run {two} must wait: {one} holds 1") as refused:
            second.append(step_events(1), running(1), take=exclusive("host:b", "host:c"))
        assert refused.value.details == (f"host:b (exclusive) is held by {one}",)
        assert second.seq == ledger.row(two).seq == 1
        assert ledger.conflicts(one, exclusive("host:c")) == []
        first.append([], acting, release=True)
        assert second.append(step_events(1), running(1), take=exclusive("host:b"))
        assert ledger.conflicts(two, exclusive("host:a", "host:b")) == []


def test_two_runs_may_share(ledger: Ledger) -> None:
    one, two = (ledger.open_run(opened(), acting) for _ in range(2))
    with ledger.writer(one, "1") as first, ledger.writer(two, "2") as second:
        first.append([], acting, take=shared("cluster:x"))
        second.append([], acting, take=shared("cluster:x"))
        with pytest.raises(Conflict):
            first.append([], acting, take=exclusive("cluster:x"))
        second.append([], acting, release=True)
        first.append([], acting, take=[*exclusive("cluster:x"), *shared("cluster:x")])
        assert ledger.conflicts(two, shared("cluster:x")) == [
            Held("cluster:x", "exclusive", one, "held")
        ]


def test_a_lease_binds_until_it_is_released_whatever_phase_its_run_is_said_to_be_in(
    ledger: Ledger,
) -> None:
    one, two = (ledger.open_run(opened(), acting) for _ in range(2))
    over = Projection("cancelled", "", {})
    with ledger.writer(one, "1") as first, ledger.writer(two, "2") as second:
        first.append([], acting, take=exclusive("host:a"))
        first.append([], over)
        with pytest.raises(Conflict, match=f"{one} holds 1"):
            second.append([], acting, take=exclusive("host:a"))
        first.append([], over, release=True)
        second.append([], acting, take=exclusive("host:a"))


def test_a_new_wish_replaces_the_old_one_but_not_what_is_held(ledger: Ledger) -> None:
    one, two = (ledger.open_run(opened(), acting) for _ in range(2))
    everything = exclusive("host:a", "host:b", "host:c")
    with ledger.writer(one, "1") as writer:
        writer.append([], acting, take=exclusive("host:a"))
        writer.append([], acting, want=exclusive("host:b"))
        writer.append([], acting, want=exclusive("host:c"))
        found = [(held.resource, held.state) for held in ledger.conflicts(two, everything)]
        assert found == [("host:a", "held"), ("host:c", "wanted")]
        writer.append([], acting, take=exclusive("host:c"))
        found = [(held.resource, held.state) for held in ledger.conflicts(two, everything)]
        assert found == [("host:a", "held"), ("host:c", "held")]


# --- asks ---------------------------------------------------------------------------------------


def test_what_another_terminal_asks_is_taken_with_the_event_that_answers(ledger: Ledger) -> None:
    one, two = (ledger.open_run(opened(), acting) for _ in range(2))
    with ledger.writer(one, "1") as writer:
        assert writer.asks() == []
        first = ledger.ask(one, "pause", "bob", "", 3_000)
        ledger.ask(two, "cancel", "bob", "not yours", 3_000)
        second = ledger.ask(one, "cancel", "eve", "wrong host", 3_001)
        assert [(ask.id, ask.kind, ask.by, ask.body) for ask in writer.asks()] == [
            (first, "pause", "bob", ""),
            (second, "cancel", "eve", "wrong host"),
        ]
        writer.append(step_events(1), acting, asks=[first])
        assert [ask.id for ask in writer.asks()] == [second]
    with ledger.writer(one, "next") as writer:
        assert [ask.id for ask in writer.asks()] == [second]
        writer.append([], acting, asks=[second])
        assert ledger.ask(one, "pause", "bob", "", 3_002) > second
    with pytest.raises(InvalidInput, match="characters"):
        ledger.ask(one, "cancel", "bob", "x" * 1_000_001, 3_003)


def _edit(path: Path, *statements: str) -> None:
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement)
    connection.close()
