"""What every peer is asked to do, and how it reports."""

from __future__ import annotations

import json

LANES = 50
STEPS = 1000
QUICK_STEPS = 200


def sizes(arguments: list[str], most: int = STEPS) -> int:
    """Say how many steps to take: a multiple of LANES."""
    return min(most, QUICK_STEPS if "--quick" in arguments else STEPS)


def report(bench: str, steps: int, seconds: float) -> None:
    """Print one JSON line, as our own benchmarks do."""
    line = {"bench": bench, "steps": steps, "steps_per_s": round(steps / seconds, 1)}
    print(json.dumps(line), flush=True)
