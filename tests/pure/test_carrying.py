"""Consent goes over to an equivalent plan of another run, and to nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from actors.spec import Brief, Target
from orchestrator.errors import IllegalEvent
from orchestrator.pure.canonical import digest
from orchestrator.pure.carrying import CARRIED_TO, is_free, problem_with_carried, taken_from
from orchestrator.pure.consent import Purpose, problem_with_approval
from orchestrator.pure.equivalence import equivalence_digest, same_steps
from orchestrator.pure.events import Carried, Opened, Planned
from orchestrator.pure.model import Approval, Plan, Seen
from orchestrator.pure.run import evolve, opened
from orchestrator.pure.warrant import Warrant, Warrants, problem_with_warrant
from pure.plans import NOON, plan_of, plans, step, ticket
from pure.test_equivalence import _steps_changed, renamed, shuffled, with_steps

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.pure.state import Run

OLD: Final = "CHG-1.1"
NEW: Final = "CHG-1.2"
DAY: Final = 86_400_000


def approval(plan: Plan, **changes: Any) -> Approval:
    """An approval that bea signed for the old run; the signature itself is judged elsewhere."""
    seen = Seen(
        requested_by=("ann", "olga"),
        ticket_digest=plan.ticket_digest,
        equivalence_digest=equivalence_digest(plan),
        view_digest="3" * 64,
        decision_digest="4" * 64,
        trust_digest="5" * 64,
        ledger_head=f"{'6' * 64}@7",
    )
    fields: dict[str, Any] = {
        "principal": "bea",
        "role": "boss",
        "run": OLD,
        "environment": plan.environment,
        "plan_digest": plan.digest(),
        "nonce": "0" * 32,
        "issued_ms": NOON,
        "expires_ms": NOON + DAY,
        "method": "sshsig",
        "signature": "signed",
        "seen": seen,
    }
    return Approval(**{**fields, **changes})


def event(plan: Plan, earlier: Plan, **changes: Any) -> Carried:
    fields: dict[str, Any] = {
        "at_ms": NOON + 10,
        "by": "olga",
        "plan_digest": plan.digest(),
        "earlier_run": OLD,
        "earlier_digest": earlier.digest(),
        "earlier_plan": earlier,
        "equivalence_digest": equivalence_digest(earlier),
        "approvals": (approval(earlier),),
    }
    return Carried(**{**fields, **changes})


def waiting(plan: Plan, name: str = NEW) -> Run:
    """A run that waits for approval of this plan."""
    words = ticket()
    begun = opened(
        name,
        Opened(
            at_ms=NOON,
            ticket=words,
            ticket_digest=plan.ticket_digest,
            by="olga",
            draft=None,
            agent=False,
        ),
    )
    return begun._replace(phase="waiting", plan=plan, plan_digest=plan.digest())


def again(plan: Plan, data: st.DataObject) -> Plan:
    """The same change, planned again: other names, another order."""
    names = [one.id for one in plan.steps]
    others = data.draw(st.permutations([f"s{number}" for number in range(len(names))]))
    to = dict(zip(names, others, strict=True))
    return shuffled(renamed(plan, to.__getitem__), lambda n: data.draw(st.integers(0, n - 1)))


def purpose(run: Run) -> Purpose:
    return Purpose(
        run=run.id,
        plan_digest=run.plan_digest,
        environment=run.planned.environment,
        trust_digest="5" * 64,
        now_ms=NOON + 20,
        earlier=None if problem_with_carried(run) else taken_from(run),
    )


def survives(plan: Plan, earlier: Plan) -> bool:
    """Carry consent over as a machine would that does not look, and ask whether it counts."""
    said = event(plan, earlier, approvals=(approval(earlier),))
    try:
        run = evolve(waiting(plan), said)
    except IllegalEvent:
        return False
    return all(problem_with_approval(given, purpose(run)) is None for given in run.approvals)


def warrants(plan: Plan, earlier: Plan) -> Callable[[str, str], Warrant]:
    """The warrants of a driver that claims that one step is the other."""
    here, there, consent = Warrants(plan), Warrants(earlier), approval(earlier)
    places = {one.id: index for index, one in enumerate(plan.steps)}

    def make(name: str, old_name: str) -> Warrant:
        one = plan.steps[places[name]]
        params: Any = {p.name: 1 if p.output else p.value for p in one.params}
        brief = Brief(
            key=f"{NEW}/{name}/apply/1",
            verb="apply",
            attempt=1,
            folder="/",
            spec=plan.actors[one.actor].spec,
            params=params,
            targets=tuple(Target(name=target) for target in one.targets),
            timeout_s=1,
            workdir="/",
        )
        proof = there.earlier(OLD, old_name)
        return here.make(NEW, places[name], brief, approvals=(consent,), settings={}, earlier=proof)

    return make


def acts(plan: Plan) -> list[str]:
    return [one.id for one in plan.steps if one.gate is None]


def allowed(given: Warrant) -> bool:
    pinned = given.header["actors"][given.step.actor]["digest"]
    return problem_with_warrant(given, pinned) is None


# --- it survives ----------------------------------------------------------------------------------


@settings(max_examples=40)
@given(plans(), st.data())
def test_consent_survives_an_equivalent_plan(plan: Plan, data: st.DataObject) -> None:
    other = again(plan, data)
    assert survives(other, plan)


@settings(max_examples=40)
@given(plans(), st.data())
def test_every_step_of_an_equivalent_plan_is_proved_to_be_in_the_one_approved(
    plan: Plan, data: st.DataObject
) -> None:
    other = again(plan, data)
    names = same_steps(other, plan)
    assert names is not None
    assert sorted(names) == sorted(one.id for one in other.steps)
    assert sorted(names.values()) == sorted(one.id for one in plan.steps)
    make = warrants(other, plan)
    assert all(allowed(make(name, names[name])) for name in acts(other))


# --- it dies of any other change ------------------------------------------------------------------


def changed_anywhere(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List every place of a plan's JSON that holds a plain value."""
    if isinstance(value, dict):
        inner = [(key, one) for key, one in value.items()]
    elif isinstance(value, list):
        inner = list(enumerate(value))
    else:
        return [path]
    return [place for key, one in inner for place in changed_anywhere(one, (*path, key))]


def changed(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str() if len(value) == 64:
            return ("1" if value[0] == "0" else "0") + value[1:]
        case str():
            return f"{value}x"
        case _:
            return None


@settings(max_examples=60)
@given(plans(), st.data())
def test_consent_dies_of_any_other_change(plan: Plan, data: st.DataObject) -> None:
    other = again(plan, data)
    broken = _steps_changed(other, data) if data.draw(st.booleans()) else _broken(other, data)
    assert broken != other
    assert not survives(broken, plan)
    assert same_steps(broken, plan) is None


def _broken(plan: Plan, data: st.DataObject) -> Plan:
    """Change one value, anywhere in a plan, but for the names of its steps."""
    raw = plan.model_dump(mode="json")
    named = ("id", "after", "output")
    places = [p for p in changed_anywhere(raw) if p[0] != "format" and not {*named} & {*p[2:]}]
    place = data.draw(st.sampled_from(places))
    here = raw
    for key in place[:-1]:
        here = here[key]
    here[place[-1]] = changed(here[place[-1]])
    try:
        broken = Plan.model_validate(raw, strict=False)
    except ValueError:
        assume(False)
    assume(broken != plan)
    return broken


@settings(max_examples=40)
@given(plans(), st.data())
def test_a_driver_that_lies_about_the_earlier_plan_gets_no_step_of_its_own(
    plan: Plan, data: st.DataObject
) -> None:
    assume(acts(plan))
    other = again(plan, data)
    name = data.draw(st.sampled_from(acts(other)))
    index = next(place for place, one in enumerate(other.steps) if one.id == name)
    one = other.steps[index]
    changes: list[dict[str, Any]] = [{"targets": (*one.targets, "another")}]
    changes += [{"params": ()}] if one.params else []
    change = data.draw(st.sampled_from(changes))
    steps = (*other.steps[:index], one.model_copy(update=change), *other.steps[index + 1 :])
    lying = with_steps(other, steps)
    make = warrants(lying, plan)
    assert not any(allowed(make(name, old)) for old in acts(plan))


HEADER: Final = ("environment", "max_parallel", "ticket_digest", "catalog_digest", "window")


@pytest.mark.parametrize("field", HEADER)
def test_the_head_of_the_earlier_plan_is_the_same_but_for_its_root(field: str) -> None:
    plan = plan_of(step("a"), step("b", after=("a",)))
    given = warrants(plan, plan)("a", "a")
    assert allowed(given)
    earlier = given.earlier
    assert earlier is not None
    header = {**earlier.header, field: changed(earlier.header[field]) or {"start_ms": 1}}
    other = earlier.model_copy(update={"header": header})
    signed = approval(plan, plan_digest=digest(header))
    lying = given.model_copy(update={"earlier": other, "approvals": (signed,)})
    assert not allowed(lying), "somebody approved the other head; it is not this plan's"


def test_a_head_of_another_digest_warrants_nothing() -> None:
    plan = plan_of(step("a"))
    given = warrants(plan, plan)("a", "a")
    pinned = plan.actors[plan.steps[0].actor].digest
    for change in ({"plan_digest": "f" * 64}, {"header": {**given.header, "max_parallel": 999}}):
        problem = problem_with_warrant(given.model_copy(update=change), pinned)
        assert problem == "the plan's header has another digest"


def test_a_step_is_proved_with_its_own_root_and_in_another_run() -> None:
    plan = plan_of(step("a"), step("b", after=("a",)))
    given = warrants(plan, plan)("a", "a")
    earlier = given.earlier
    assert earlier is not None
    lies: list[dict[str, Any]] = [{"proof": ()}, {"run": NEW}, {"step": plan.steps[1]}]
    for lie in lies:
        assert not allowed(given.model_copy(update={"earlier": earlier.model_copy(update=lie)}))
    assert not allowed(given.model_copy(update={"earlier": None})), "it is for another run"


# --- the fact -------------------------------------------------------------------------------------

PLAN: Final = plan_of(step("a"), step("b", after=("a",)))


@pytest.mark.parametrize(
    "lie",
    [
        {"plan_digest": "f" * 64},
        {"earlier_run": NEW},
        {"approvals": (approval(PLAN, method="claimed", signature=None),)},
        {"approvals": (approval(PLAN, seen=None),)},
        {"approvals": (approval(PLAN, run="CHG-7.1"),)},
        {"approvals": (approval(PLAN, plan_digest="f" * 64),)},
        {"approvals": (approval(PLAN, environment="elsewhere"),)},
        {"approvals": (approval(PLAN, principal="olga"),)},
        {"approvals": (approval(PLAN, expires_ms=NOON + 10),)},
        {"approvals": (approval(PLAN, issued_ms=NOON + 11),)},
        {"equivalence_digest": "f" * 64},
    ],
    ids=str,
)
def test_a_fact_that_says_something_else_is_refused(lie: dict[str, Any]) -> None:
    with pytest.raises(IllegalEvent, match="carried over"):
        evolve(waiting(PLAN), event(PLAN, PLAN, **lie))


def test_a_ticket_that_is_another_one_is_refused() -> None:
    seen = approval(PLAN).seen
    assert seen is not None
    other = approval(PLAN, seen=seen.model_copy(update={"ticket_digest": "f" * 64}))
    with pytest.raises(IllegalEvent):
        evolve(waiting(PLAN), event(PLAN, PLAN, approvals=(other,)))


def test_consent_is_carried_over_once_and_dies_with_the_plan() -> None:
    run = evolve(waiting(PLAN), event(PLAN, PLAN))
    assert run.phase == "vetting"
    assert [given.principal for given in run.approvals] == ["bea"]
    with pytest.raises(IllegalEvent, match="a second time"):
        evolve(run._replace(phase="waiting"), event(PLAN, PLAN))
    twice = approval(PLAN)
    with pytest.raises(IllegalEvent):
        evolve(waiting(PLAN)._replace(approvals=(twice,)), event(PLAN, PLAN))
    replanned = evolve(
        run._replace(phase="drafting"),
        Planned(at_ms=NOON + 20, plan=PLAN, plan_digest=PLAN.digest()),
    )
    assert (replanned.carried, replanned.approvals) == (None, ())
    assert taken_from(replanned) is None
    assert problem_with_carried(replanned) is None


def test_the_plans_themselves_are_compared() -> None:
    other = plan_of(step("a"), step("b"))
    run = evolve(waiting(PLAN), event(PLAN, PLAN))
    said = run.carried
    assert said is not None
    lies: list[tuple[dict[str, Any], str]] = [
        ({"earlier_plan": other}, "is not the one that was approved"),
        ({"earlier_plan": other, "earlier_digest": other.digest()}, "is not equivalent"),
    ]
    for lie, says in lies:
        problem = problem_with_carried(run._replace(carried=said.model_copy(update=lie)))
        assert problem is not None
        assert says in problem
    forged = run._replace(plan=other)
    assert "is not equivalent" in (problem_with_carried(forged) or "")


def test_only_a_run_that_stands_ready_lets_its_consent_go() -> None:
    run = waiting(PLAN, OLD)
    assert is_free(run, NEW)
    assert is_free(run._replace(phase="approved"), NEW)
    for phase in ("running", "succeeded", "rejected", "held", "starting", "rolled_back"):
        assert not is_free(run._replace(phase=phase), NEW)
    gone = run._replace(phase="cancelled", reason=f"olga: {CARRIED_TO}{NEW}")
    assert is_free(gone, NEW)
    assert not is_free(gone, "CHG-1.3")
    assert not is_free(run._replace(phase="cancelled", reason="olga: not today"), NEW)


def test_what_was_typed_is_not_carried_over_and_one_equivalence_is_not_another() -> None:
    run = evolve(waiting(PLAN), event(PLAN, PLAN))
    for one, says in (
        (approval(PLAN, method="claimed", signature=None), "only a signature is carried over"),
        (approval(PLAN, plan_digest="f" * 64), "another plan"),
        (approval(PLAN, run="CHG-9.1"), "for another run"),
    ):
        assert says in (problem_with_approval(one, purpose(run)) or "")
    seen = approval(PLAN).seen
    assert seen is not None
    other = approval(PLAN, seen=seen.model_copy(update={"equivalence_digest": "f" * 64}))
    assert "not equivalent" in (problem_with_approval(other, purpose(run)) or "")
