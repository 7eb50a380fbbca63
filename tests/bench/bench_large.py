"""Measure what size costs: a step of 100,000 beside one of 1,000, and a fold of 1,000,000 events.

1. Each plan runs in a process of its own, so that its peak of memory is its own.
2. A step's cost at 100,000 is told as a ratio to that at 1,000, of the same minutes.
3. The fold reads a ledger of several runs: every chain verified, every event decoded and folded.
   Beside it stands what no fold can beat: the same records read and hashed, and nothing else.

    python tests/bench/bench_large.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench import bench_engine  # noqa: E402 - the path is set first
from orchestrator.ledger import Ledger  # noqa: E402 - the path is set first
from orchestrator.session import folded  # noqa: E402 - the path is set first

PAIRS: Final = (("chain", "chain_100k"), ("fan_out", "fan_out_100k"))
RUNS: Final = 5
STEPS: Final = 100_000


def engine(name: str, rounds: int) -> dict[str, Any]:
    """Run one plan in a process of its own; return what it measured."""
    command = [sys.executable, str(Path(bench_engine.__file__)), name, "--rounds", str(rounds)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def sizes(rounds: int) -> None:
    """Compare the cost of a step in a small plan and in a large one."""
    head = ("", "us/step at 1k", "us/step at 100k", "ratio", "peak MB", "recovery s")
    print("".join(f"{cell:>18}" for cell in head))
    for small_name, large_name in PAIRS:
        small, large = engine(small_name, rounds), engine(large_name, rounds)
        ratio = large["us_per_step"] / small["us_per_step"]
        row = (
            small_name, small["us_per_step"], large["us_per_step"], f"{ratio:.2f}",
            large["peak_mb"], large["recovery_s"],
        )  # fmt: skip
        print("".join(f"{cell!s:>18}" for cell in row), flush=True)


def folding(rounds: int) -> None:
    """Fold a ledger of about a million events, and only read it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = bench_engine.fan_out(STEPS)
        for _ in range(RUNS):
            bench_engine.timed(plan, folder)
        del plan
        folds, reads, events = [], [], 0
        for _ in range(rounds):
            with Ledger.open(folder / "ledger.db") as ledger:
                runs = [row.run for row in ledger.rows()]
                begun = time.perf_counter()
                hashed = sum(1 for run in runs for _ in ledger.read_raw(run))
                reads.append(time.perf_counter() - begun)
                begun = time.perf_counter()
                events = sum(folded(ledger, run).events for run in runs)
                folds.append(time.perf_counter() - begun)
            if hashed != events:
                sys.exit(f"{hashed} records were read and {events} events were folded")
    fold_s, read_s = statistics.median(folds), statistics.median(reads)
    print(
        f"\n{events:,} events of {RUNS} runs: folded in {fold_s:.1f} s "
        f"({fold_s / events * 1e6:.1f} us an event), only read and verified in {read_s:.1f} s; "
        f"ratio {fold_s / read_s:.2f}"
    )


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    sizes(rounds)
    folding(rounds)


if __name__ == "__main__":
    main()
