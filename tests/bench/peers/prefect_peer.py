"""Prefect with a local server that it starts itself, and persisted results.

It is slow, so it takes at most 200 steps; the figure is still steps per second. Its server goes on
recording after a flow has ended, so each shape gets a process and a home of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

from _shapes import LANES, report, sizes

SHAPES = ("chain", "fan_out", "layered")
MOST_STEPS = 200
# Prefect reads its settings while it is imported, so they are handed to a new process.
SETTINGS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
}


def measure(shape: str, steps: int) -> None:
    """Warm the local server up, then run one shape."""
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE
    from prefect.task_runners import ThreadPoolTaskRunner

    runner = ThreadPoolTaskRunner(max_workers=LANES)

    @task(cache_policy=NO_CACHE)
    def step(value: dict[str, int]) -> dict[str, int]:
        return {"n": value["n"] + 1}

    @flow(task_runner=runner)
    def chain(steps: int) -> int:
        value = {"n": 0}
        for _ in range(steps):
            value = step(value)
        return value["n"]

    @flow(task_runner=runner)
    def fan_out(steps: int) -> int:
        waiting = [step.submit({"n": number}) for number in range(steps)]
        return len([future.result() for future in waiting])

    @flow(task_runner=runner)
    def layered(steps: int) -> int:
        value = {"n": 0}
        for _ in range(steps // LANES):
            waiting = [step.submit(value) for _ in range(LANES)]
            value = max((future.result() for future in waiting), key=lambda v: v["n"])
        return value["n"]

    workflow = {"chain": chain, "fan_out": fan_out, "layered": layered}[shape]
    chain(1)
    start = time.perf_counter()
    workflow(steps)
    report(shape, steps, time.perf_counter() - start)


def main() -> int:
    """Start a process for each shape, or be that process."""
    if sys.argv[1:2] == ["--shape"]:
        measure(sys.argv[2], sizes(sys.argv, MOST_STEPS))
        return 0
    for shape in SHAPES:
        with tempfile.TemporaryDirectory(
            dir=os.environ.get("BENCH_DIR"), ignore_cleanup_errors=True
        ) as home:
            subprocess.run(
                [sys.executable, __file__, "--shape", shape, *sys.argv[1:]],
                env={**os.environ, **SETTINGS, "PREFECT_HOME": home},
                check=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
