"""A file system for SQLite that remembers everything, and one that breaks at a chosen operation.

`Tape` holds what reached the files: writes, syncs, truncations, and between them the promises that
the ledger made (`ack`). `images` cuts the tape at every place and gives what a power cut may leave:
all that was synced, and of the rest nothing, everything, or any part down to single 512-byte
sectors, in any order. `Fault` makes the k-th operation fail instead.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import apsw

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Ack", "Fault", "Image", "Op", "Tape", "TapeVfs", "images"]

SECTOR: Final = 512


class Ack(NamedTuple):
    """The ledger said that this record is safe."""

    run: str
    seq: int
    hash: str


class Op(NamedTuple):
    """One change of one file."""

    kind: Literal["write", "sync", "truncate", "ack"]
    name: str
    offset: int = 0
    data: bytes = b""
    ack: Ack | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """The k-th operation (from 1) fails, alone or with all that follow."""

    at: int
    code: int
    persistent: bool

    def strikes(self, count: int) -> bool:
        return count >= self.at if self.persistent else count == self.at


@dataclass(slots=True)
class Tape:
    """What reached the files, in order."""

    ops: list[Op] = field(default_factory=list)
    fault: Fault | None = None
    count: int = 0
    recording: bool = False

    def record(self, op: Op) -> None:
        """Note an operation, or fail it."""
        if not self.recording:
            return
        self.count += 1
        if self.fault is not None and self.fault.strikes(self.count):
            raise apsw.exception_for(self.fault.code)
        self.ops.append(op)

    def ack(self, run: str, seq: int, digest: str) -> None:
        """Note what the ledger promised."""
        self.ops.append(Op("ack", "", ack=Ack(run, seq, digest)))


class TapeVfs(apsw.VFS):
    """The operating system's files, with a tape running; unregister it after use."""

    def __init__(self, name: str, tape: Tape) -> None:
        self.tape = tape
        super().__init__(name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> TapeFile:  # noqa: N802 - SQLite's own name
        return TapeFile(name, flags, self.tape)


class TapeFile(apsw.VFSFile):
    """One file on the tape: the database or its WAL; the shared memory dies with the machine."""

    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int], tape: Tape) -> None:
        self._tape = tape
        self._name = "db" if flags[0] & apsw.SQLITE_OPEN_MAIN_DB else "wal"
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's own name
        self._tape.record(Op("write", self._name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's own name
        self._tape.record(Op("sync", self._name))
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's own name
        self._tape.record(Op("truncate", self._name, newsize))
        super().xTruncate(newsize)


@dataclass(slots=True)
class Image:
    """What a power cut left, and what had been promised before it."""

    files: dict[str, bytearray]
    acked: dict[str, Ack]
    """The newest promise of each run."""
    place: int
    seed: int


def images(base: dict[str, bytes], ops: list[Op], count: int) -> Iterator[Image]:
    """Yield at least `count` images: each prefix of the tape, in many ways to lose the rest."""
    torn = max(1, -(-(count - 2 * len(ops)) // max(1, _open_places(ops))))
    durable = {name: bytearray(data) for name, data in base.items()}
    unsynced: list[Op] = []
    acked: dict[str, Ack] = {}
    for place, op in enumerate(ops):
        match op.kind:
            case "ack":
                if op.ack is not None:
                    acked[op.ack.run] = op.ack
            case "sync":
                for earlier in unsynced:
                    if earlier.name == op.name:
                        _apply(durable, earlier)
                unsynced = [earlier for earlier in unsynced if earlier.name != op.name]
            case _:
                unsynced.append(op)
        # Way 0 loses all that was not synced, way 1 keeps it, the others keep parts of it.
        for way in range(2 + torn if unsynced else 1):
            yield Image(_survived(durable, unsynced, place, way), dict(acked), place, way)


def _open_places(ops: list[Op]) -> int:
    """Count the places at which something is not synced."""
    dirty: set[str] = set()
    places = 0
    for op in ops:
        if op.kind == "sync":
            dirty.discard(op.name)
        elif op.kind != "ack":
            dirty.add(op.name)
        places += bool(dirty)
    return places


def _survived(
    durable: dict[str, bytearray], unsynced: list[Op], place: int, way: int
) -> dict[str, bytearray]:
    files = {name: bytearray(data) for name, data in durable.items()}
    if way == 0:
        return files
    chance = random.Random(place << 20 | way)
    for op in unsynced:
        if way == 1 or op.kind == "truncate":
            if way == 1 or chance.random() < 0.5:
                _apply(files, op)
            continue
        fate = chance.random()
        if fate < 0.3:
            continue
        if fate < 0.6:
            _apply(files, op)
        else:
            _tear(files, op, chance)
    return files


def _tear(files: dict[str, bytearray], op: Op, chance: random.Random) -> None:
    """Apply some sectors of a write and not the others."""
    start, end = op.offset, op.offset + len(op.data)
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        if chance.random() < 0.5:
            data = op.data[start - op.offset : stop - op.offset]
            _apply(files, Op("write", op.name, start, data))
        start = stop


def _apply(files: dict[str, bytearray], op: Op) -> None:
    data = files.setdefault(op.name, bytearray())
    if op.kind == "truncate":
        del data[op.offset :]
        return
    end = op.offset + len(op.data)
    if len(data) < end:
        data.extend(bytes(end - len(data)))
    data[op.offset : end] = op.data
