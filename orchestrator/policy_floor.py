"""The floor: what `interlock.yaml` demands of every plan, whatever an engine says.

1. Silence is a denial: an environment without rules, a role that nobody holds.
2. An approval counts once, for one person, while it lasts; the requester and whoever opened the run
   never count.
3. No rule of an engine can take anything away from here; it can only demand more.
4. The worst case is the plan's only while as many steps may act at a time as it was counted with;
   where fewer may, it is counted again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.pure.consent import missing_approvals
from orchestrator.pure.model import Denial, MissingApproval, Obligations
from orchestrator.pure.policy_answer import Floor
from orchestrator.pure.window import timing_with

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.pure.state import Run
    from orchestrator.settings import EnvironmentRules, Settings

__all__ = ["floor", "missing", "short_of_time"]

NOBODY = MissingApproval(role="nobody", count=1)


def floor(run: Run, mode: str, now_ms: int, settings: Settings) -> Floor:
    """Say what the settings have against the plan, and what they demand of it."""
    plan = run.planned
    rules = settings.environments.get(plan.environment)
    return Floor(
        denials=tuple(_denials(run, mode, now_ms, rules, settings.parallelism)),
        wanted=rules.approvals if rules is not None else (NOBODY,),
        obligations=Obligations(
            max_parallel=settings.parallelism,
            not_after_ms=plan.window.end_ms if plan.window else None,
        ),
    )


def missing(
    run: Run, now_ms: int, settings: Settings, wanted: Sequence[MissingApproval]
) -> tuple[MissingApproval, ...]:
    """Say who must still consent of those that are wanted."""
    rules = settings.environments.get(run.planned.environment)
    if rules is None:
        return (NOBODY,)
    counting = tuple(
        approval
        for approval in run.approvals
        if approval.expires_ms > now_ms
        and (approval.method == "sshsig" or not rules.require_signatures)
    )
    never = (run.by, run.ticket.requester)
    return missing_approvals(counting, wanted, never=never, holds=settings.holds)


def _denials(
    run: Run, mode: str, now_ms: int, rules: EnvironmentRules | None, parallelism: int
) -> Iterator[Denial]:
    plan = run.planned
    if rules is None:
        yield _denial("environment", f"no rules are set for the environment {plan.environment}")
        return
    targets = {name for step in plan.steps for name in step.targets}
    if len(targets) > rules.max_targets:
        yield _denial(
            "max_targets",
            f"the plan touches {len(targets)} targets; {rules.max_targets} are allowed at once",
            f"split the ticket into parts of at most {rules.max_targets} targets",
        )
    if not rules.allow_undo_none:
        yield from _without_undo(run)
    if plan.window is None:
        if rules.require_window:
            yield _denial("window", "the ticket names no window", "add `window:` to the ticket")
        return
    yield from short_of_time(run, mode, now_ms, parallelism)


def short_of_time(run: Run, mode: str, now_ms: int, max_parallel: int) -> Iterator[Denial]:
    """Deny a plan whose worst case, with so many steps at a time, does not fit into its window."""
    plan = run.planned
    if plan.window is None or mode == "rollback":
        return
    fewer = max_parallel < plan.max_parallel
    timing = timing_with(plan, max_parallel)
    needed_ms = (timing.forward_s + timing.rollback_s) * 1000
    from_ms = now_ms if mode == "start" else plan.window.start_ms
    left_ms = plan.window.end_ms - from_ms
    if left_ms < needed_ms and (mode == "start" or fewer):
        at_once = f", with {max_parallel} at a time," if fewer else ","
        yield _denial(
            "window",
            f"{max(0, left_ms) // 1000} s are left of the window; the worst case{at_once} with its "
            f"way back, needs {needed_ms // 1000} s",
            "move the window, or cut the plan into smaller ones",
        )


def _without_undo(run: Run) -> Iterator[Denial]:
    for step, spec in zip(run.shaped.steps, run.shaped.specs, strict=True):
        if spec is not None and spec.effect != "read" and spec.undo == "none":
            message = f"{step.id} ({step.actor}) cannot be undone"
            yield Denial(rule="undo", step=step.id, message=message)


def _denial(rule: str, message: str, edit: str | None = None) -> Denial:
    return Denial(rule=rule, message=message, edit=edit)
