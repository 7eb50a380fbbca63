"""Every plan of up to four steps, against everything that can go wrong; see `explore`."""

from __future__ import annotations

import os
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final

import pytest

from pure.explore import Config, Explored, configs, explore

if TYPE_CHECKING:
    from collections.abc import Callable

STATES: Final = int(os.environ.get("INTERLOCK_EXPLORE_STATES", "1000000"))
SHARE: Final = 1.4
ENOUGH: Final = 500_000
"""From here on every plan meets all that one mishap can lead to, whatever that takes."""
SURE: Final = 1
WORKERS: Final = min(8, os.cpu_count() or 1)


def _shares(found: tuple[Config, ...]) -> list[tuple[Config, int]]:
    # Plans differ in size by three orders of magnitude: two and three mishaps are for the small.
    return [(config, max(200, int(SHARE * STATES) // len(found))) for config in found]


def _one(job: tuple[Config, int]) -> Explored:
    return explore(*job, sure=SURE if STATES >= ENOUGH else 0)


def _changes_nothing(config: Config) -> bool:
    return all(pinned.spec.effect == "read" for pinned in config.plan.actors.values())


@pytest.mark.usefixtures("untraced")
def test_no_small_plan_can_be_brought_to_break_an_invariant(
    record_property: Callable[[str, object], None],
) -> None:
    jobs = _shares(configs())
    with get_context("spawn").Pool(WORKERS) as pool:
        results = pool.map(_one, jobs, chunksize=8)
    states, moves = sum(r.states for r in results), sum(r.transitions for r in results)
    complete, foreign = sum(r.complete for r in results), sum(r.foreign for r in results)
    record_property(
        "figure",
        f"explored {states:,} states of {len(jobs)} plans ({complete} of them completely; "
        f"{_depths(results)}) over {moves:,} moves; refused {foreign:,} foreign reports",
    )
    violations = [r.violation for r in results if r.violation]
    assert not violations, "\n\n".join(str(v) for v in violations[:5])
    assert states >= STATES
    if STATES < ENOUGH:
        return
    for (config, _), result in zip(jobs, results, strict=True):
        assert result.deepest >= SURE, config.name
        assert "succeeded" in result.ends, config.name
        assert "rolled_back" in result.ends or _changes_nothing(config), config.name
    ends = frozenset().union(*(r.ends for r in results))
    assert ends == {"succeeded", "rolled_back", "cancelled", "taken_over", "declined", "rejected"}


def _depths(results: list[Explored]) -> str:
    deepest = [result.deepest for result in results]
    found = (f"{sum(one >= n for one in deepest)} with up to {n}" for n in (1, 2, 3))
    return f"{', '.join(found)} mishaps"
