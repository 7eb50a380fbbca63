"""The ledger: one append-only SQLite file per workspace that holds every event of every run.

1. What `append` returned survives a kill and a power cut: WAL, synchronous=FULL, a sync a batch.
2. A batch is one transaction: events, the run's projection, leases and taken asks, or nothing.
3. One driver per run: an operating system lock keeps others out, and the epoch, compared inside
   the transaction, fences whoever was paused while the lock was lost.
4. An error while committing leaves it unknown what was written. The writer is dead from then on:
   nothing is appended a second time; whoever wants to go on reads the ledger again.
5. Opening checks SQLite's own structure: all of it, or, in a file too large to do so each time
   (over 64 MB), the list of runs, and all of it before a driver writes. Opening a run there checks
   no more than that list and the words of the tables and triggers; leaving an ask, the list.
6. Reading verifies: each record's hash and number, and that neither epoch nor time went back.
   A truncation together with a rewritten head is found only against something outside the run:
   the anchor in the next run's first record (`verify`), an approval, or an exported copy.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Self

from orchestrator import ledger_schema as tables
from orchestrator.errors import IllegalEvent, InvalidInput
from orchestrator.ledger_chain import RUN_ID, Chain, Raw, anchor, genesis, read_anchor, sealed
from orchestrator.ledger_files import RunLock, holder, make
from orchestrator.ledger_schema import ENDED
from orchestrator.ledger_sqlite import (
    Machine,
    SqliteError,
    build,
    close,
    connect,
    explained,
    explaining,
    fetched,
    refuse_altered,
    refuse_damaged,
    refuse_foreign,
    refuse_machine,
    transaction,
)
from orchestrator.ledger_values import Ask, Held, Projection, Recorded, Row
from orchestrator.ledger_writer import Writer, new_epoch, overlapping, packed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from orchestrator.pure.events import Event, Opened
    from orchestrator.pure.model import Lock

__all__ = [
    "Ask",
    "Held",
    "Ledger",
    "Machine",
    "Projection",
    "Raw",
    "Recorded",
    "Row",
    "RunId",
    "Writer",
]

RunId = str
CHUNK: Final = 256
"""How many records are read at a time: no snapshot is held between two chunks."""
MAX_ASK_CHARS: Final = 1_000_000
MAX_NAME_CHARS: Final = 60
"""How much of a name that is no run is compared and shown."""


class Ledger:
    """The ledger of one workspace, open for reading, opening runs and asking their drivers."""

    def __init__(self, path: Path, machine: Machine) -> None:
        self.path = path
        self._machine = machine
        self._connection = connect(path, machine)

    @classmethod
    def open(cls, path: Path, *, create: bool = False, machine: Machine | None = None) -> Self:
        """Open a ledger, after making sure that it can keep its promises here."""
        machine = machine or Machine()
        try:
            if not path.exists():
                _make(path, machine, create=create)
            refuse_machine(machine, path.parent)
            ledger = cls(path, machine)
        except (SqliteError, OSError) as error:
            raise explained(error, path) from error
        try:
            with explaining(path):
                refuse_foreign(ledger._connection, path)
        except BaseException:
            ledger.close()
            raise
        return ledger

    def close(self) -> None:
        """Close the file; writers have their own connection."""
        close(self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- reading ---------------------------------------------------------------------------------

    def rows(self, *, live_only: bool = False, limit: int | None = None) -> list[Row]:
        """List how the runs stand, newest first."""
        sql = tables.LIVE_ROWS if live_only else tables.ALL_ROWS
        with explaining(self.path):
            found = fetched(self._connection, sql, -1 if limit is None else limit)
        return [_row(columns) for columns in found]

    def row(self, run: str) -> Row:
        """Say how one run stands; a ticket's id names its newest run, unless another one lives."""
        with explaining(self.path):
            found = fetched(self._connection, tables.ONE_ROW, run) or self._of_ticket(run)
        if not found:
            raise self._unknown(run)
        return _row(found[0])

    def _of_ticket(self, ticket: str) -> list[tuple[Any, ...]]:
        found = fetched(self._connection, tables.ROWS_OF_TICKET, ticket)
        live = [name for name, phase in ((row[0], row[4]) for row in found) if phase not in ENDED]
        if found and [name for name in live if name != found[0][0]]:
            listed = ", ".join(dict.fromkeys([found[0][0], *live]))
            raise InvalidInput(
                f"{ticket} is a ticket with several runs: {listed}",
                next_step=f"name the run that you mean, such as {found[0][0]}",
            )
        return found

    def read(self, run: str, after: int = 0) -> Iterator[Recorded]:
        """Read a run's events after a place, verifying its chain on the way."""
        for raw, event in self._decoded(run, after):
            yield Recorded(run, raw.seq, raw.epoch, event, raw.hash.hex())

    def events(self, run: str) -> Iterator[Event]:
        """Read all events of a run, verifying its chain on the way."""
        return (event for _, event in self._decoded(run, 0))

    def _decoded(self, run: str, after: int) -> Iterator[tuple[Raw, Event]]:
        from orchestrator.pure.events import event_from_json  # noqa: PLC0415 - `rows` needs no pydantic

        for raw in self.read_raw(run, after):
            try:
                event = event_from_json(raw.event)
            except ValueError as error:
                raise IllegalEvent(
                    f"record {raw.seq} of run {run} is intact, but this version cannot read it",
                    next_step="use the version that wrote it, or a newer one",
                    details=(str(error),),
                ) from None
            yield raw, event

    def read_raw(self, run: str, after: int = 0) -> Iterator[Raw]:
        """Read and verify a run's records without decoding them."""
        with explaining(self.path):
            places = fetched(self._connection, tables.PLACE, run)
        if not places:
            raise self._unknown(run)
        return self._follow(run, places[0], max(after, 0))

    def _follow(self, run: str, place: tuple[Any, ...], after: int) -> Iterator[Raw]:
        number, last, head, newest = place
        with explaining(self.path):
            chain = Chain(run, seq=after, head=self._hash(number, after) if after else None)
        if newest is not None and newest > tables.key(number, last):
            raise chain.broken(last + 1, "the run ends before it")
        while chain.seq < last:
            span = (tables.key(number, chain.seq), tables.key(number, last), CHUNK)
            with explaining(self.path):
                records = fetched(self._connection, tables.SPAN, *span)
            for key, envelope, digest in records:
                if key != tables.key(number, chain.seq + 1):
                    break
                yield chain.follow(envelope, digest)
            else:
                if records:
                    continue
            raise chain.broken(chain.seq + 1, "it is missing")
        if chain.seq != last or chain.head != head:
            raise chain.broken(chain.seq, f"the run's head says record {last}, {head.hex()}")

    def verify(self) -> int:
        """Check every page, every chain and every anchor between runs, and count the records."""
        with explaining(self.path):
            refuse_damaged(self._connection, self.path)
        before, records = "", 0
        for row in reversed(self.rows()):
            for raw in self.read_raw(row.run):
                records += 1
                if raw.seq == 1:
                    self._check_anchor(row.run, (raw.after or b"").decode(), before)
            before = row.run
        return records

    def _check_anchor(self, run: str, after: str, before: str) -> None:
        place = read_anchor(after)
        if place is None and not before:
            return
        if place is not None and place[0] == before:
            with explaining(self.path):
                if self._hash(self._number(before), place[1]) == place[2]:
                    return
        raise Chain(run).broken(
            1, f"it follows {after or 'nothing'}, which is not in run {before!r}"
        )

    # --- other people ----------------------------------------------------------------------------

    def holder(self, run: str) -> str | None:
        """Say who drives a run right now."""
        return holder(self._lock_path(self.row(run).run))

    def ask(self, run: str, kind: str, by: str, body: str, at_ms: int) -> int:
        """Leave something for the driver of a run to take."""
        if len(body) > MAX_ASK_CHARS:
            raise InvalidInput(
                f"what is asked of run {run} has {len(body)} characters",
                next_step=f"shorten it to at most {MAX_ASK_CHARS}",
            )
        with explaining(self.path):
            self._connection.execute(tables.LEAVE_ASK, (self._number(run), kind, by, body, at_ms))
            return self._connection.last_insert_rowid()

    def asks_wait(self, ask: int) -> bool:
        """Say whether something that was asked still waits to be taken."""
        with explaining(self.path):
            return bool(fetched(self._connection, tables.ASK_WAITS, ask))

    def conflicts(self, run: str, locks: Sequence[Lock]) -> list[Held]:
        """List what other live runs hold or want of these resources."""
        with explaining(self.path):
            return overlapping(self._connection, self._number(run), locks)

    # --- writing ---------------------------------------------------------------------------------

    def open_run(self, opened: Opened, projection: Projection) -> str:
        """Give a ticket its next run, and record that it was opened."""
        from orchestrator.pure.events import event_to_json  # noqa: PLC0415 - `rows` needs no pydantic

        event, ticket = event_to_json(opened), opened.ticket
        with explaining(self.path), transaction(self._connection) as cursor:
            refuse_altered(self._connection, self.path)
            count = cursor.execute(tables.COUNT_OF_TICKET, (ticket.id,)).get
            run = _named(ticket.id, count + 1)
            newest = fetched(self._connection, tables.NEWEST_RUN)
            number, after = (newest[0][0] + 1, anchor(*newest[0][1:])) if newest else (1, "")
            pairs = [(opened.at_ms, event)]
            first = sealed(pairs, run=run, epoch=0, seq=0, head=genesis(run), after=after)
            _, envelope, head = first[0]
            cursor.execute(tables.APPEND_EVENT, (tables.key(number, 1), envelope, head))
            known = (number, run, ticket.id, ticket.title, ticket.environment)
            stands = (projection.phase, projection.note, packed(projection.counts))
            cursor.execute(tables.OPEN_RUN, (*known, *stands, opened.at_ms, opened.at_ms, head))
        return run

    def writer(self, run: str, driver: str) -> Writer:
        """Become the only driver of a run: take its lock, and fence all before with a new epoch."""
        known = self.row(run).run
        lock = RunLock.take(self._lock_path(known), known, driver)
        connection = None
        try:
            connection = connect(self.path, self._machine)
            refuse_damaged(connection, self.path)
            place = new_epoch(connection, known, self.path)
            return Writer(known, self.path, connection, lock, place)
        except BaseException as error:
            if connection is not None:
                close(connection)
            lock.release()
            if isinstance(error, SqliteError):
                raise explained(error, self.path) from error
            raise

    def _number(self, run: str) -> int:
        found = fetched(self._connection, tables.NUMBER, run)
        if not found:
            raise self._unknown(run)
        return int(found[0][0])

    def _hash(self, number: int, seq: int) -> bytes | None:
        found = fetched(self._connection, tables.HASH, tables.key(number, seq))
        return found[0][0] if found else None

    def _unknown(self, run: str) -> InvalidInput:
        from difflib import get_close_matches  # noqa: PLC0415 - only for the message

        names = [name for (name,) in fetched(self._connection, tables.NAMES)]
        near = get_close_matches(run[:MAX_NAME_CHARS], names, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "list the runs: interlock list"
        shown = run if len(run) <= MAX_NAME_CHARS else f"{run[:MAX_NAME_CHARS]}…"
        return InvalidInput(f"there is no run {shown!r} in {self.path}", next_step=hint)

    def _lock_path(self, run: str) -> Path:
        return self.path.parent / "locks" / f"{run}.lock"


def _row(columns: tuple[Any, ...]) -> Row:
    return Row(*(*columns[:-1], json.loads(columns[-1])))


def _named(ticket: str, count: int) -> str:
    run = f"{ticket}.{count}"
    if RUN_ID.fullmatch(run) is None:
        raise InvalidInput(
            f"{run!r} cannot name a run",
            next_step="give the ticket an id of letters, digits and hyphens",
        )
    return run


def _make(path: Path, machine: Machine, *, create: bool) -> None:
    if not create:
        raise InvalidInput(
            f"there is no ledger at {path}: nothing was planned here yet",
            next_step="plan a ticket: interlock plan TICKET --draft DRAFT "
            "(`interlock init` makes a workspace with examples)",
        )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    refuse_machine(machine, path.parent)
    make(path, machine.wal_bytes, lambda unfinished: build(unfinished, machine))
