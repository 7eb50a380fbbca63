"""Party 2: vets a plan by the rules of the workspace, on a floor that no rule can lower.

1. The floor is `interlock.yaml` (`policy_floor`); rules in Rego can only demand more.
2. An engine that is silent, late, strange or broken is `Unavailable`: nothing is decided, nothing
   runs.
3. Approvals come here only when their signatures verify: `approvals` looked at them before.
4. The whole plan is judged, and judged again, with a fresh clock, before anything begins.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from orchestrator.errors import InvalidInput, Unavailable
from orchestrator.policy_bundle import read_bundle
from orchestrator.policy_calendar import freezes
from orchestrator.policy_embedded import refuse_unportable
from orchestrator.policy_engines import input_schema, judge, opened
from orchestrator.policy_files import read_weights
from orchestrator.policy_floor import floor, missing, short_of_time
from orchestrator.policy_proof import refuse_unproved
from orchestrator.pure.canonical import digest
from orchestrator.pure.levels import weigh
from orchestrator.pure.model import Decision, Denial, Obligations
from orchestrator.pure.policy_answer import Floor, Verdict
from orchestrator.pure.policy_facts import Surroundings, as_if_all, policy_input

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import tzinfo
    from pathlib import Path

    from orchestrator.policy_bundle import Bundle
    from orchestrator.pure.levels import Weights
    from orchestrator.pure.model import Catalog, Inventory, MissingApproval, Ticket
    from orchestrator.pure.policy_facts import Other
    from orchestrator.pure.policy_input import Freeze
    from orchestrator.pure.state import Run
    from orchestrator.settings import Settings

__all__ = ["Around", "JudgeOne", "judging", "refuse_unreadable", "vet", "withheld"]

BUILTIN: Final = "builtin 1"
NO_FLOOR: Final = Floor((), (), Obligations())


class Around(NamedTuple):
    """What a driver knows besides the run."""

    policies: Path
    state: Path
    environ: Mapping[str, str]
    catalog: Catalog
    inventory: Inventory
    inventory_digest: str
    others: Callable[[], Iterable[Other]]
    """What other live runs hold or want of the same things."""


class JudgeOne(Protocol):
    """Judges one plan by rules that were read before."""

    def __call__(self, run: Run, mode: str, now_ms: int, around: Around) -> Decision:
        """Judge the run's plan as it stands at an instant."""


def vet(
    run: Run, mode: str, now_ms: int, settings: Settings, around: Around | None = None
) -> Decision:
    """Judge the run's plan as it stands now; only the engine `builtin` needs nothing around it."""
    if settings.policy.engine == "builtin":
        ground, record = floor(run, mode, now_ms, settings), _builtin(run, mode, now_ms, settings)
        return _decision(run, mode, now_ms, settings, _floor_alone(ground), record)
    if around is None:
        raise Unavailable("policy was not told what is around the run", next_step="report this")
    with judging(settings, around.policies, around.state, around.environ) as judge_one:
        return judge_one(run, mode, now_ms, around)


@contextlib.contextmanager
def judging(
    settings: Settings, policies: Path, state: Path, environ: Mapping[str, str]
) -> Iterator[JudgeOne]:
    """Read the rules of a folder and open the engine, to judge one plan after another."""
    bundle, weights = _rules(settings, policies, state)
    with opened(settings.policy, bundle, environ) as engine:

        def judge_one(run: Run, mode: str, now_ms: int, around: Around) -> Decision:
            ground = floor(run, mode, now_ms, settings)
            resting = _freezes(run, now_ms, bundle, settings)
            document = policy_input(run, mode, now_ms, _surroundings(settings, around, resting))
            answer = judge(engine, bundle, document)
            by = [BUILTIN, settings.model_dump(mode="json"), engine.name, bundle.digest]
            record = {
                "engine": engine.name,
                "policy_digest": digest([*by, weights.plain()]),
                "input_digest": document.digest,
                "rules_digest": bundle.digest,
                "data_digest": bundle.data_digest,
            }
            verdict = weigh(answer, document, ground, weights)
            return _decision(run, mode, now_ms, settings, verdict, record)

        yield judge_one


def _decision(
    run: Run, mode: str, now_ms: int, settings: Settings, verdict: Verdict, record: dict[str, Any]
) -> Decision:
    # The way back was part of what was approved: it may be denied, and needs no consent of its own.
    wanted = () if mode == "rollback" else verdict.wanted
    bound = verdict.obligations.max_parallel or settings.parallelism
    late = short_of_time(run, mode, now_ms, bound) if bound < settings.parallelism else ()
    denials = (*verdict.denials, *late, *_vacant(wanted, settings))
    return Decision(
        outcome="deny" if denials else "allow",
        denials=denials,
        warnings=verdict.warnings,
        missing=missing(run, now_ms, settings, wanted),
        obligations=verdict.obligations,
        waivers=verdict.waivers,
        **record,
    )


def withheld(
    ticket: Ticket, by: str, now_ms: int, settings: Settings, around: Around
) -> dict[str, str]:
    """Name the actors that policy does not offer to whoever drafts for this ticket, and why.

    Each actor is judged as if it were a step without values or targets; only rules that say of
    themselves that they narrow the catalog are heard. A plan is judged again, whole.
    """
    if settings.policy.engine == "builtin" or not around.catalog.actors:
        return {}
    run = as_if_all(ticket, by, now_ms, around.catalog, around.inventory_digest)
    bundle, weights = _rules(settings, around.policies, around.state)
    narrows = {rule for rule, card in weights.cards.items() if card.narrows}
    document = policy_input(run, "plan", now_ms, _surroundings(settings, around, ()))
    with opened(settings.policy, bundle, around.environ) as engine:
        answer = judge(engine, bundle, document)
    heard = tuple(found for found in answer.findings if found.rule in narrows)
    actors = {one.id: one.actor for one in document.plan.classes}
    nothing = answer.model_copy(update={"findings": (), "approvals": (), "constraints": ()})
    reasons: dict[str, str] = {}
    for found in heard:
        alone = nothing.model_copy(update={"findings": (found,)})
        if weigh(alone, document, NO_FLOOR, weights).denials:
            subject = actors.get(found.subject)
            for name in actors.values() if subject is None else (subject,):
                reasons.setdefault(name, found.msg)
    return reasons


def refuse_unreadable(settings: Settings, policies: Path) -> None:
    """Refuse rules, or how they bind, that cannot be read; the engine `builtin` has none."""
    if settings.policy.engine != "builtin":
        _read(settings, policies)


def _rules(settings: Settings, policies: Path, state: Path) -> tuple[Bundle, Weights]:
    """Read the rules; the embedded engine judges by no others than it can be trusted with."""
    bundle, weights = _read(settings, policies)
    if settings.policy.engine == "embedded":
        refuse_unportable(bundle, input_schema())
        refuse_unproved(policies, bundle, weights.cards, state)
    return bundle, weights


def _read(settings: Settings, policies: Path) -> tuple[Bundle, Weights]:
    bundle = read_bundle(policies)
    return bundle, read_weights(policies, bundle.modules, settings.environments)


def _freezes(run: Run, now_ms: int, bundle: Bundle, settings: Settings) -> tuple[Freeze, ...]:
    plan = run.planned
    ends_ms = now_ms + (plan.timing.forward_s + plan.timing.rollback_s) * 1000 + 1_000
    if plan.window is not None:
        ends_ms = max(ends_ms, plan.window.end_ms)
    return freezes(bundle.data["params"], settings.environments, now_ms, ends_ms)


def _builtin(run: Run, mode: str, now_ms: int, settings: Settings) -> dict[str, Any]:
    approvals = [approval.model_dump(mode="json") for approval in run.approvals]
    asked = {"plan": run.plan_digest, "mode": mode, "now_ms": now_ms, "approvals": approvals}
    return {
        "engine": BUILTIN,
        "policy_digest": digest([BUILTIN, settings.model_dump(mode="json")]),
        "input_digest": digest(asked),
    }


def _floor_alone(ground: Floor) -> Verdict:
    return Verdict(ground.denials, (), ground.wanted, ground.obligations)


def _vacant(wanted: Iterable[MissingApproval], settings: Settings) -> Iterator[Denial]:
    """Deny what would wait for ever: consent of a role that nobody holds."""
    for one in wanted:
        if one.role != "nobody" and not settings.roles.get(one.role):
            yield Denial(
                rule="consent",
                message=f"a rule asks for approval by {one.role}, which nobody holds",
                edit=f"name its holders in interlock.yaml: roles: {one.role}",
            )


def _surroundings(settings: Settings, around: Around, resting: tuple[Freeze, ...]) -> Surroundings:
    return Surroundings(
        catalog=around.catalog,
        inventory=around.inventory,
        inventory_digest=around.inventory_digest,
        holds=settings.holds,
        roles=tuple(sorted(settings.roles)),
        zones=_zones(settings.policy.time_zones),
        others=tuple(around.others()),
        freezes=resting,
    )


def _zones(names: Iterable[str]) -> dict[str, tzinfo]:
    zones: dict[str, tzinfo] = {}
    for name in names:
        try:
            zones[name] = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise InvalidInput(
                f"policy: time_zones: {name} is not a time zone that this machine knows",
                next_step="write it as in the tz database, such as Europe/Amsterdam",
            ) from None
    return zones
