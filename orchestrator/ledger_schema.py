"""The tables of a ledger, as SQL text; `ledger.py` is the only file that speaks it.

1. `events` is append-only: triggers refuse UPDATE and DELETE; the hash chain finds who went around.
2. An event's key is `run number << 32 | seq`: one B-tree, in which each run appends to its own end.
3. `runs` holds each run's projection: nobody has to decode events to know how a run stands. Whoever
   does compares: the phase must be what the events come to.
4. `leases` are the resources that runs hold or want; `inbox` is what others ask of a run's driver.
"""

from __future__ import annotations

from typing import Final

__all__ = ["APPLICATION_ID", "ENDED", "FORMAT", "PAGE_BYTES", "SCHEMA", "key"]

APPLICATION_ID: Final = 0x494C434B  # "ILCK"
FORMAT: Final = 1
PAGE_BYTES: Final = 4096
SEQ_BITS: Final = 32
ENDED: Final = ("cancelled", "declined", "rejected", "rolled_back", "succeeded", "taken_over")
"""Phases in which a run is over. Any other word means live."""

SCHEMA: Final = (
    """CREATE TABLE runs (
        number INTEGER PRIMARY KEY,
        run TEXT NOT NULL UNIQUE,
        ticket TEXT NOT NULL,
        title TEXT NOT NULL,
        environment TEXT NOT NULL,
        phase TEXT NOT NULL,
        note TEXT NOT NULL,
        counts TEXT NOT NULL,
        seq INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        opened_ms INTEGER NOT NULL,
        head BLOB NOT NULL
    ) STRICT""",
    "CREATE INDEX runs_by_ticket ON runs (ticket)",
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        envelope BLOB NOT NULL,
        hash BLOB NOT NULL
    ) STRICT""",
    """CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'events are never changed'); END""",
    """CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END""",
    """CREATE TRIGGER runs_are_never_deleted BEFORE DELETE ON runs
        BEGIN SELECT RAISE(ABORT, 'runs are never deleted'); END""",
    """CREATE TABLE leases (
        resource TEXT NOT NULL,
        number INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('held', 'wanted')),
        mode TEXT NOT NULL CHECK (mode IN ('shared', 'exclusive')),
        PRIMARY KEY (resource, number, state)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX leases_of_run ON leases (number, state)",
    """CREATE TABLE inbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        number INTEGER NOT NULL,
        kind TEXT NOT NULL,
        by TEXT NOT NULL,
        body TEXT NOT NULL,
        at_ms INTEGER NOT NULL
    ) STRICT""",
    "CREATE INDEX inbox_of_run ON inbox (number, id)",
)

_LIVE: Final = f"phase NOT IN {ENDED}"
_ROW: Final = (
    "SELECT run, ticket, title, environment, phase, seq, epoch, at_ms, opened_ms,"
    " lower(hex(head)), note, counts FROM runs"
)
ALL_ROWS: Final = f"{_ROW} ORDER BY number DESC LIMIT ?"
LIVE_ROWS: Final = f"{_ROW} WHERE {_LIVE} ORDER BY number DESC LIMIT ?"
ONE_ROW: Final = f"{_ROW} WHERE run = ?"
ROWS_OF_TICKET: Final = f"{_ROW} WHERE ticket = ? ORDER BY number DESC LIMIT 100"
NUMBER: Final = "SELECT number FROM runs WHERE run = ?"
NAMES: Final = "SELECT run FROM runs ORDER BY number DESC LIMIT 10000"
# One statement, hence one snapshot: a driver may append while somebody reads.
PLACE: Final = (
    "SELECT number, seq, head, (SELECT max(id) FROM events WHERE id < (number + 1) << 32)"
    " FROM runs WHERE run = ?"
)
SPAN: Final = "SELECT id, envelope, hash FROM events WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"
HASH: Final = "SELECT hash FROM events WHERE id = ?"

SCHEMA_NOW: Final = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL"
COUNT_OF_TICKET: Final = "SELECT count(*) FROM runs WHERE ticket = ?"
NEWEST_RUN: Final = "SELECT number, run, seq, head FROM runs ORDER BY number DESC LIMIT 1"
OPEN_RUN: Final = "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, 0, ?, ?, ?)"
NEW_EPOCH: Final = (
    "UPDATE runs SET epoch = epoch + 1 WHERE run = ? RETURNING number, epoch, seq, at_ms, head"
)
EPOCH: Final = "SELECT epoch FROM runs WHERE number = ?"
APPEND_EVENT: Final = "INSERT INTO events (id, envelope, hash) VALUES (?, ?, ?)"
# Comparing epoch, seq and head is the fence: a stale driver changes no row and writes nothing.
MOVE_RUN: Final = (
    "UPDATE runs SET seq = ?, at_ms = ?, head = ?, phase = ?, note = ?, counts = ?"
    " WHERE number = ? AND epoch = ? AND seq = ? AND head = ?"
)

WANT: Final = (
    "INSERT INTO leases (resource, number, state, mode) VALUES (?, ?, 'wanted', ?)"
    " ON CONFLICT DO UPDATE SET mode = 'exclusive' WHERE excluded.mode = 'exclusive'"
)
TAKE: Final = (
    "INSERT INTO leases (resource, number, state, mode) VALUES (?, ?, 'held', ?)"
    " ON CONFLICT DO UPDATE SET mode = 'exclusive' WHERE excluded.mode = 'exclusive'"
)
STOP_WANTING: Final = "DELETE FROM leases WHERE number = ? AND state = 'wanted'"
RELEASE: Final = "DELETE FROM leases WHERE number = ?"
# Whoever wrote another phase into `runs` has freed nothing: a lease binds until it is deleted.
OVERLAPPING: Final = (
    "SELECT resource, mode, run, state FROM leases JOIN runs USING (number)"
    " WHERE resource = ? AND number <> ? AND 'exclusive' IN (mode, ?) ORDER BY number, state"
)

LEAVE_ASK: Final = "INSERT INTO inbox (number, kind, by, body, at_ms) VALUES (?, ?, ?, ?, ?)"
ASKS: Final = "SELECT id, kind, by, body, at_ms FROM inbox WHERE number = ? ORDER BY id"
ASK_WAITS: Final = "SELECT 1 FROM inbox WHERE id = ?"
TAKE_ASK: Final = "DELETE FROM inbox WHERE id = ? AND number = ?"


def key(number: int, seq: int) -> int:
    """Return the key of an event."""
    return number << SEQ_BITS | seq
