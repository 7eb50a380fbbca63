"""Power cuts: whatever a cut may leave of the files, no event that was promised is lost."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from edges.crashvfs import Image, Tape, TapeVfs, images
from edges.ledger_samples import acting, answered, exclusive, opened, running, step_events
from orchestrator.errors import Corrupted, InterlockError
from orchestrator.ledger import Ledger, Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.ledger import Writer
    from orchestrator.pure.events import Event

IMAGES = int(os.environ.get("INTERLOCK_CRASH_IMAGES", "50000"))
WAL_BYTES = 1 << 16
LOCAL = Machine(filesystem=lambda _: None, wal_bytes=WAL_BYTES)


@pytest.fixture
def fast() -> Iterator[Path]:
    """Give a folder in memory where there is one: an image is read once and thrown away."""
    shm = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shm if os.access(shm, os.W_OK) else None))
    yield folder
    shutil.rmtree(folder)


class Recording:
    """A reference workload, run once with the tape on."""

    def __init__(self, folder: Path, synchronous: Literal["FULL", "NORMAL"]) -> None:
        self.tape = Tape()
        vfs = TapeVfs(f"tape-{synchronous}", self.tape)
        machine = Machine(
            vfs=f"tape-{synchronous}",
            synchronous=synchronous,
            wal_bytes=WAL_BYTES,
            checkpoint_pages=12,
        )
        path = folder / "recorded" / "ledger.db"
        try:
            Ledger.open(path, create=True, machine=machine).close()
            wal = path.with_name("ledger.db-wal")
            self.base = {"db": path.read_bytes(), "wal": wal.read_bytes()}
            self.tape.recording = True
            with Ledger.open(path, machine=machine) as ledger:
                self._work(ledger)
                self.chains = {
                    row.run: [raw.hash.hex() for raw in ledger.read_raw(row.run)]
                    for row in ledger.rows()
                }
        finally:
            vfs.unregister()

    def _open(self, ledger: Ledger, ticket: str) -> str:
        run = ledger.open_run(opened(ticket), acting)
        self.tape.ack(run, 1, ledger.row(run).head)
        return run

    def _append(self, writer: Writer, events: list[Event], *, done: int = 0) -> None:
        writer.append(events, running(done))
        self.tape.ack(writer.run, writer.seq, writer.head)

    def _work(self, ledger: Ledger) -> None:
        one, two = self._open(ledger, "CHG-1"), self._open(ledger, "CHG-2")
        with ledger.writer(one, "first") as first, ledger.writer(two, "second") as second:
            for turn in range(8):
                self._append(first, step_events(turn), done=turn)
                self._append(second, step_events(turn) * 3, done=turn)
            self._append(first, [answered(9_000)])
            ledger.ask(two, "pause", "bob", "please", 3_000)
            second.append([], acting, take=exclusive("host:web1"), asks=[1])
        self._open(ledger, "CHG-1")
        with ledger.writer(one, "third") as third:
            self._append(third, step_events(20), done=20)
            self._append(third, [answered(200)] * 30)


@pytest.mark.usefixtures("untraced")
def test_no_promised_event_is_lost_in_any_crash_image(
    fast: Path, record_property: Callable[[str, object], None]
) -> None:
    recording = Recording(fast, "FULL")
    found, first_loss = _judge(fast, recording, IMAGES)
    record_property("figure", f"crash images: {found.total()} opened, {dict(found)}")
    assert set(found) == {"intact"}, first_loss
    assert found["intact"] >= IMAGES


def test_the_same_images_show_the_loss_when_commits_are_not_synced(
    fast: Path, record_property: Callable[[str, object], None]
) -> None:
    recording = Recording(fast, "NORMAL")
    found, _ = _judge(fast, recording, 2_000)
    record_property("figure", f"crash images, control without sync: {dict(found)}")
    assert found["lost"] > 100
    assert found["foreign"] == 0


def test_a_file_with_a_flipped_bit_is_refused_or_reads_as_it_was_written(
    fast: Path, record_property: Callable[[str, object], None]
) -> None:
    recording = Recording(fast, "FULL")
    *_, image = images(recording.base, recording.tape.ops, 1)
    image.files["wal"] = bytearray()
    chance = random.Random(7)
    found: Counter[str] = Counter()
    for _ in range(1_000):
        place, bit = chance.randrange(len(image.files["db"])), 1 << chance.randrange(8)
        image.files["db"][place] ^= bit
        found[_reads_as(_laid(fast, image), recording.chains)] += 1
        image.files["db"][place] ^= bit
    record_property("figure", f"files with one flipped bit: {dict(found)}")
    assert found["accepted"] == 0
    assert found["refused"] > 100


def _reads_as(path: Path, chains: dict[str, list[str]]) -> str:
    try:
        with Ledger.open(path, machine=LOCAL) as ledger:
            ledger.verify()
            there = {
                row.run: [raw.hash.hex() for raw in ledger.read_raw(row.run)]
                for row in ledger.rows()
            }
    except InterlockError:
        return "refused"
    return "as written" if there == chains else "accepted"


def _judge(folder: Path, recording: Recording, count: int) -> tuple[Counter[str], str]:
    found: Counter[str] = Counter()
    first_loss = ""
    for image in images(recording.base, recording.tape.ops, count):
        verdict = _verdict(_laid(folder, image), image, recording.chains)
        found[verdict] += 1
        if verdict != "intact" and not first_loss:
            first_loss = f"{verdict} after operation {image.place}, way {image.seed}"
    return found, first_loss


def _laid(folder: Path, image: Image) -> Path:
    path = folder / "ledger.db"
    path.write_bytes(image.files["db"])
    path.with_name("ledger.db-wal").write_bytes(image.files["wal"])
    path.with_name("ledger.db-shm").unlink(missing_ok=True)
    return path


def _verdict(path: Path, image: Image, chains: dict[str, list[str]]) -> str:
    try:
        with Ledger.open(path, machine=LOCAL) as ledger:
            there = {
                row.run: [raw.hash.hex() for raw in ledger.read_raw(row.run)]
                for row in ledger.rows()
            }
    except Corrupted:
        return "refused"
    if any(found != chains[run][: len(found)] for run, found in there.items()):
        return "foreign"
    for run, ack in image.acked.items():
        if len(there.get(run, ())) < ack.seq or there[run][ack.seq - 1] != ack.hash:
            return "lost"
    return "intact"
