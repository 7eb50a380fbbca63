"""The digest of a change is blind to the names and the order of its steps, and to nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.pure.equivalence import equivalence_digest
from orchestrator.pure.model import Condition, Confirm, Lock, Param, Plan, PlanStep, Slot, Window
from pure.plans import plan_of, plans, step

if TYPE_CHECKING:
    from collections.abc import Callable

    from pure.plans import Sketch


def ask(name: str, *after: str) -> Sketch:
    """Sketch a gate; all gates of these tests say the same."""
    return step(name, after=after, confirm="7")


def with_steps(plan: Plan, steps: tuple[PlanStep, ...]) -> Plan:
    return plan.model_copy(update={"steps": steps})


def renamed(plan: Plan, name: Callable[[str], str]) -> Plan:
    """Give every step another name, wherever it is named."""

    def output(text: str) -> str:
        before, _, last = text.rpartition(".")
        return f"{name(before)}.{last}"

    steps = []
    for one in plan.steps:
        when = one.when and one.when.model_copy(update={"output": output(one.when.output)})
        params = tuple(
            p.model_copy(update={"output": output(p.output)}) if p.output else p for p in one.params
        )
        after = tuple(name(other) for other in one.after)
        change = {"id": name(one.id), "after": after, "when": when, "params": params}
        steps.append(one.model_copy(update=change))
    return with_steps(plan, tuple(steps))


def shuffled(plan: Plan, draw: Callable[[int], int]) -> Plan:
    """Put the steps in another order, each after those that it follows."""
    left, order, placed = list(plan.steps), [], set[str]()
    while left:
        free = [one for one in left if {*one.after} <= placed]
        chosen = free[draw(len(free))]
        left.remove(chosen)
        placed.add(chosen.id)
        order.append(chosen.model_copy(update={"after": tuple(reversed(chosen.after))}))
    return with_steps(plan, tuple(order))


@given(plans(), st.data())
def test_names_and_order_do_not_matter(plan: Plan, data: st.DataObject) -> None:
    names = [one.id for one in plan.steps]
    others = data.draw(st.permutations([f"s{number}" for number in range(len(names))]))
    to = dict(zip(names, others, strict=True))
    again = shuffled(renamed(plan, to.__getitem__), lambda n: data.draw(st.integers(0, n - 1)))
    assert equivalence_digest(again) == equivalence_digest(plan)


def _steps_changed(plan: Plan, data: st.DataObject) -> Plan:
    index = data.draw(st.integers(0, len(plan.steps) - 1))
    one = plan.steps[index]
    changes: list[dict[str, Any]] = [
        {"targets": (*one.targets, "another")},
        {"params": (*one.params, Param(name="more", value=1, source="draft"))},
        {"slot": Slot(wave="another", slice=1)},
        {"gate": Confirm(question="Really?", expected="7")},
    ]
    changes += [{"after": one.after[1:]}] if one.after else []
    changes += [{"when": None}] if one.when else []
    if index and not one.when:
        first = plan.steps[0].id
        changes.append({"when": Condition(output=f"{first}.count", op="==", value=7)})
    missing = [other.id for other in plan.steps[:index] if other.id not in one.after]
    changes += [{"after": (*one.after, missing[-1])}] if missing else []
    changed = one.model_copy(update=data.draw(st.sampled_from(changes)))
    return with_steps(plan, (*plan.steps[:index], changed, *plan.steps[index + 1 :]))


@given(plans(), st.data())
def test_any_change_of_a_step_matters(plan: Plan, data: st.DataObject) -> None:
    assert equivalence_digest(_steps_changed(plan, data)) != equivalence_digest(plan)


@given(plans(), st.data())
def test_a_step_more_or_less_matters(plan: Plan, data: st.DataObject) -> None:
    extra = plan.steps[0].model_copy(update={"id": "zz-extra", "after": (), "when": None})
    digest = equivalence_digest(plan)
    assert equivalence_digest(with_steps(plan, (*plan.steps, extra))) != digest
    named = {name for one in plan.steps for name in one.after}
    last = [one for one in plan.steps if one.id not in named]
    gone = data.draw(st.sampled_from(last))
    rest = tuple(one for one in plan.steps if one is not gone)
    named_outputs = [p.output or "" for one in rest for p in one.params]
    named_outputs += [one.when.output for one in rest if one.when]
    if not any(text.startswith(f"{gone.id}.") for text in named_outputs):
        assert equivalence_digest(with_steps(plan, rest)) != digest


@pytest.mark.parametrize(
    "change",
    [
        {"environment": "prod"},
        {"ticket_digest": "0" * 64},
        {"catalog_digest": "0" * 64},
        {"inventory_digest": "0" * 64},
        {"actors": {}},
        {"locks": (Lock(resource="another", mode="shared"),)},
        {"window": Window(start_ms=1, end_ms=2)},
        {"on_window_close": "hold"},
        {"max_parallel": 1},
        {"waves": ()},
        {"timing": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_else_of_a_plan_matters(change: dict[str, Any]) -> None:
    base = plan_of(step("a"), step("b", after=("a",)))
    wave = {"id": "w", "slices": 1, "stop_after": 1}
    plan = Plan.model_validate({**base.model_dump(), "waves": (wave,), "max_parallel": 3})
    if change == {"timing": None}:
        change = {"timing": plan.timing.model_copy(update={"forward_s": plan.timing.forward_s + 1})}
    changed = plan.model_copy(update=change)
    assert changed != plan
    assert equivalence_digest(changed) != equivalence_digest(plan)


def test_the_order_of_locks_does_not_matter() -> None:
    one, other = (Lock(resource=name, mode="shared") for name in ("a", "b"))
    plan = plan_of(step("a"))
    digests = {
        equivalence_digest(plan.model_copy(update={"locks": locks}))
        for locks in ((one, other), (other, one))
    }
    assert len(digests) == 1


def test_after_which_of_two_equal_steps_matters() -> None:
    """Steps that say the same are still two: what hangs on one is not what hangs on both."""

    def hung(*after: str) -> Plan:
        lows = [ask(f"l{number}", name) for number, name in enumerate(after)]
        return plan_of(ask("a"), ask("b"), *lows)

    assert equivalence_digest(hung("a", "a")) != equivalence_digest(hung("a", "b"))
    assert equivalence_digest(hung("a", "a")) == equivalence_digest(hung("b", "b"))
    assert equivalence_digest(hung("a", "b")) == equivalence_digest(hung("b", "a"))


def test_a_ring_of_six_is_not_two_rings_of_three() -> None:
    """Coloring alone cannot tell these apart; the digest is over the numbered whole."""

    def rings(*pairs: tuple[int, int]) -> Plan:
        tops = [ask(f"t{number}") for number in range(6)]
        lows = [ask(f"l{n}", *(f"t{top}" for top in pair)) for n, pair in enumerate(pairs)]
        return plan_of(*tops, *lows)

    six = rings((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0))
    threes = rings((0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3))
    assert equivalence_digest(six) != equivalence_digest(threes)
    turned = rings((3, 4), (1, 0), (5, 0), (2, 3), (4, 5), (2, 1))
    assert equivalence_digest(six) == equivalence_digest(turned)


def test_many_steps_that_are_alike_are_still_one_change() -> None:
    alike = plan_of(*(ask(f"a{number}") for number in range(200)))
    backwards = with_steps(alike, tuple(reversed(alike.steps)))
    assert equivalence_digest(alike) == equivalence_digest(backwards)
