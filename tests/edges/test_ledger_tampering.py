"""Tampering with the file itself: every edit of a record is found, and located."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import apsw
import pytest

from edges.ledger_samples import acting, opened, running, step_events
from orchestrator import ledger_sqlite
from orchestrator.errors import Corrupted, IllegalEvent
from orchestrator.ledger import Ledger
from orchestrator.ledger_chain import Chain, anchor, genesis, read_anchor, sealed
from orchestrator.ledger_schema import SCHEMA, key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TRIGGERS = [statement for statement in SCHEMA if "CREATE TRIGGER" in statement]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a closed ledger: run 1 has nine records and comes before run 2."""
    path = tmp_path / "ledger.db"
    with Ledger.open(path, create=True) as ledger:
        run = ledger.open_run(opened(), acting)
        with ledger.writer(run, "me") as writer:
            for turn in range(4):
                writer.append(step_events(turn, at_ms=2_000 + turn), running(turn))
        ledger.open_run(opened("CHG-2"), acting)
        assert ledger.verify() == 10
    return path


def _tamper(path: Path, sql: str, *bindings: int | str | bytes) -> None:
    """Edit as somebody would who knows about the triggers and puts them back."""
    connection = apsw.Connection(str(path))
    for trigger in TRIGGERS:
        connection.execute(f"DROP TRIGGER {trigger.split()[2]}")
    connection.execute(sql, bindings)
    assert connection.changes() > 0
    for trigger in TRIGGERS:
        connection.execute(trigger)
    connection.close()


CHANGED = (
    "UPDATE events SET envelope = CAST(replace(envelope, '\"s1\"', '\"s9\"') AS BLOB) WHERE id = ?"
)
CASES = {
    "a changed record": (CHANGED, (key(1, 4),), "record 4"),
    "a changed hash": (
        "UPDATE events SET hash = zeroblob(32) WHERE id = ?",
        (key(1, 5),),
        "record 5",
    ),
    "a deleted record": ("DELETE FROM events WHERE id = ?", (key(1, 3),), "record 3"),
    "a deleted first record": ("DELETE FROM events WHERE id = ?", (key(1, 1),), "record 1"),
    "a deleted last record": ("DELETE FROM events WHERE id = ?", (key(1, 9),), "record 9"),
    "an inserted record": (
        "INSERT INTO events SELECT ?, envelope, hash FROM events WHERE id = (1 << 32) + 9",
        (key(1, 10),),
        "record 10",
    ),
    "two exchanged records": (
        (
            "UPDATE events SET (envelope, hash) = (SELECT envelope, hash FROM events AS other"
            " WHERE other.id = ? - events.id) WHERE id IN ((1 << 32) + 6, (1 << 32) + 7)"
        ),
        (key(1, 6) + key(1, 7),),
        "record 6",
    ),
    "a head set back": (
        "UPDATE runs SET seq = 8 WHERE run = 'CHG-1.1' AND ? > 0",
        (1,),
        "record 9",
    ),
    "a changed head": (
        "UPDATE runs SET head = zeroblob(32) WHERE run = 'CHG-1.1' AND ? > 0",
        (1,),
        "record 9",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_edit_is_found_and_located(path: Path, case: str) -> None:
    sql, bindings, place = CASES[case]
    _tamper(path, sql, *bindings)
    with Ledger.open(path) as ledger:
        with pytest.raises(Corrupted, match=f"{place} of run CHG-1.1 does not verify"):
            list(ledger.read("CHG-1.1"))
        with pytest.raises(Corrupted):
            ledger.verify()
        assert len(list(ledger.read("CHG-2.1"))) == 1


def test_two_runs_cannot_be_exchanged(path: Path) -> None:
    _tamper(path, "UPDATE events SET id = id + (9 << 32) WHERE id >= ?", key(1, 1))
    _tamper(path, "UPDATE runs SET run = run || '1', number = number + 9 WHERE number > ?", 0)
    with Ledger.open(path) as ledger, pytest.raises(Corrupted, match=r"record 1 of run CHG-1\.11"):
        list(ledger.read("CHG-1.11"))


def test_a_truncation_with_a_rewritten_head_is_found_by_the_anchor_in_the_next_run(
    path: Path,
) -> None:
    with Ledger.open(path) as ledger:
        eighth = next(raw for raw in ledger.read_raw("CHG-1.1") if raw.seq == 8)
    _tamper(path, "DELETE FROM events WHERE id = ?", key(1, 9))
    _tamper(path, "UPDATE runs SET seq = 8, head = ? WHERE run = 'CHG-1.1'", eighth.hash)
    with Ledger.open(path) as ledger:
        assert len(list(ledger.read("CHG-1.1"))) == 8
        with pytest.raises(Corrupted, match=r"record 1 of run CHG-2\.1 .*it follows CHG-1\.1:9:"):
            ledger.verify()


def test_a_damaged_chain_is_not_continued(path: Path) -> None:
    _tamper(path, "UPDATE events SET hash = zeroblob(32) WHERE id = ?", key(1, 9))
    with Ledger.open(path) as ledger:
        with pytest.raises(Corrupted, match="does not end with record 9"):
            ledger.writer("CHG-1.1", "me")
        assert ledger.holder("CHG-1.1") is None


@pytest.mark.parametrize(
    "sql", ["UPDATE events SET hash = x''", "DELETE FROM events", "DELETE FROM runs"]
)
def test_the_file_itself_refuses_to_change_what_was_recorded(path: Path, sql: str) -> None:
    connection = apsw.Connection(str(path))
    with pytest.raises(apsw.ConstraintError, match="are never"):
        connection.execute(sql)
    connection.close()


def _broken_event_page(path: Path) -> None:
    """Spoil a page of the table of events, and nothing else."""
    connection = apsw.Connection(str(path))
    connection.pragma("wal_checkpoint(TRUNCATE)")
    size = connection.pragma("page_size")
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events'").get
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xee" * 16)


def test_a_damaged_page_is_found_when_the_ledger_is_opened(path: Path) -> None:
    _broken_event_page(path)
    with pytest.raises(Corrupted, match="is damaged"):
        Ledger.open(path)


def test_in_a_large_ledger_a_damaged_page_is_found_before_anybody_writes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_sqlite, "WHOLE_BYTES", 0)
    _broken_event_page(path)
    with Ledger.open(path) as ledger:
        assert len(ledger.rows()) == 2
        with pytest.raises(Corrupted, match="is damaged"):
            ledger.writer("CHG-1.1", "me")
        assert ledger.holder("CHG-1.1") is None
        with pytest.raises(Corrupted):
            list(ledger.read("CHG-1.1"))


def test_nothing_is_written_where_the_triggers_are_gone(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("DROP TRIGGER events_are_never_deleted")
    connection.close()
    with Ledger.open(path) as ledger:
        assert len(list(ledger.read("CHG-1.1"))) == 9
        with pytest.raises(Corrupted, match="tables or triggers were altered"):
            ledger.writer("CHG-1.1", "me")
        with pytest.raises(Corrupted, match="tables or triggers were altered"):
            ledger.open_run(opened(), acting)


def test_an_intact_record_of_another_version_is_not_guessed_at(path: Path) -> None:
    raw = b'{"at_ms":9000,"type":"teleported"}'
    with Ledger.open(path) as ledger:
        row = ledger.row("CHG-2.1")
    records = sealed([(9_000, raw)], run=row.run, epoch=1, seq=1, head=bytes.fromhex(row.head))
    _, envelope, head = records[0]
    _tamper(path, "INSERT INTO events VALUES (?, ?, ?)", key(2, 2), envelope, head)
    _tamper(path, "UPDATE runs SET seq = 2, head = ? WHERE number = 2", head)
    with Ledger.open(path) as ledger:
        assert ledger.verify() == 11
        with pytest.raises(IllegalEvent, match=r"record 2 of run CHG-2\.1 is intact"):
            list(ledger.read("CHG-2.1"))


def _forged(*envelopes: bytes) -> list[tuple[bytes, bytes]]:
    """Seal whatever is given, as somebody would who can compute hashes."""
    head, records = genesis("CHG-1.1"), []
    for envelope in envelopes:
        head = sha256(head + envelope).digest()
        records.append((envelope, head))
    return records


def _envelope(seq: int, *, at_ms: int = 5, epoch: int = 1, run: str = "CHG-1.1") -> bytes:
    text = f'{{"at_ms":{at_ms},"epoch":{epoch},"event":{{}},"run":"{run}","seq":{seq}}}'
    return text.encode()


@pytest.mark.parametrize(
    ("envelopes", "why"),
    [
        ([_envelope(1), _envelope(2, epoch=0)], "its epoch goes back from 1 to 0"),
        ([_envelope(1), _envelope(2, at_ms=4)], "its time goes back from 5 to 4"),
        ([_envelope(1), _envelope(3)], "its envelope belongs elsewhere"),
        ([_envelope(1, run="CHG-1.2")], "its envelope belongs elsewhere"),
        ([b"{}"], "its envelope belongs elsewhere"),
        ([_envelope(1), b'{"after":"",' + _envelope(2)[1:]], "only the first record"),
    ],
)
def test_well_hashed_records_in_a_wrong_order_are_refused(
    envelopes: Sequence[bytes], why: str
) -> None:
    chain = Chain("CHG-1.1")
    *good, bad = _forged(*envelopes)
    for envelope, digest in good:
        chain.follow(envelope, digest)
    with pytest.raises(Corrupted, match=why):
        chain.follow(*bad)


def test_an_anchor_is_read_as_it_was_written() -> None:
    assert read_anchor(anchor("CHG-1.1", 7, bytes(32))) == ("CHG-1.1", 7, bytes(32))
    assert read_anchor("CHG-1.1:7") is None
