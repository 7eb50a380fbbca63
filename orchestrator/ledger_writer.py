"""The writer: the one driver's hand on one run of the ledger.

1. A batch is one transaction: fence, leases, events, taken asks. All of it is there, or nothing.
2. The fence is an UPDATE that compares epoch, seq and head; who was overtaken changes no row.
3. After any error the writer is dead. Only a Conflict over leases, which has undone its transaction
   before any commit, leaves it alive: the run then waits.
4. One thread, in the process that made it: a connection does not survive a fork.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from orchestrator import ledger_schema as tables
from orchestrator.errors import Conflict, Corrupted, IllegalEvent, Unavailable
from orchestrator.ledger_chain import sealed
from orchestrator.ledger_sqlite import (
    SqliteError,
    close,
    explained,
    fetched,
    refuse_altered,
    transaction,
    undo,
)
from orchestrator.ledger_values import Ask, Held, Recorded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from orchestrator.ledger_files import RunLock
    from orchestrator.ledger_sqlite import Connection
    from orchestrator.ledger_values import Projection
    from orchestrator.pure.events import Event
    from orchestrator.pure.model import Lock

__all__ = ["Place", "Writer", "new_epoch", "overlapping", "packed"]

SHOWN: Final = 10
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


class Place(NamedTuple):
    """Where a new epoch begins."""

    number: int
    epoch: int
    seq: int
    at_ms: int
    head: bytes


class Writer:
    """The only hand that appends to a run, for as long as its epoch is the newest."""

    def __init__(
        self, run: str, path: Path, connection: Connection, lock: RunLock, place: Place
    ) -> None:
        from orchestrator.pure.events import event_to_json  # noqa: PLC0415 - whoever only reads rows needs no pydantic

        self._to_json = event_to_json
        self.run = run
        self.epoch = place.epoch
        self.seq = place.seq
        self.at_ms = place.at_ms
        """The newest event's instant; no later one may lie before it."""
        self._number = place.number
        self._head = place.head
        self._path = path
        self._connection = connection
        self._cursor = connection.cursor()
        self._lock = lock
        self._process = os.getpid()
        self._dead = ""
        self._inbox_version: object = None
        self._asks: list[Ask] = []

    @property
    def head(self) -> str:
        """The hash of the newest record."""
        return self._head.hex()

    def append(
        self,
        events: Sequence[Event],
        projection: Projection,
        *,
        want: Sequence[Lock] | None = None,
        take: Sequence[Lock] | None = None,
        release: bool = False,
        asks: Sequence[int] = (),
    ) -> list[Recorded]:
        """Record events, and with them the projection, leases and taken asks; durable on return.

        Leases, in this order: `release` gives back all, `want` replaces what is waited for, `take`
        holds (what is held already stays held), or raises Conflict and nothing is written.
        """
        self._refuse_dead()
        pairs = self._stamped(events)
        records = sealed(pairs, run=self.run, epoch=self.epoch, seq=self.seq, head=self._head)
        seq, _, head = records[-1] if records else (self.seq, b"", self._head)
        at_ms = pairs[-1][0] if pairs else self.at_ms
        standing = (seq, at_ms, head, projection.phase, projection.note, packed(projection.counts))
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
            self._move(standing)
            if release or want is not None or take is not None:
                self._lease(release=release, want=want, take=take)
            self._insert(records)
            if asks:
                self._cursor.executemany(tables.TAKE_ASK, [(ask, self._number) for ask in asks])
            self._cursor.execute("COMMIT")
        except SqliteError as error:
            raise self._died(explained(error, self._path)) from error
        except _LeasedError as error:
            undo(self._connection)
            raise error.conflict from None
        except BaseException as error:
            self._died(error)
            raise
        self.seq, self.at_ms, self._head = seq, at_ms, head
        if asks:
            self._asks = [ask for ask in self._asks if ask.id not in asks]
        return [
            Recorded(self.run, seq, self.epoch, event, digest.hex())
            for event, (seq, _, digest) in zip(events, records, strict=True)
        ]

    def asks(self) -> list[Ask]:
        """List what was asked of this run and not yet taken; cheap when nothing has changed."""
        self._refuse_dead()
        try:
            version = self._cursor.execute("PRAGMA data_version").get
            if version != self._inbox_version:
                found = fetched(self._connection, tables.ASKS, self._number)
                self._asks = [Ask(*columns) for columns in found]
                self._inbox_version = version
        except SqliteError as error:
            raise self._died(explained(error, self._path)) from error
        return list(self._asks)

    def close(self) -> None:
        """Let the next driver in."""
        self._dead = self._dead or "it was closed"
        close(self._connection)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _stamped(self, events: Sequence[Event]) -> list[tuple[int, bytes]]:
        pairs = [(event.at_ms, self._to_json(event)) for event in events]
        newest = self.at_ms
        for at_ms, _ in pairs:
            if at_ms < newest:
                raise IllegalEvent(
                    f"event of run {self.run} at {at_ms} ms lies before its newest, {newest} ms",
                    next_step="take the later of the clock and the writer's `at_ms`",
                )
            newest = at_ms
        return pairs

    def _move(self, standing: tuple[int, int, bytes, str, str, str]) -> None:
        here = (self._number, self.epoch, self.seq, self._head)
        self._cursor.execute(tables.MOVE_RUN, (*standing, *here))
        if self._connection.changes() != 1:
            raise self._overtaken()

    def _insert(self, records: list[tuple[int, bytes, bytes]]) -> None:
        first = tables.key(self._number, 0)
        keyed = [(first | seq, envelope, digest) for seq, envelope, digest in records]
        self._cursor.executemany(tables.APPEND_EVENT, keyed)

    def _lease(
        self, *, release: bool, want: Sequence[Lock] | None, take: Sequence[Lock] | None
    ) -> None:
        cursor = self._cursor
        if release:
            cursor.execute(tables.RELEASE, (self._number,))
        if want is not None:
            cursor.execute(tables.STOP_WANTING, (self._number,))
            cursor.executemany(tables.WANT, self._leases(want))
        if take is not None:
            others = overlapping(self._connection, self._number, take)
            holders = [other for other in others if other.state == "held"]
            if holders:
                raise _LeasedError(_taken(self.run, holders))
            cursor.execute(tables.STOP_WANTING, (self._number,))
            cursor.executemany(tables.TAKE, self._leases(take))

    def _leases(self, locks: Sequence[Lock]) -> list[tuple[str, int, str]]:
        return [(lock.resource, self._number, lock.mode) for lock in locks]

    def _overtaken(self) -> Conflict:
        newest = self._cursor.execute(tables.EPOCH, (self._number,)).get
        if newest != self.epoch:
            what = f"fenced: run {self.run} was taken over in epoch {newest}; this is {self.epoch}"
        else:
            what = f"fenced: run {self.run} has moved on from record {self.seq} without this driver"
        return Conflict(what, next_step="stop this driver; look at the run with `interlock status`")

    def _died(self, error: BaseException) -> BaseException:
        undo(self._connection)
        self._dead = str(error) or type(error).__name__
        return error

    def _refuse_dead(self) -> None:
        if self._dead:
            raise Unavailable(
                f"this writer of run {self.run} stopped earlier: {self._dead}",
                next_step="re-read the ledger: the last batch may or may not be there",
            )
        if os.getpid() != self._process:
            raise Unavailable(
                f"this writer of run {self.run} belongs to process {self._process}",
                next_step="append only in the process that took the run",
            )


class _LeasedError(Exception):
    """Somebody holds what this run would take: the one failure that a writer survives."""

    def __init__(self, conflict: Conflict) -> None:
        super().__init__(conflict.what)
        self.conflict = conflict


def new_epoch(connection: Connection, run: str, path: Path) -> Place:
    """Begin a new epoch of a run, whose end must be what its head says."""
    refuse_altered(connection, path)
    with transaction(connection) as cursor:
        place = Place(*fetched(connection, tables.NEW_EPOCH, run)[0])
        last, beyond = (
            cursor.execute(tables.HASH, (tables.key(place.number, seq),)).get
            for seq in (place.seq, place.seq + 1)
        )
        if last != place.head or beyond is not None:
            raise Corrupted(
                f"run {run} does not end with record {place.seq}, as its head says",
                next_step="do not continue this run; verify it with `interlock audit verify`",
            )
    return place


def overlapping(connection: Connection, number: int, locks: Sequence[Lock]) -> list[Held]:
    """List what other live runs hold or want of these resources, unless both only share."""
    return [
        Held(*columns)
        for lock in locks
        for columns in connection.execute(tables.OVERLAPPING, (lock.resource, number, lock.mode))
    ]


def packed(counts: Mapping[str, int]) -> str:
    """Write a projection's counts."""
    return _dumps(dict(counts))


def _taken(run: str, holders: list[Held]) -> Conflict:
    runs = sorted({held.run for held in holders})
    return Conflict(
        f"run {run} must wait: {', '.join(runs[:SHOWN])} holds {len(holders)} of its resources",
        next_step="wait until that run is over, or cancel it",
        details=tuple(
            f"{held.resource} ({held.mode}) is held by {held.run}" for held in holders[:SHOWN]
        ),
    )
