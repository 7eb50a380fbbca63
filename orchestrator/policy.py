"""Party 2, the built-in engine: what `interlock.yaml` demands, and who must still consent.

1. Silence is a denial: an environment without rules, a role that nobody holds, an engine we do not
   have.
2. An approval counts once, for one person, while it lasts; the requester and whoever opened the run
   never count.
3. Approvals come here only when their signatures verify: `approvals` looked at them before.
4. The whole plan is judged, and judged again, with a fresh clock, before anything begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.errors import Unavailable
from orchestrator.pure.canonical import digest
from orchestrator.pure.consent import missing_approvals
from orchestrator.pure.model import Decision, Denial, MissingApproval, Obligations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.pure.state import Run
    from orchestrator.settings import EnvironmentRules, Settings

__all__ = ["vet"]

ENGINE: Final = "builtin 1"


def vet(run: Run, mode: str, now_ms: int, settings: Settings) -> Decision:
    """Judge the run's plan as it stands now."""
    if settings.policy.engine != "builtin":
        raise Unavailable(
            f"the policy engine '{settings.policy.engine}' is not part of this version",
            next_step="set policy: engine: builtin in interlock.yaml; until then nothing is vetted",
        )
    plan = run.planned
    rules = settings.environments.get(plan.environment)
    denials = tuple(_denials(run, mode, now_ms, rules))
    return Decision(
        outcome="deny" if denials else "allow",
        denials=denials,
        missing=_missing(run, now_ms, settings, rules),
        obligations=Obligations(
            max_parallel=settings.parallelism,
            not_after_ms=plan.window.end_ms if plan.window else None,
        ),
        engine=ENGINE,
        policy_digest=digest([ENGINE, settings.model_dump(mode="json")]),
        input_digest=digest(
            {
                "plan": run.plan_digest,
                "mode": mode,
                "now_ms": now_ms,
                "approvals": [approval.model_dump(mode="json") for approval in run.approvals],
            }
        ),
    )


def _denials(run: Run, mode: str, now_ms: int, rules: EnvironmentRules | None) -> Iterator[Denial]:
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
    needed_ms = (plan.timing.forward_s + plan.timing.rollback_s) * 1000
    left_ms = plan.window.end_ms - now_ms
    if mode == "start" and left_ms < needed_ms:
        yield _denial(
            "window",
            f"{max(0, left_ms) // 1000} s are left of the window; the worst case, with its way "
            f"back, needs {needed_ms // 1000} s",
            "move the window, or cut the plan into smaller ones",
        )


def _without_undo(run: Run) -> Iterator[Denial]:
    for step, spec in zip(run.shaped.steps, run.shaped.specs, strict=True):
        if spec is not None and spec.effect != "read" and spec.undo == "none":
            message = f"{step.id} ({step.actor}) cannot be undone"
            yield Denial(rule="undo", step=step.id, message=message)


def _missing(
    run: Run, now_ms: int, settings: Settings, rules: EnvironmentRules | None
) -> tuple[MissingApproval, ...]:
    if rules is None:
        return (MissingApproval(role="nobody", count=1),)
    counting = tuple(
        approval
        for approval in run.approvals
        if approval.expires_ms > now_ms
        and (approval.method == "sshsig" or not rules.require_signatures)
    )
    never = (run.by, run.ticket.requester)
    return missing_approvals(counting, rules.approvals, never=never, holds=settings.holds)


def _denial(rule: str, message: str, edit: str | None = None) -> Denial:
    return Denial(rule=rule, message=message, edit=edit)
