"""DBOS, with its system database in SQLite in WAL mode: steps of one durable workflow.

SQLite's own default for `synchronous` (FULL) stays as DBOS leaves it. Steps that may run at once
are awaited together, at most 50 at a time.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _shapes import LANES, report, sizes

from dbos import DBOS, DBOSConfig


@DBOS.step()
async def step(value: dict[str, int]) -> dict[str, int]:
    """Do nothing, and hand a small value on."""
    return {"n": value["n"] + 1}


@DBOS.workflow()
async def chain(steps: int) -> int:
    """One step after another."""
    value = {"n": 0}
    for _ in range(steps):
        value = await step(value)
    return value["n"]


@DBOS.workflow()
async def fan_out(steps: int) -> int:
    """All independent, at most LANES at once."""
    lanes = asyncio.Semaphore(LANES)

    async def one(number: int) -> dict[str, int]:
        async with lanes:
            return await step({"n": number})

    return len(await asyncio.gather(*(one(number) for number in range(steps))))


@DBOS.workflow()
async def layered(steps: int) -> int:
    """Layers of LANES steps; each layer waits for the whole one before it."""
    value = {"n": 0}
    for _ in range(steps // LANES):
        value = max(
            await asyncio.gather(*(step(value) for _ in range(LANES))), key=lambda v: v["n"]
        )
    return value["n"]


async def measure(shapes: dict[str, tuple[Any, int]]) -> None:
    """Run each shape once, in one launched application."""
    for name, (workflow, steps) in shapes.items():
        start = time.perf_counter()
        await workflow(steps)
        report(name, steps, time.perf_counter() - start)


def main() -> int:
    """Launch DBOS on a fresh database and run the shapes."""
    steps = sizes(sys.argv)
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        database = Path(folder) / "dbos.sqlite"
        made = sqlite3.connect(database)
        made.execute("PRAGMA journal_mode=WAL")  # stays with the file
        made.close()
        config: DBOSConfig = {
            "name": "bench",
            "system_database_url": f"sqlite:///{database}",
            "log_level": "ERROR",
            "console_log_level": "ERROR",
        }
        DBOS(config=config)
        DBOS.launch()
        asyncio.run(
            measure(
                {
                    "chain": (chain, steps),
                    "fan_out": (fan_out, steps),
                    "layered": (layered, steps),
                }
            )
        )
        DBOS.destroy()
    return 0


if __name__ == "__main__":
    sys.exit(main())
