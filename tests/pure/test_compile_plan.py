"""What a compiled plan holds: order, copies, gates, params, locks and worst-case times."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.pure.compile import Limits
from orchestrator.pure.model import Confirm, Hold, Lock, Plan, PlanStep, Wave
from pure.small_world import compiled


def plan_of(draft: Any, **changes: Any) -> Plan:
    """Compile what must compile."""
    plan = compiled(draft, **changes)
    assert isinstance(plan, Plan), plan
    return plan


def steps_of(draft: Any, **changes: Any) -> dict[str, PlanStep]:
    """The steps of a plan by id."""
    return {step.id: step for step in plan_of(draft, **changes).steps}


def inspect(name: str, *after: str, hosts: str = "web01") -> dict[str, Any]:
    """A step that reads one host."""
    found = {"id": name, "actor": "web.inspect", "params": {"hosts": [hosts]}}
    return {**found, "after": list(after)}


def test_steps_keep_the_drafts_order_unless_one_must_wait() -> None:
    draft = {"steps": [inspect("c", "b"), inspect("z"), inspect("b"), inspect("a")]}
    assert [step.id for step in plan_of(draft).steps] == ["z", "b", "c", "a"]


def test_each_param_says_where_it_came_from() -> None:
    params = {"hosts": ["web01"], "grace_s": 20}
    probe = {"id": "p", "actor": "web.probe", "params": {"hosts": ["web01"]}}
    size = {"id": "n", "actor": "calc.plan", "after": ["p"]}
    draft = {
        "steps": [
            probe,
            {"id": "a", "actor": "web.restart", "after": ["p"], "params": params},
            {"id": "b", "actor": "web.restart", "after": ["a"], "params": {"hosts": ["web01"]}},
            {**size, "params": {"count": {"output": "p.load"}, "flag": True, "names": ["a", "b"]}},
        ]
    }
    steps = steps_of(draft)
    first = [(p.name, p.value, p.source) for p in steps["a"].params]
    assert first == [("grace_s", 20, "ticket")]
    assert [(p.value, p.source) for p in steps["b"].params] == [(10, "default")]
    assert [(p.name, p.value, p.output, p.source) for p in steps["n"].params] == [
        ("count", None, "p.load", "output"),
        ("flag", True, None, "draft"),
        ("names", ("a", "b"), None, "ticket"),
    ]
    other = steps_of(draft, params={"grace_s": 21, "names": ["b", "a"]})
    assert {p.source for p in other["a"].params} == {"draft"}


def test_true_in_the_ticket_is_not_one_in_the_draft() -> None:
    draft = {"steps": [{"id": "n", "actor": "calc.plan", "params": {"count": 1}}]}
    assert steps_of(draft, params={"count": True})["n"].params[0].source == "draft"


def test_targets_are_sorted_unique_and_without_the_excluded() -> None:
    hosts = ["web03", "@web", "!web02", "web01", "rack:r9"]
    draft = {"steps": [{"id": "a", "actor": "web.inspect", "params": {"hosts": hosts}}]}
    assert steps_of(draft)["a"].targets == ("near01", "near02", "web01", "web03", "web04")


ROLLING = {
    "steps": [
        inspect("first"),
        {"id": "p", "actor": "web.probe", "wave": "w", "after": ["first"]},
        {
            "id": "r",
            "actor": "web.restart",
            "wave": "w",
            "after": ["p"],
            "when": {"output": "p.load", "op": "<", "value": 9},
            "params": {"grace_s": {"output": "p.load"}},
        },
        {"id": "last", "actor": "interlock.confirm", "after": ["r"],
         "params": {"text": "Is it well?", "expect": "name"}},
    ],
    "waves": [{"id": "w", "targets": ["@web", "!web02"], "canary": 1, "size": 2, "stop_after": 2}],
}  # fmt: skip


def test_a_wave_is_copied_slice_by_slice_the_canary_first() -> None:
    plan = plan_of({**ROLLING})
    assert [s.id for s in plan.steps] == ["first", "p@1", "r@1", "p@2", "r@2", "last"]
    steps = {step.id: step for step in plan.steps}
    assert (steps["p@1"].targets, steps["p@2"].targets) == (("web01",), ("web03", "web04"))
    assert steps["p@1"].after == steps["p@2"].after == ("first",)
    assert (steps["r@2"].after, steps["last"].after) == (("p@2",), ("r@1", "r@2"))
    assert steps["r@2"].params[0].output == "p@2.load"
    assert steps["r@2"].when is not None
    assert steps["r@2"].when.output == "p@2.load"
    slot = steps["r@2"].slot
    assert slot is not None
    assert (slot.wave, slot.slice, steps["last"].slot) == ("w", 2, None)
    assert plan.waves == (Wave(id="w", slices=2, stop_after=2),)


def test_a_canary_can_be_the_whole_wave() -> None:
    wave = {"id": "w", "targets": ["@web"], "canary": 9, "size": 1}
    draft = {"steps": [{"id": "p", "actor": "web.probe", "wave": "w"}], "waves": [wave]}
    assert [step.id for step in plan_of(draft).steps] == ["p@1"]


def test_a_gate_asks_for_the_distinct_targets_of_all_that_follows() -> None:
    ask = {"actor": "interlock.confirm", "params": {"text": "How many?", "expect": "targets"}}
    draft = {
        "steps": [
            {"id": "g", **ask},
            inspect("a", "g"),
            inspect("b", "a", hosts="@web"),
            {"id": "w", "actor": "web.probe", "wave": "w", "after": ["a", "g"]},
            inspect("aside", hosts="mail01.ams1"),
        ],
        "waves": [{"id": "w", "targets": ["near01", "web01"], "size": 1}],
    }
    gate = steps_of(draft)["g"].gate
    assert gate == Confirm(question="How many?", expected="5")


def test_gates_carry_what_the_machine_needs_and_no_params() -> None:
    hold = {"actor": "interlock.hold", "params": {"until": "2026-11-25T02:00:00+01:00"}}
    ask = {"actor": "interlock.confirm", "params": {"text": "Go?", "expect": "name"}}
    plan = plan_of({"steps": [{"id": "h", **hold}, {"id": "c", **ask}]})
    assert [step.gate for step in plan.steps] == [
        Hold(until_ms=1_795_568_400_000),
        Confirm(question="Go?", expected="staging"),
    ]
    assert [step.params for step in plan.steps] == [(), ()]
    assert plan.actors == {}


def test_locks_are_exclusive_for_what_is_changed_and_shared_for_what_is_read() -> None:
    draft = {
        "steps": [
            inspect("a", hosts="web01"),
            inspect("b", hosts="web02"),
            {"id": "c", "actor": "web.restart", "after": ["b"], "params": {"hosts": ["web02"]}},
            inspect("d", "c", hosts="web02"),
            {"id": "e", "actor": "vol.grow", "params": {"volumes": ["vol03", "vol04"]}},
        ]
    }
    plan = plan_of(draft)
    assert plan.locks == (
        Lock(resource="array/a2", mode="exclusive"),
        Lock(resource="host/web01", mode="shared"),
        Lock(resource="host/web02", mode="exclusive"),
        Lock(resource="volume/vol03", mode="exclusive"),
        Lock(resource="volume/vol04", mode="exclusive"),
    )
    assert set(plan.actors) == {"web.inspect", "web.restart", "vol.grow"}


def slow(name: str, *after: str, hosts: str) -> dict[str, Any]:
    """A step of 400 s in the worst case (3 x 120, waits 10 + 30), undone in 250 s."""
    found = {"id": name, "actor": "slow.copy", "params": {"hosts": [hosts]}}
    return {**found, "after": list(after)}


@pytest.mark.parametrize(("parallel", "forward_s"), [(1, 1200), (2, 1000), (10, 840)])
def test_the_worst_case_is_the_longest_chain_and_a_share_of_the_rest(
    parallel: int, forward_s: int
) -> None:
    steps = [slow("a", hosts="web01"), slow("b", "a", hosts="web01"), slow("c", hosts="web02")]
    timing = plan_of({"steps": steps, "max_parallel": parallel}).timing
    assert timing.forward_s == forward_s
    assert timing.last_safe_abort_ms is None


def test_no_more_act_at_a_time_than_the_workspace_lets() -> None:
    steps = [slow(f"a{number}", hosts=f"web0{number}") for number in (1, 2, 3, 4)]
    draft = {"steps": steps, "max_parallel": 40}
    bound = compiled(draft, limits=Limits(max_parallel=1))
    assert isinstance(bound, Plan)
    assert (bound.max_parallel, bound.timing.forward_s) == (1, 4 * 400)
    assert plan_of({**draft, "max_parallel": 1}).timing == bound.timing


def test_slices_follow_each_other_in_time() -> None:
    wave = {"id": "w", "targets": ["@web"], "size": 1}
    draft = {"steps": [{"id": "a", "actor": "slow.copy", "wave": "w"}], "waves": [wave]}
    timing = plan_of(draft).timing
    assert (timing.forward_s, timing.rollback_s) == (4 * 400, 4 * 250)


def test_what_follows_a_hold_starts_when_it_ends() -> None:
    window = {"start": "2026-11-25T02:00:00Z", "end": "2026-11-25T04:00:00Z"}
    hold = {"actor": "interlock.hold", "params": {"until": "2026-11-25T03:00:00Z"}}
    draft = {
        "steps": [slow("a", hosts="web01"), {"id": "h", **hold}, slow("b", "a", "h", hosts="web01")]
    }
    timing = plan_of({**draft, "max_parallel": 1}, window=window).timing
    assert timing.forward_s == 3600 + 800
    assert timing.rollback_s == 500
    assert timing.last_safe_abort_ms == 1_795_579_200_000 - 500_000 - 120_000
    assert plan_of({**draft, "max_parallel": 1}).timing.forward_s == 800


def test_what_only_reads_or_cannot_be_undone_takes_no_time_to_undo() -> None:
    wipe = {"id": "w", "actor": "os.wipe", "accept_no_undo": True, "params": {"hosts": ["web01"]}}
    assert plan_of({"steps": [wipe, inspect("a", "w")]}).timing.rollback_s == 0


def test_a_drain_before_and_an_enable_after_let_a_reboot_compile() -> None:
    hosts = {"params": {"hosts": ["web01", "web02"]}}
    draft = {
        "steps": [
            {"id": "drain", "actor": "lb.drain", **hosts},
            {"id": "boot", "actor": "os.reboot", "after": ["drain"], **hosts},
            {"id": "enable", "actor": "lb.enable", "after": ["boot"], **hosts},
        ]
    }
    assert len(plan_of(draft).steps) == 3


def test_slices_of_one_wave_are_ordered_without_edges() -> None:
    steps = [
        {"id": "r", "actor": "web.restart", "wave": "w"},
        {"id": "l", "actor": "web.reload", "wave": "w"},
    ]
    wave = {"id": "w", "targets": ["@near", "@web"], "size": 1}
    assert len(plan_of({"steps": steps, "waves": [wave]}).steps) == 12


def test_steps_that_disturb_the_same_target_count_it_once() -> None:
    near = {"params": {"hosts": ["near01"]}}
    other = {"params": {"hosts": ["near02"]}}
    draft = {
        "steps": [
            {"id": "a", "actor": "web.restart", **near},
            {"id": "b", "actor": "web.reload", **near},
            {"id": "c", "actor": "web.restart", "after": ["a", "b"], **other},
            {"id": "d", "actor": "web.reload", "after": ["a", "b"], **other},
        ]
    }
    assert len(plan_of(draft).steps) == 4
    draft["steps"][3]["after"] = ["b"]
    findings = compiled(draft)
    assert isinstance(findings, tuple)
    assert [(f.code, f.path) for f in findings] == [("R8-over-budget", ("steps", 3))]


def test_the_same_draft_compiles_to_the_same_bytes() -> None:
    assert plan_of(ROLLING).digest() == plan_of(ROLLING).digest()
    assert plan_of(ROLLING).digest() != plan_of(ROLLING, title="Another").digest()
