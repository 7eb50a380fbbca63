"""What an act's own process checks before it acts: that this step is in the plan people approved.

1. The header must hash to the digest that the approvals name.
2. The step must lead to the header's root, and the actor must be the pinned one.
3. The brief must ask for that step: same targets, same literal params, no param that the step
   lacks, and no secret: those the act's process resolves by the names in the step.
4. Approvals may be for an equivalent plan of an earlier run (`carrying`): then that plan's header
   is the same but for its root, and this step, names aside, is proved to be in it.
5. Values are compared in canonical form: in Python, `1 == True`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from actors.spec import Brief, SecretRef, problem_with
from orchestrator.pure.canonical import canonical, digest, merkle_levels, merkle_path, proves
from orchestrator.pure.equivalence import said
from orchestrator.pure.model import Approval, Digest, PlanStep, step_leaves

if TYPE_CHECKING:
    from orchestrator.pure.model import Plan

__all__ = ["EarlierStep", "Warrant", "Warrants", "problem_with_warrant"]


class EarlierStep(BaseModel):
    """The same step in an equivalent plan of an earlier run, to which consent was given."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    run: str
    header: dict[str, Any]
    step: PlanStep
    proof: tuple[str, ...]

    @property
    def plan_digest(self) -> str:
        """Return the digest of that plan."""
        return digest(self.header)


class Warrant(BaseModel):
    """One step with its proof, and the consent it rests on."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    run: str
    plan_digest: Digest
    header: dict[str, Any]
    step: PlanStep
    proof: tuple[str, ...]
    approvals: tuple[Approval, ...]
    brief: Brief
    settings: dict[str, bool | int | str]
    earlier: EarlierStep | None = None


class Warrants:
    """Makes warrants for the steps of one plan; the tree is built once."""

    def __init__(self, plan: Plan) -> None:
        self._steps = plan.steps
        self._places = {step.id: index for index, step in enumerate(plan.steps)}
        self._levels = merkle_levels(step_leaves(plan))
        self._header = plan.header(self._levels[-1][0].hex())
        self._digest = digest(self._header)

    def make(
        self,
        run: str,
        index: int,
        brief: Brief,
        *,
        approvals: tuple[Approval, ...],
        settings: dict[str, bool | int | str],
        earlier: EarlierStep | None = None,
    ) -> Warrant:
        """Make the warrant of one act."""
        return Warrant(
            run=run,
            plan_digest=self._digest,
            header=self._header,
            step=self._steps[index],
            proof=merkle_path(self._levels, index),
            approvals=approvals,
            brief=brief,
            settings=settings,
            earlier=earlier,
        )

    def earlier(self, run: str, name: str) -> EarlierStep:
        """Prove that a step is in this plan, of an earlier run."""
        index = self._places[name]
        return EarlierStep(
            run=run,
            header=self._header,
            step=self._steps[index],
            proof=merkle_path(self._levels, index),
        )


def problem_with_warrant(warrant: Warrant, actor_digest: str) -> str | None:
    """Say why an act must not begin, or nothing."""
    step, brief, header = warrant.step, warrant.brief, warrant.header
    if digest(header) != warrant.plan_digest:
        return "the plan's header has another digest"
    earlier = warrant.earlier
    if earlier is not None and not _is_same_step(warrant, earlier):
        return "the earlier plan, which was approved, does not hold this step"
    good_for = {(warrant.run, warrant.plan_digest)}
    if earlier is not None:
        good_for.add((earlier.run, earlier.plan_digest))
    pinned = _at(header, "actors", step.actor)
    checks = (
        (
            all((a.run, a.plan_digest) in good_for for a in warrant.approvals),
            "an approval is for another plan or run",
        ),
        (
            proves(
                canonical(step.model_dump(mode="json")),
                warrant.proof,
                str(_at(header, "steps_root")),
            ),
            "the step is not in the plan",
        ),
        (
            _at(pinned, "digest") == actor_digest,
            f"the folder of {step.actor} is not the pinned one",
        ),
        (
            _same(brief.spec.model_dump(mode="json"), _at(pinned, "spec")),
            "the actor's spec is another",
        ),
        (step.gate is None, "a gate is not an act"),
    )
    problem = next((problem for holds, problem in checks if not holds), None)
    return problem or _problem_with_brief(warrant)


def _is_same_step(warrant: Warrant, earlier: EarlierStep) -> bool:
    root = str(_at(earlier.header, "steps_root"))
    same_but_root = {**earlier.header, "steps_root": _at(warrant.header, "steps_root")}
    return (
        earlier.run != warrant.run
        and _same(same_but_root, warrant.header)
        and proves(canonical(earlier.step.model_dump(mode="json")), earlier.proof, root)
        and said(earlier.step) == said(warrant.step)
    )


def _problem_with_brief(warrant: Warrant) -> str | None:
    # The actor's spec is known to be the pinned one.
    step, brief, asked = warrant.step, warrant.brief, dict(warrant.brief.params)
    given = {
        p.name: p.value
        for p in step.params
        if p.output is None and not isinstance(p.value, SecretRef)
    }
    later = {p.name for p in step.params if p.output is not None}
    checks = (
        (tuple(t.name for t in brief.targets) == step.targets, "the targets are not the step's"),
        (
            not brief.unchanged
            or (brief.verb in ("undo", "verify") and set(brief.unchanged) < set(step.targets)),
            "what was unchanged is not a part of what is undone",
        ),
        (set(asked) == {*given, *later}, "the params are not the step's"),
        (not brief.secrets, "a warrant holds no secret"),
        (all(_same(asked.get(n), v) for n, v in given.items()), "a param differs from the plan"),
        (
            not any(
                problem_with(brief.spec.params[n], asked[n])
                for n in later
                if n in asked and n in brief.spec.params
            ),
            "a param from an output does not fit its declaration",
        ),
        (
            brief.key == f"{warrant.run}/{step.id}/{brief.verb}/{brief.attempt}",
            "the key is another's",
        ),
    )
    return next((problem for holds, problem in checks if not holds), None)


def _at(value: object, *path: str) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _same(one: object, other: object) -> bool:
    return canonical(one) == canonical(other)
