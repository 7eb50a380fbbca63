"""The chain of one run: how a record is sealed, and how it is followed.

1. An envelope is the exact bytes that were hashed; nothing is ever serialised a second time.
2. A record's hash is SHA-256 over the hash before it and its envelope; the first follows the run's
   own genesis, so that the chains of two runs cannot be exchanged.
3. Along a chain seq counts by one, and neither epoch nor time ever goes back.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from orchestrator.errors import Corrupted

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["RUN_ID", "Chain", "Raw", "anchor", "genesis", "read_anchor", "sealed"]

RUN_ID: Final = re.compile(r"[A-Za-z][A-Za-z0-9\-]{0,39}\.[1-9][0-9]{0,8}")
_OPENING: Final = re.compile(
    rb'\{(?:"after":"([A-Za-z0-9\-.:]*)",)?"at_ms":([0-9]{1,16}),"epoch":([0-9]{1,16}),"event":'
)
_ANCHOR: Final = re.compile(r"([A-Za-z0-9\-.]+):([1-9][0-9]{0,9}):([0-9a-f]{64})")


class Raw(NamedTuple):
    """One verified record, not decoded."""

    seq: int
    epoch: int
    at_ms: int
    event: bytes
    envelope: bytes
    hash: bytes
    after: bytes | None


def genesis(run: str) -> bytes:
    """Return what stands before the first record of a run."""
    return sha256(bytes(32) + run.encode()).digest()


def anchor(run: str, seq: int, head: bytes) -> str:
    """Name a place in another run's chain."""
    return f"{run}:{seq}:{head.hex()}"


def read_anchor(text: str) -> tuple[str, int, bytes] | None:
    """Read what `anchor` wrote."""
    match = _ANCHOR.fullmatch(text)
    return (match[1], int(match[2]), bytes.fromhex(match[3])) if match else None


def sealed(
    events: Iterable[tuple[int, bytes]],
    *,
    run: str,
    epoch: int,
    seq: int,
    head: bytes,
    after: str = "",
) -> list[tuple[int, bytes, bytes]]:
    """Turn events (instant, JSON) that follow seq and head into (seq, envelope, hash)."""
    records: list[tuple[int, bytes, bytes]] = []
    name, prefix = run.encode(), b'"after":"%b",' % after.encode() if after else b""
    for at_ms, event in events:
        seq += 1
        envelope = b'{%b"at_ms":%d,"epoch":%d,"event":%b,"run":"%b","seq":%d}' % (
            prefix, at_ms, epoch, event, name, seq,
        )  # fmt: skip
        head = sha256(head + envelope).digest()
        records.append((seq, envelope, head))
        prefix = b""
    return records


class Chain:
    """Where the reading of one run's chain stands; refuses whatever does not follow."""

    __slots__ = ("_name", "at_ms", "epoch", "head", "run", "seq")

    def __init__(self, run: str, *, seq: int = 0, head: bytes | None = None) -> None:
        self.run = run
        self.seq = seq
        self.head = genesis(run) if head is None else head
        self.epoch = 0
        self.at_ms = 0
        self._name = run.encode()

    def follow(self, envelope: bytes, digest: bytes) -> Raw:
        """Check that a record comes next, and move on to it."""
        seq = self.seq + 1
        if sha256(self.head + envelope).digest() != digest:
            raise self.broken(seq, "its hash does not match")
        opening = _OPENING.match(envelope)
        closing = b',"run":"%b","seq":%d}' % (self._name, seq)
        if opening is None or not envelope.endswith(closing):
            raise self.broken(seq, "its envelope belongs elsewhere")
        after, at_ms, epoch = opening[1], int(opening[2]), int(opening[3])
        if epoch < self.epoch:
            raise self.broken(seq, f"its epoch goes back from {self.epoch} to {epoch}")
        if at_ms < self.at_ms:
            raise self.broken(seq, f"its time goes back from {self.at_ms} to {at_ms}")
        if after is not None and seq != 1:
            raise self.broken(seq, "only the first record names another run")
        self.seq, self.epoch, self.at_ms, self.head = seq, epoch, at_ms, digest
        event = envelope[opening.end() : -len(closing)]
        return Raw(seq, epoch, at_ms, event, envelope, digest, after)

    def broken(self, seq: int, why: str) -> Corrupted:
        """Say where the chain breaks."""
        return Corrupted(
            f"record {seq} of run {self.run} does not verify: {why}",
            next_step="do not continue this run; keep the file, compare it with an exported copy",
        )
