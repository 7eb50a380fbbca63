"""Rung 11: the worst case, with a rollback at the very end, fits into the ticket's window.

1. Forward, a step takes its timeout once per attempt, the waits between, and one verify; a gate
   takes nothing.
2. Backward, a step that changed something and can be undone takes one undo and one verify.
3. With n at a time, greedy work ends after the longest chain plus the rest divided by n (Graham,
   1969). The chain after a hold starts at the hold's instant at the earliest.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from orchestrator.pure.findings import add, finding, replace
from orchestrator.pure.model import HOLD, Timing
from orchestrator.pure.params import hold_until_ms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actors.spec import ActorSpec
    from orchestrator.pure.draft import Draft, DraftStep, Edit, Finding
    from orchestrator.pure.model import Window
    from orchestrator.pure.waves import Node

__all__ = ["longest_s", "timing"]

MAX_SPAN_S: Final = 10 * 366 * 86_400
MAX_PARALLEL: Final = 1_000


def timing(draft: Draft, nodes: Sequence[Node], window: Window | None) -> Timing | list[Finding]:
    """Compute the worst case, or say what is missing."""
    start_ms = window.start_ms if window is not None else None
    releases = {place: _release_s(step, start_ms) for place, step in enumerate(draft.steps)}
    late = _late_holds(draft, window)
    if late:
        return late
    forward_s = longest_s(nodes, _all_forward(nodes), draft.max_parallel, releases)
    rollback_s = longest_s(nodes, _all_backward(nodes), draft.max_parallel, {})
    if forward_s + rollback_s > MAX_SPAN_S:
        says = f"the worst case takes {forward_s + rollback_s} s, longer than any window can be"
        return [finding("R11-endless", f"{says}; split the change")]
    if window is None:
        return Timing(forward_s=forward_s, rollback_s=rollback_s)
    missing_ms = (forward_s + rollback_s) * 1000 - (window.end_ms - window.start_ms)
    if missing_ms > 0:
        edit = _more_parallel(draft, nodes, window, releases)
        return [_too_short(window, forward_s, rollback_s, missing_ms, edit)]
    last = window.end_ms - rollback_s * 1000
    return Timing(forward_s=forward_s, rollback_s=rollback_s, last_safe_abort_ms=last)


def longest_s(
    nodes: Sequence[Node],
    durations_s: Sequence[int],
    max_parallel: int,
    releases_s: Mapping[int, int],
) -> int:
    """Bound the time that greedy work takes with so many steps at a time.

    Lengths of chains are kept times `max_parallel`, so that all arithmetic is exact.
    """
    ends: list[int] = []
    for node, duration_s in zip(nodes, durations_s, strict=True):
        start = max((ends[one] for one in node.before), default=0)
        start = max(start, releases_s.get(node.place, 0) * max_parallel)
        ends.append(start + duration_s * (max_parallel - 1))
    total: int = max(ends, default=0) + sum(durations_s)
    return (total + max_parallel - 1) // max_parallel


def _all_forward(nodes: Sequence[Node]) -> list[int]:
    return [_forward_s(node.traits.spec) if node.traits is not None else 0 for node in nodes]


def _all_backward(nodes: Sequence[Node]) -> list[int]:
    return [_backward_s(node.traits.spec) if node.traits is not None else 0 for node in nodes]


def _forward_s(spec: ActorSpec | None) -> int:
    if spec is None:
        return 0
    retries = spec.retries
    waits_s: int = sum(
        retries.backoff_s * pow(retries.factor, number) for number in range(retries.maximum)
    )
    return spec.timeouts.apply_s * (1 + retries.maximum) + spec.timeouts.verify_s + waits_s


def _backward_s(spec: ActorSpec | None) -> int:
    if spec is None or spec.effect == "read" or spec.undo == "none":
        return 0
    return spec.timeouts.undo_s + spec.timeouts.verify_s


def _release_s(step: DraftStep, start_ms: int | None) -> int:
    """Count the seconds from the window's start to the end of a hold; without a window, none."""
    if step.actor != HOLD or start_ms is None:
        return 0
    until_ms = hold_until_ms(str(step.params["until"])) or 0
    return max(0, (until_ms - start_ms + 999) // 1000)


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


def _too_short(
    window: Window, forward_s: int, rollback_s: int, missing_ms: int, edit: Edit | None
) -> Finding:
    missing_s = -(-missing_ms // 1000)
    enough_ms = window.end_ms + missing_s * 1000
    says = (
        f"in the worst case the change takes {forward_s} s and its rollback {rollback_s} s, "
        f"{missing_s} s more than the window has; a window until {_shown(enough_ms)} would do"
    )
    return finding("R11-window-too-short", says, edit=edit)


def _more_parallel(
    draft: Draft, nodes: Sequence[Node], window: Window, releases: Mapping[int, int]
) -> Edit | None:
    """Find the least parallelism with which the change would fit, if there is one."""
    forward, backward = _all_forward(nodes), _all_backward(nodes)
    span_ms = window.end_ms - window.start_ms

    def fits(count: int) -> bool:
        needed = longest_s(nodes, forward, count, releases) + longest_s(nodes, backward, count, {})
        return needed * 1000 <= span_ms

    counts = range(draft.max_parallel, MAX_PARALLEL + 1)
    least = draft.max_parallel + bisect_left(counts, True, key=fits)
    if least > MAX_PARALLEL:
        return None
    op = replace if "max_parallel" in draft.model_fields_set else add
    return op(("max_parallel",), least, f"act on {least} steps at a time")


def _shown(instant_ms: int) -> str:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=instant_ms)).isoformat()
    except OverflowError:
        return f"{instant_ms} ms after 1970"
