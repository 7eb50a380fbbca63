"""Rung 11: the worst case, with a rollback at the very end, fits into the ticket's window.

1. Forward, a step takes the whole limit of an act once per attempt, and the waits between; a gate
   takes nothing. Backward, a step that changed something and can be undone takes the same of its
   undos. `limit_s` is what is enforced.
2. With n at a time, greedy work ends after the longest chain plus the rest divided by n (Graham,
   1969). The chain after a hold starts at the hold's instant at the earliest. n is the draft's
   bound or the workspace's, whichever is less.
3. A slice that may fail without turning the run round stops all else: until the acts under way have
   ended, and while it goes back.
4. Whoever calls the run back waits first for what is under way, so the last safe abort leaves room
   for the longest of it.
5. Not counted, because nobody can bound them: answers of people, and acts whose end is not known,
   which are verified and may begin again.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from orchestrator.pure.findings import add, finding, replace
from orchestrator.pure.limits import limit_s
from orchestrator.pure.model import HOLD, Hold, Timing
from orchestrator.pure.params import hold_until_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from actors.spec import ActorSpec
    from orchestrator.pure.draft import Draft, DraftWave, Edit, Finding
    from orchestrator.pure.model import PinnedActor, Plan, PlanStep, Wave, Window

__all__ = [
    "Part",
    "backward_s",
    "forward_s",
    "longest_s",
    "parts_of",
    "timing",
    "timing_with",
    "worst_case",
]

MAX_SPAN_S: Final = 10 * 366 * 86_400
MAX_PARALLEL: Final = 1_000


class _Cost(NamedTuple):
    """What steps of an actor take at worst; a gate and what stands between slices take nothing."""

    forward_s: int = 0
    backward_s: int = 0
    act_s: int = 0


class Part(NamedTuple):
    """A step as the arithmetic sees it."""

    before: tuple[int, ...]
    cost: _Cost = _Cost()
    slot: tuple[str, int] | None = None
    release_s: int = 0
    """So many seconds after the window's start it begins, at the earliest."""


class _Worst(NamedTuple):
    """How long all takes at worst, and how long what is under way."""

    forward_s: int
    rollback_s: int
    under_way_s: int

    @property
    def both_s(self) -> int:
        return self.forward_s + self.rollback_s


# --- one step -----------------------------------------------------------------------------------


def forward_s(spec: ActorSpec) -> int:
    """Say how long a step takes at worst: each attempt at its limit, and the waits between."""
    return limit_s(spec.timeouts, "apply") * (1 + spec.retries.maximum) + _waits_s(spec)


def backward_s(spec: ActorSpec) -> int:
    """Say how long it takes at worst to undo a step, counted in the same way."""
    if spec.effect == "read" or spec.undo == "none":
        return 0
    return limit_s(spec.timeouts, "undo") * (1 + spec.retries.maximum) + _waits_s(spec)


def _waits_s(spec: ActorSpec) -> int:
    retries = spec.retries
    return sum(retries.backoff_s * retries.factor**number for number in range(retries.maximum))


# --- a plan -------------------------------------------------------------------------------------


def parts_of(
    steps: Sequence[PlanStep], actors: Mapping[str, PinnedActor], window: Window | None
) -> list[Part]:
    """Say what waits for what; the slices of a wave follow each other."""
    costs = {
        name: _Cost(
            forward_s(actor.spec), backward_s(actor.spec), limit_s(actor.spec.timeouts, "apply")
        )
        for name, actor in actors.items()
    }
    parts: list[Part] = []
    place: dict[str, int] = {}
    slices: dict[tuple[str, int], list[int]] = {}
    barriers: dict[tuple[str, int], tuple[int, ...]] = {}
    for step in steps:
        slot = None if step.slot is None else (step.slot.wave, step.slot.slice)
        before = tuple(place[name] for name in step.after)
        if slot is not None:
            if slot not in slices:
                earlier = slices.get((slot[0], slot[1] - 1))
                barriers[slot] = () if earlier is None else (len(parts),)
                parts += [] if earlier is None else [Part(tuple(earlier))]
                slices[slot] = []
            before += barriers[slot]
            slices[slot].append(len(parts))
        place[step.id] = len(parts)
        cost = _Cost() if step.gate else costs[step.actor]
        parts.append(Part(before, cost, slot, _release_s(step, window)))
    return parts


def longest_s(
    parts: Sequence[Part], durations_s: Sequence[int], max_parallel: int, *, holds: bool = True
) -> int:
    """Bound the time that greedy work takes with so many steps at a time; a rollback has no holds.

    Lengths of chains are kept times `max_parallel`, so that all arithmetic is exact.
    """
    ends: list[int] = []
    for part, duration_s in zip(parts, durations_s, strict=True):
        start = max((ends[one] for one in part.before), default=0)
        start = max(start, part.release_s * max_parallel if holds else 0)
        ends.append(start + duration_s * (max_parallel - 1))
    total: int = max(ends, default=0) + sum(durations_s)
    return (total + max_parallel - 1) // max_parallel


def worst_case(plan: Plan, max_parallel: int) -> Timing:
    """Compute the worst case of a plan when only so many of its steps act at a time."""
    parts = parts_of(plan.steps, plan.actors, plan.window)
    return _timing(_worst(parts, _stops(plan.waves), max_parallel), plan.window)


def timing_with(plan: Plan, at_once: int) -> Timing:
    """Return what the plan says of its worst case, or count again where fewer may act at once."""
    return worst_case(plan, at_once) if at_once < plan.max_parallel else plan.timing


def timing(
    draft: Draft, parts: Sequence[Part], window: Window | None, max_parallel: int
) -> Timing | list[Finding]:
    """Compute the worst case, or say what is missing; never more than `max_parallel` may act."""
    late = _late_holds(draft, window)
    if late:
        return late
    count = min(draft.max_parallel, max_parallel)
    worst = _worst(parts, _stops(draft.waves), count)
    if worst.both_s > MAX_SPAN_S:
        says = f"the worst case takes {worst.both_s} s, longer than any window can be"
        return [finding("R11-endless", f"{says}; split the change")]
    if window is None or worst.both_s * 1000 <= window.end_ms - window.start_ms:
        return _timing(worst, window)
    edit = _more_parallel(draft, parts, window, max_parallel)
    return [_too_short(window, worst, count, edit)]


def _timing(worst: _Worst, window: Window | None) -> Timing:
    last_ms = None
    if window is not None:
        last_ms = max(0, window.end_ms - (worst.rollback_s + worst.under_way_s) * 1000)
    return Timing(
        forward_s=worst.forward_s, rollback_s=worst.rollback_s, last_safe_abort_ms=last_ms
    )


def _worst(parts: Sequence[Part], stops: Mapping[str, int], max_parallel: int) -> _Worst:
    onward = [part.cost.forward_s for part in parts]
    back = [part.cost.backward_s for part in parts]
    act_s = max((part.cost.act_s for part in parts), default=0)
    slices = _alone(parts, back, stops, max_parallel)
    stopped_s = sum(
        min(stops[wave], len(takes_s)) * (act_s + max(takes_s)) for wave, takes_s in slices.items()
    )
    return _Worst(
        longest_s(parts, onward, max_parallel) + stopped_s,
        longest_s(parts, back, max_parallel, holds=False),
        max([act_s, *(one_s for takes_s in slices.values() for one_s in takes_s)]),
    )


def _stops(waves: Iterable[Wave | DraftWave]) -> dict[str, int]:
    """Count how many slices of each wave may fail and go back alone."""
    return {wave.id: wave.stop_after - 1 for wave in waves if wave.stop_after > 1}


def _alone(
    parts: Sequence[Part], back: Sequence[int], stops: Mapping[str, int], max_parallel: int
) -> dict[str, list[int]]:
    """Say how long each slice that may go back alone takes for it, by wave."""
    found: dict[str, list[int]] = {}
    members: dict[tuple[str, int], dict[int, int]] = {}
    for index, part in enumerate(parts):
        if part.slot is not None and part.slot[0] in stops:
            mine = members.setdefault(part.slot, {})
            mine[index] = len(mine)
    for (wave, _), mine in members.items():
        inside = [
            Part(tuple(mine[one] for one in parts[index].before if one in mine)) for index in mine
        ]
        takes_s = longest_s(inside, [back[index] for index in mine], max_parallel)
        found.setdefault(wave, []).append(takes_s)
    return found


def _release_s(step: PlanStep, window: Window | None) -> int:
    """Count the seconds from the window's start to the end of a hold; without a window, none."""
    if not isinstance(step.gate, Hold) or window is None:
        return 0
    return max(0, (step.gate.until_ms - window.start_ms + 999) // 1000)


def _late_holds(draft: Draft, window: Window | None) -> list[Finding]:
    if window is None:
        return []
    findings = []
    for place, step in enumerate(draft.steps):
        until = str(step.params["until"]) if step.actor == HOLD else ""
        if until and (hold_until_ms(until) or 0) > window.end_ms:
            says = f"{step.id} waits until {until}, but the window ends at {_shown(window.end_ms)}"
            findings.append(
                finding("R11-hold-after-window", says, ("steps", place, "params", "until"))
            )
    return findings


def _too_short(window: Window, worst: _Worst, count: int, edit: Edit | None) -> Finding:
    missing_ms = worst.both_s * 1000 - (window.end_ms - window.start_ms)
    missing_s = -(-missing_ms // 1000)
    enough_ms = window.end_ms + missing_s * 1000
    says = (
        f"in the worst case, with {count} at a time, the change takes {worst.forward_s} s and its "
        f"rollback {worst.rollback_s} s, {missing_s} s more than the window has; a window until "
        f"{_shown(enough_ms)} would do"
    )
    return finding("R11-window-too-short", says, edit=edit)


def _more_parallel(
    draft: Draft, parts: Sequence[Part], window: Window, max_parallel: int
) -> Edit | None:
    """Find the least parallelism with which the change would fit, if there is one."""
    stops = _stops(draft.waves)
    span_ms = window.end_ms - window.start_ms

    def fits(count: int) -> bool:
        return _worst(parts, stops, count).both_s * 1000 <= span_ms

    most = min(MAX_PARALLEL, max_parallel)
    least = draft.max_parallel + bisect_left(range(draft.max_parallel, most + 1), True, key=fits)
    if least > most:
        return None
    op = replace if "max_parallel" in draft.model_fields_set else add
    return op(("max_parallel",), least, f"act on {least} steps at a time")


def _shown(instant_ms: int) -> str:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=instant_ms)).isoformat()
    except OverflowError:
        return f"{instant_ms} ms after 1970"
