"""What the ledger costs on this disk. Run it: `python tests/bench/bench_ledger.py`.

INTERLOCK_BENCH_EVENTS sets how many events are read back (1,000,000), INTERLOCK_BENCH_DIR the disk.
All figures are medians of ROUNDS rounds; compare ratios, not rates, between machines.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.pure.events import Event

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from edges.ledger_samples import acting, opened, running, step_events  # noqa: E402 - the path is set first
from orchestrator.ledger import Ledger  # noqa: E402 - the path is set first

ROUNDS: Final = 5
STEPS: Final = 1_000
EVENTS: Final = int(os.environ.get("INTERLOCK_BENCH_EVENTS", "1000000"))
RECORD_BYTES: Final = 500


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds it took."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def raw_appends(folder: Path) -> None:
    """Do what no ledger can beat: append the bytes of one step, and sync them."""
    path = folder / "raw"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for _ in range(STEPS):
            os.write(descriptor, b"x" * RECORD_BYTES)
            os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
        path.unlink()


def appends(ledger: Ledger, batches: list[list[Event]]) -> float:
    """Record batches in a new run; return the seconds."""
    run = ledger.open_run(opened(), acting)
    with ledger.writer(run, "bench") as writer:
        return timed(lambda: [writer.append(batch, running(1)) for batch in batches])


def show(what: str, figure: float, unit: str) -> None:
    """Print one line of the table."""
    sys.stdout.write(f"{what:<52} {figure:>12,.2f} {unit}\n")


def writing(folder: Path) -> None:
    """Measure appends, one step and many events at a time."""
    chain = [step_events(number) for number in range(STEPS)]
    flat = [event for turn in chain for event in turn]
    raws, chains = [], []
    batches: dict[int, list[float]] = {10: [], 100: [], 1_000: []}
    with Ledger.open(folder / "w" / "ledger.db", create=True) as ledger:
        for _ in range(ROUNDS):  # interleaved: a noisy neighbour disturbs all alike
            raws.append(STEPS / timed(lambda: raw_appends(folder)))
            chains.append(STEPS / appends(ledger, chain))
            for size, costs in batches.items():
                cut = [flat[start : start + size] for start in range(0, len(flat), size)]
                costs.append(appends(ledger, cut) / len(flat) * 1e6)
    show(f"append {RECORD_BYTES} bytes + fdatasync", median(raws), "/s")
    show("chain: one append of 2 events a step", median(chains), "steps/s")
    ratios = [chain_rate / raw for chain_rate, raw in zip(chains, raws, strict=True)]
    show("chain, as a share of append + fdatasync", median(ratios), "")
    for size, costs in batches.items():
        show(f"batches of {size:,} events", median(costs), "µs/event")


def reading(folder: Path) -> None:
    """Measure reading back with the chain verified, without and with decoding."""
    events = [event for number in range(500) for event in step_events(number)]
    with Ledger.open(folder / "r" / "ledger.db", create=True) as ledger:
        appends(ledger, [events] * (EVENTS // len(events)))
        run = ledger.rows()[0].run
        count = ledger.row(run).seq
        raw = [timed(lambda: sum(1 for _ in ledger.read_raw(run))) for _ in range(ROUNDS)]
        decoded = [timed(lambda: sum(1 for _ in ledger.read(run))) for _ in range(ROUNDS)]
        size = ledger.path.stat().st_size
    show(f"read and verify {count:,} events", median(raw), "s")
    show("read and verify", median(raw) / count * 1e6, "µs/event")
    show("read, verify and decode", median(decoded) / count * 1e6, "µs/event")
    show("on disk", size / count, "bytes/event")


def looking(folder: Path) -> None:
    """Measure what `interlock status` waits for, with 1,000 runs."""
    path = folder / "l" / "ledger.db"
    with Ledger.open(path, create=True) as ledger:
        for _ in range(1_000):
            ledger.open_run(opened(), acting)

    def look() -> None:
        with Ledger.open(path) as ledger:
            ledger.rows()

    show(
        "open the ledger and list 1,000 runs",
        median(timed(look) for _ in range(ROUNDS)) * 1e3,
        "ms",
    )


def main() -> None:
    """Measure everything."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("INTERLOCK_BENCH_DIR")) as name:
        for measure in (writing, looking, reading):
            measure(Path(name))


if __name__ == "__main__":
    main()
