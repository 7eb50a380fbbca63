"""The verifier of an exported run: one file, the standard library, no trust in whoever wrote it.

    python audit.py FILE [--anchor HASH@SEQ ...]

1. A line is accepted only if it is, byte for byte, the line that its content must have.
2. Nothing in a file can make this program fail: every defect is a report with its place.
3. The header says how many records there are and what the last hash is. Whoever cuts records off
   and also rewrites the header is found only against an anchor that was kept elsewhere, such as
   the ledger head inside an approval; `--anchor` checks that the chain passes through it.

The rules of the chain stand here a second time, on purpose: the ledger's own code may be wrong.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.ledger import Ledger

__all__ = ["Anchor", "Report", "export", "main", "read_anchor", "verify", "verify_open"]

FORMAT: Final = "interlock-run-1"
MAX_LINE_BYTES: Final = 1 << 28
SAYS: Final = (
    "a file cut short whose header was rewritten as well is found only against an anchor"
    " kept elsewhere (--anchor HASH@SEQ)"
)
_RUN: Final = re.compile(r"[A-Za-z][A-Za-z0-9\-]{0,39}\.[1-9][0-9]{0,8}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_ANCHOR: Final = re.compile(r"([0-9a-f]{64})@([1-9][0-9]{0,9})")
_AFTER: Final = re.compile(
    r"[A-Za-z][A-Za-z0-9\-]{0,39}\.[1-9][0-9]{0,8}:[1-9][0-9]{0,9}:[0-9a-f]{64}"
)
_LINE: Final = re.compile(rb'\{"hash":"([0-9a-f]{64})","envelope":(\{.*\})\}\n', re.DOTALL)
_FIELDS: Final = ("at_ms", "epoch", "event", "run", "seq")


class Anchor(NamedTuple):
    """A place through which the chain must pass, known from elsewhere."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the verifier found; `position` is the number of the line, the header being the first."""

    ok: bool
    run: str = ""
    events: int = 0
    head: str = ""
    problem: str = ""
    position: int | None = None
    after: str = ""
    """The place in the run before, which the first record names."""
    anchored: int = 0
    """The last record that an anchor from elsewhere vouches for; 0 for none."""


def export(ledger: Ledger, run: str, out: IO[bytes]) -> int:
    """Write a run as an audit file: a header, then every envelope verbatim with its hash."""
    row = ledger.row(run)
    out.write(_header(row.run, row.seq, row.head))
    count = 0
    for raw in ledger.read_raw(run):
        if count == row.seq:
            break  # recorded after the header was written
        out.write(b'{"hash":"%b","envelope":%b}\n' % (raw.hash.hex().encode(), raw.envelope))
        count += 1
    return count


def verify(path: Path | str, anchors: Sequence[Anchor] = ()) -> Report:
    """Check an audit file; never raise, whatever its bytes are."""
    try:
        with Path(path).open("rb") as file:
            return verify_open(file, anchors)
    except OSError as error:
        return Report(ok=False, problem=f"the file cannot be read: {error.strerror}")


def verify_open(file: IO[bytes], anchors: Sequence[Anchor] = ()) -> Report:
    """Check an audit file that is open, from where it stands."""
    return _Reading(file, {anchor.seq: anchor.hash for anchor in anchors}).report()


def read_anchor(text: str) -> Anchor | None:
    """Read HASH@SEQ."""
    match = _ANCHOR.fullmatch(text)
    return Anchor(int(match[2]), match[1]) if match else None


class _DefectError(Exception):
    """Something in the file is not as it must be."""


@dataclass(slots=True)
class _Reading:
    """Where the reading of one file stands."""

    file: IO[bytes]
    anchors: dict[int, str]
    run: str = ""
    events: int = 0
    head: str = ""
    seq: int = 0
    epoch: int = 0
    at_ms: int = 0
    hash: bytes = b""
    after: str = ""
    line: int = field(default=1)

    def report(self) -> Report:
        try:
            self._read_header(self._next_line())
            while line := self._next_line():
                self._read_record(line)
            self._finish()
        except _DefectError as defect:
            return self._told(ok=False, problem=str(defect), position=self.line)
        return self._told(ok=True)

    def _told(self, *, ok: bool, problem: str = "", position: int | None = None) -> Report:
        passed = [seq for seq in self.anchors if seq <= self.seq]
        return Report(
            ok=ok,
            run=self.run,
            events=self.seq,
            head=self.hash.hex(),
            problem=problem,
            position=position,
            after=self.after,
            anchored=max(passed, default=0),
        )

    def _next_line(self) -> bytes:
        line = self.file.readline(MAX_LINE_BYTES)
        if line and not line.endswith(b"\n"):
            raise _DefectError("the line is cut off, or longer than any record")
        return line

    def _read_header(self, line: bytes) -> None:
        header = _parsed(line)
        run, events, head = header.get("run"), header.get("events"), header.get("head")
        if not (isinstance(run, str) and _RUN.fullmatch(run)):
            raise _DefectError("the header names no run")
        if type(events) is not int or not (isinstance(head, str) and _HASH.fullmatch(head)):
            raise _DefectError("the header lacks the number of records or the last hash")
        if line != _header(run, events, head):
            raise _DefectError(f"the header is not one of the format {FORMAT}")
        self.run, self.events, self.head = run, events, head
        self.hash = sha256(bytes(32) + run.encode()).digest()

    def _read_record(self, line: bytes) -> None:
        self.line += 1
        seq = self.seq + 1
        match = _LINE.fullmatch(line)
        if match is None:
            raise _DefectError(f"this is not a record, where record {seq} should be")
        digest = sha256(self.hash + match[2]).digest()
        if digest.hex().encode() != match[1]:
            raise _DefectError(self._broken(match[2], seq))
        self._check_envelope(match[2], seq)
        self.seq, self.hash = seq, digest
        if self.anchors.get(seq, digest.hex()) != digest.hex():
            raise _DefectError(f"record {seq} is not the one that the anchor names")

    def _broken(self, envelope: bytes, seq: int) -> str:
        """Say what a wrong hash looks like; it is wrong in any case."""
        try:
            found = _parsed(envelope)
        except _DefectError as defect:
            return f"record {seq} does not match its hash: {defect}"
        if found.get("run") != self.run:
            return f"record {seq} belongs to another run"
        if found.get("seq") != seq:
            return f"record {seq} should come here; this one says that it is another"
        return f"record {seq}, or the one before it, does not match its hash"

    def _check_envelope(self, envelope: bytes, seq: int) -> None:
        found = _parsed(envelope)
        wanted = ("after", *_FIELDS) if seq == 1 and "after" in found else _FIELDS
        if tuple(found) != wanted:
            raise _DefectError(f"record {seq} has other fields than a record has")
        if found["run"] != self.run or found["seq"] != seq or type(found["seq"]) is not int:
            raise _DefectError(f"record {seq} says that it belongs elsewhere")
        self._check_order(found, seq)
        after = found.get("after", "")
        if not isinstance(after, str) or (after and not _AFTER.fullmatch(after)):
            raise _DefectError("the first record follows something that is no record")
        self.after = self.after or after

    def _check_order(self, found: dict[str, Any], seq: int) -> None:
        at_ms, epoch, event = found["at_ms"], found["epoch"], found["event"]
        if type(at_ms) is not int or type(epoch) is not int or not isinstance(event, dict):
            raise _DefectError(f"record {seq} has a field of another type")
        if type(event.get("at_ms")) is not int or event["at_ms"] != at_ms:
            raise _DefectError(f"record {seq} and its event name two instants")
        if epoch < self.epoch:
            raise _DefectError(f"record {seq} goes back from epoch {self.epoch} to {epoch}")
        if at_ms < self.at_ms:
            raise _DefectError(f"record {seq} goes back in time")
        self.epoch, self.at_ms = epoch, at_ms

    def _finish(self) -> None:
        self.line += 1
        if self.seq != self.events:
            raise _DefectError(f"the header promises {self.events} records; there are {self.seq}")
        if self.hash.hex() != self.head:
            raise _DefectError("the last hash is not the one in the header")
        if self.seq == 0:
            raise _DefectError("a run has at least one record")
        beyond = [seq for seq in self.anchors if seq > self.seq]
        if beyond:
            raise _DefectError(f"an anchor names record {max(beyond)}; the file ends before it")


def _header(run: str, events: int, head: str) -> bytes:
    text = f'{{"format":"{FORMAT}","run":"{run}","events":{events},"head":"{head}"}}\n'
    return text.encode()


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
    except (ValueError, RecursionError) as error:
        raise _DefectError(f"this is not strict JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise _DefectError("this is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _DefectError("a key stands twice in one object")
    return result


def _no_number(text: str) -> Any:
    raise _DefectError(f"{text[:40]} is not a whole number")


def main(argv: Sequence[str] | None = None) -> int:
    """Verify one file, say what was found; 0 verifies, 8 does not, 2 was asked wrongly."""
    parser = argparse.ArgumentParser(
        prog="audit.py", description="Verify an exported run.", epilog=SAYS
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--anchor", action="append", default=[], metavar="HASH@SEQ")
    asked = parser.parse_args(argv)
    anchors = [read_anchor(text) for text in asked.anchor]
    if None in anchors:
        parser.error("an anchor is 64 hexadecimal digits, @, and the number of a record")
    try:
        with asked.file.open("rb") as file:
            report = verify_open(file, [anchor for anchor in anchors if anchor is not None])
    except FileNotFoundError:
        parser.error(f"{asked.file}: there is no such file")
    except OSError as error:
        parser.error(f"{asked.file}: cannot be read: {error.strerror}")
    sys.stdout.write(_shown(report))
    return 0 if report.ok else 8


def _shown(report: Report) -> str:
    if not report.ok:
        where = f"line {report.position}: " if report.position else ""
        return f"DOES NOT VERIFY: {where}{report.problem}\n"
    vouched = (
        f"an anchor vouches for records 1 to {report.anchored}"
        if report.anchored
        else f"no anchor was given: {SAYS}"
    )
    return f"verifies: run {report.run}, {report.events} records, head {report.head}\n{vouched}\n"


if __name__ == "__main__":
    sys.exit(main())
