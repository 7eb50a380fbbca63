"""Where the ladder stops looking: what is too large for a table of cases."""

from __future__ import annotations

from typing import Any

from orchestrator.pure.compile import Limits
from orchestrator.pure.findings import Names
from orchestrator.pure.graph import Order
from orchestrator.pure.model import Inventory, InventoryObject, Plan
from pure.small_world import compiled


def hosts(count: int) -> Inventory:
    """So many hosts of one group."""
    names = (f"host{number:04d}" for number in range(count))
    return Inventory(
        objects=tuple(
            InventoryObject(name=n, environment="staging", groups=("all",)) for n in names
        )
    )


def codes(answer: object) -> list[str]:
    """The codes of findings."""
    assert isinstance(answer, tuple), answer
    return [found.code for found in answer]


def idle(name: str, after: list[str] | None = None) -> dict[str, Any]:
    """A step that does nothing to nothing."""
    return {"id": name, "actor": "new.actor", "after": after or []}


def test_a_report_is_bounded_and_counts_the_rest() -> None:
    steps = [{"id": f"s{number}", "actor": f"no.such{number}"} for number in range(60)]
    answer = compiled({"steps": steps})
    assert isinstance(answer, tuple)
    assert (len(answer), answer[-1].code) == (51, "R2-more")
    assert answer[-1].message.startswith("10 more findings")
    assert answer[0].path == ("steps", 0, "actor")


def test_the_targets_of_all_steps_together_are_bounded() -> None:
    steps = [{"id": "a", "actor": "web.inspect", "params": {"hosts": ["@all"]}}]
    answer = compiled({"steps": steps}, limits=Limits(max_steps=1), things=hosts(21))
    assert codes(answer) == ["R7-too-many-targets"]
    assert isinstance(
        compiled({"steps": steps}, limits=Limits(max_steps=1), things=hosts(20)), Plan
    )


def test_gates_that_count_are_bounded_in_a_large_plan() -> None:
    ask = {"actor": "interlock.confirm", "params": {"text": "Go on?", "expect": "targets"}}
    answer = compiled({"steps": [{"id": f"g{number}", **ask} for number in range(2300)]})
    assert codes(answer) == ["R7-too-many-confirms"]


def test_a_shared_label_must_be_short_enough_to_lock() -> None:
    labels = {"array": "x" * 400}
    volume = InventoryObject(name="v", environment="staging", object="volume", labels=labels)
    steps = [{"id": "a", "actor": "vol.grow", "params": {"volumes": ["v"]}}]
    assert codes(compiled({"steps": steps}, things=Inventory(objects=(volume,)))) == [
        "R8-label-too-long"
    ]


def test_an_order_that_takes_too_long_to_find_must_be_said() -> None:
    restart = {"actor": "web.restart", "params": {"hosts": ["web01"]}}
    steps: list[dict[str, Any]] = [{"id": "early", **restart}]
    layer: list[str] = []
    for level in range(4):
        names = [f"l{level}_{number}" for number in range(80)]
        steps += [idle(name, layer) for name in names]
        layer = names
    steps.append({"id": "late", **restart, "after": layer})
    answer = compiled({"steps": steps})
    assert codes(answer) == ["R8-order-unproven"]
    steps[-1]["after"] = [*layer, "early"]
    assert isinstance(compiled({"steps": steps}), Plan)


def test_a_reference_must_be_ordered_within_bounds() -> None:
    probe = {"id": "p", "actor": "web.probe", "params": {"hosts": ["web01"]}}
    steps: list[dict[str, Any]] = [probe, idle("s0", ["p"])]
    steps += [idle(f"s{number}", [f"s{number - 1}"]) for number in range(1, 2500)]
    uses = {"id": "u", "actor": "calc.plan", "params": {"count": {"output": "p.load"}}}
    answer = compiled({"steps": [*steps, {**uses, "after": ["s2499"]}]})
    assert codes(answer) == ["R5-unordered-reference"]
    assert isinstance(compiled({"steps": [*steps, {**uses, "after": ["s1000"]}]}), Plan)


def test_many_same_changes_of_one_target_are_bounded_by_blocks() -> None:
    near = [{"name": f"near{n}", "environment": "staging", "labels": {"rack": "r"}} for n in (1, 2)]
    things = Inventory.model_validate(
        {
            "objects": tuple(InventoryObject(**each) for each in near),  # type: ignore[arg-type]  # plain test data
            "budgets": ({"label": "rack", "maximum": 1},),
        }
    )
    steps = [
        {"id": "first", "actor": "web.restart", "params": {"hosts": ["near1"]}},
        {"id": "other", "actor": "web.reload", "params": {"hosts": ["near1"]}, "after": []},
        {"id": "then", "actor": "web.restart", "params": {"hosts": ["near2"]}, "after": ["first"]},
    ]
    assert codes(compiled({"steps": steps}, things=things)) == ["R8-over-budget"]


def test_a_long_list_of_names_still_finds_the_nearest_and_stops_answering() -> None:
    names = Names(f"host{number:05d}" for number in range(5000))
    assert names.nearest("host025000")[0] == "host02500"
    for number in range(100):
        names.nearest(f"zz{number}")
    assert names.nearest("host0260") == ()


def test_a_search_that_has_spent_its_visits_proves_nothing() -> None:
    before = [(), (), *((0, 1) for _ in range(3)), (2, 3)]
    order = Order(before, [None] * len(before))
    assert order.proves(0, 5) is True
    assert order.proves(4, 5) is False
    assert order.proves(5, 4) is False
    order._left = 0  # the bound itself is too large to reach in a test
    assert order.proves(0, 5) is None


def test_a_chain_of_ten_thousand_steps_on_one_target_compiles() -> None:
    restart = {"actor": "web.restart", "params": {"hosts": ["web01"]}}
    steps = [{"id": f"s{n}", **restart, "after": [f"s{n - 1}"] if n else []} for n in range(10_000)]
    plan = compiled({"steps": steps})
    assert isinstance(plan, Plan)
    assert len(plan.digest()) == 64
