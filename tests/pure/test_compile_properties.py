"""What holds for every draft: compiled plans are ordered and safe, and no input whatever raises."""

from __future__ import annotations

from copy import deepcopy
from itertools import combinations
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.pure.draft import Finding, Question, Refusal
from orchestrator.pure.findings import apply_edit
from orchestrator.pure.graph import Order, levels, topological
from orchestrator.pure.model import Plan, PlanStep
from orchestrator.pure.window import Part, longest_s
from pure.small_world import catalog, compiled, inventory

ACTORS = ("web.restart", "web.reload", "web.probe", "web.inspect", "lb.drain", "web.patch")
HOSTS = ("web01", "web02", "web03", "near01", "near02")
VALID = {
    "decision": "plan",
    "max_parallel": 3,
    "steps": [
        {"id": "p", "actor": "web.probe", "params": {"hosts": ["@web", "!web04"]}, "why": "look"},
        {"id": "g", "actor": "interlock.confirm", "after": ["p"],
         "params": {"text": "Go?", "expect": "targets"}},
        {"id": "r", "actor": "web.restart", "wave": "w", "after": ["g"],
         "params": {"grace_s": 3}, "when": {"output": "p.load", "op": "<", "value": 9}},
        {"id": "c", "actor": "calc.plan", "after": ["r"],
         "params": {"count": {"output": "p.load"}}},
    ],
    "waves": [{"id": "w", "targets": ["@web", "!web04"], "size": 1, "canary": 1}],
}  # fmt: skip

scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.floats()
words = st.sampled_from(
    ["a", "p", "w", "web01", "@web", "!web01", "web", "rack:r9", "", "p.load", "new.actor",
     "web.restart", "interlock.hold", "plan", "ask", "==", "finish", "name", "\ud800", "e\u0301"]
)  # fmt: skip
keys = st.sampled_from(
    ["decision", "steps", "waves", "id", "actor", "params", "after", "when", "wave", "output",
     "op", "value", "targets", "size", "canary", "hosts", "grace_s", "until", "text", "expect",
     "max_parallel", "question", "choices", "accept_no_undo", "[key]", "bool"]
)  # fmt: skip
anything = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys | words, inner, max_size=5),
    max_leaves=12,
)


@st.composite
def drafts(draw: st.DrawFn) -> Any:
    """A draft whose steps wait for earlier ones, and may want an order that nobody has said."""
    count = draw(st.integers(1, 6))
    steps = []
    for number in range(count):
        actor = draw(st.sampled_from(ACTORS))
        earlier = st.integers(0, max(0, number - 1))
        waits = draw(st.sets(earlier, max_size=2 if number else 0))
        step: dict[str, Any] = {"id": f"s{number}", "actor": actor}
        explicit = draw(st.booleans())
        if waits or explicit:
            step["after"] = [f"s{one}" for one in sorted(waits)]
        most = 2 if actor == "web.patch" else 3
        hosts = draw(st.sets(st.sampled_from(HOSTS), min_size=1, max_size=most))
        step["params"] = {"hosts": sorted(hosts - {"near02"} or {"web01"})}
        steps.append(step)
    if draw(st.booleans()):
        for step in steps[-2:]:
            step["wave"] = "w"
            del step["params"]
        size = draw(st.integers(1, 3))
        return {"steps": steps, "waves": [{"id": "w", "targets": ["@near", "@web"], "size": size}]}
    return {"steps": steps}


def mended(draft: Any) -> Plan:
    """Make the first offered edit until the draft compiles."""
    for _ in range(60):
        answer = compiled(draft)
        if isinstance(answer, Plan):
            return answer
        assert isinstance(answer, tuple)
        edits = [found.edit for found in answer if found.edit is not None]
        assert edits, answer
        draft = apply_edit(draft, edits[0])
    raise AssertionError(draft)


def ancestors(steps: tuple[PlanStep, ...]) -> dict[str, set[str]]:
    """For each step all that is done before it: by `after`, and by the slices of its wave."""
    above: dict[str, set[str]] = {}
    for step in steps:
        direct = set(step.after)
        if step.slot is not None:
            direct |= {
                other.id
                for other in steps
                if other.slot is not None
                and other.slot.wave == step.slot.wave
                and other.slot.slice < step.slot.slice
            }
        above[step.id] = direct.union(*(above[one] for one in direct))
    return above


def touched(step: PlanStep) -> tuple[set[str], set[str]]:
    """What a step reads and writes of each target, as its spec says."""
    spec = catalog().actors[step.actor].spec
    silent_writes = () if spec.effect == "read" else ("self",)
    silent_reads = ("self",) if spec.effect == "read" else ()
    return set(spec.reads or silent_reads), set(spec.writes or silent_writes)


def clash(one: PlanStep, other: PlanStep) -> bool:
    """Whether two steps may not run at the same time."""
    if not set(one.targets) & set(other.targets):
        return False
    (reads, writes), (other_reads, other_writes) = touched(one), touched(other)
    pairs = [(writes, other_writes | other_reads), (other_writes, reads)]
    return any(a == b or "self" in (a, b) for left, right in pairs for a in left for b in right)


CROWDED = {
    "steps": [
        {"id": "s0", "actor": "web.restart", "params": {"hosts": ["web01", "web02", "web03"]}},
        {"id": "s1", "actor": "web.restart", "params": {"hosts": ["web01"]}},
        {"id": "s2", "actor": "web.reload", "params": {"hosts": ["web01"]}},
        {"id": "s3", "actor": "web.restart", "wave": "w"},
        {"id": "s4", "actor": "web.restart", "wave": "w"},
    ],
    "waves": [{"id": "w", "targets": ["@near", "@web"], "size": 1}],
}
"""Once its edits went round in a circle: a step was told to wait for one of an earlier slice."""

WIDE_IN_THE_MIDDLE = {
    "steps": [
        {"id": "s0", "actor": "web.restart", "params": {"hosts": ["web01"]}},
        {"id": "s1", "actor": "web.restart", "params": {"hosts": ["web02"]}},
        {"id": "s2", "actor": "web.restart", "params": {"hosts": ["web01", "web02", "web03"]}},
        {"id": "s3", "actor": "web.restart", "wave": "w"},
        {"id": "s4", "actor": "web.restart", "wave": "w"},
    ],
    "waves": [{"id": "w", "targets": ["@near", "@web"], "size": 1}],
}
"""Once refused for ever: a wide step that follows all others was added to what they disturb."""


@given(drafts())
@example(CROWDED)
@example(WIDE_IN_THE_MIDDLE)
@settings(max_examples=150, deadline=None)
def test_offered_edits_lead_to_a_plan_that_is_ordered_and_within_budgets(draft: Any) -> None:
    plan = mended(draft)
    above = ancestors(plan.steps)
    seen: set[str] = set()
    for step in plan.steps:
        assert set(step.after) <= seen
        seen.add(step.id)
    for one, other in combinations(plan.steps, 2):
        if clash(one, other):
            assert one.id in above[other.id]
    labels = {item.name: item.labels for item in inventory().objects}
    disturbing = [s for s in plan.steps if catalog().actors[s.actor].spec.disturbs]
    for size in (1, 2, 3):
        for group in combinations(disturbing, size):
            if any(a.id in above[b.id] for a, b in combinations(group, 2)):
                continue
            for budget in inventory().budgets:
                for value in {labels[t].get(budget.label) for s in group for t in s.targets} - {
                    None
                }:
                    hit = {
                        t for s in group for t in s.targets if labels[t].get(budget.label) == value
                    }
                    assert len(hit) <= budget.maximum


@given(drafts(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_independent_steps_changes_nothing_but_their_order(
    draft: Any, random: Any
) -> None:
    for step in draft["steps"]:
        step["actor"] = "web.inspect"
    plan = compiled(draft)
    assert isinstance(plan, Plan)
    shuffled = deepcopy(draft)
    random.shuffle(shuffled["steps"])
    other = compiled(shuffled)
    assert isinstance(other, Plan)
    assert (other.locks, other.timing, other.waves) == (plan.locks, plan.timing, plan.waves)
    before = {step.id: step for step in plan.steps}
    assert len(before) == len(other.steps)
    for step in other.steps:
        same = before[step.id].model_copy(update={"after": step.after})
        assert step == same
        assert set(step.after) == set(before[step.id].after)


@given(anything)
@settings(max_examples=300, deadline=None)
def test_no_input_of_any_shape_raises(value: Any) -> None:
    assert isinstance(compiled(value), (Plan, Refusal, Question, tuple))


@given(st.lists(anything, max_size=3), st.lists(anything, max_size=2))
@settings(max_examples=200, deadline=None)
def test_no_list_of_steps_raises(steps: Any, waves: Any) -> None:
    answer = compiled({"steps": steps, "waves": waves})
    assert isinstance(answer, (Plan, tuple))


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place inside a draft."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, inner in inside:
        found.append((*path, key))
        if isinstance(inner, (dict, list)):
            found += places(inner, (*path, key))
    return found


@given(st.sampled_from(places(VALID)), anything | words | st.integers(-2, 12), st.booleans())
@settings(max_examples=400, deadline=None)
def test_a_mutated_draft_never_yields_an_unresolved_target(
    path: tuple[str | int, ...], value: Any, gone: bool
) -> None:
    draft = deepcopy(VALID)
    holder: Any = draft
    for part in path[:-1]:
        holder = holder[part]
    if gone:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    answer = compiled(draft, targets=["@web", "!web04"])
    assert isinstance(answer, (Plan, Refusal, Question, tuple))
    if isinstance(answer, Plan):
        for step in answer.steps:
            assert set(step.targets) <= {"web01", "web02", "web03"}
            assert len(step.params) + len(step.targets) > 0 or step.actor.startswith("interlock")
    elif isinstance(answer, tuple):
        assert answer
        assert all(isinstance(found, Finding) for found in answer)


def test_the_draft_that_is_mutated_is_valid() -> None:
    assert isinstance(compiled(VALID, targets=["@web", "!web04"]), Plan)


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[int, ...]]:
    """A small graph without cycles, numbered in topological order."""
    count = draw(st.integers(1, 12))
    return [
        tuple(sorted(draw(st.sets(st.integers(0, place - 1), max_size=3)))) if place else ()
        for place in range(count)
    ]


@given(graphs())
def test_an_order_is_proven_exactly_where_a_path_leads(before: list[tuple[int, ...]]) -> None:
    order = Order(before, [None] * len(before))
    above: list[set[int]] = []
    for earlier in before:
        above.append(set(earlier).union(*(above[one] for one in earlier)))
    for later in range(len(before)):
        for one in range(len(before)):
            assert order.proves(one, later) is (one in above[later])
    assert topological(before) == list(range(len(before)))
    assert levels(before, range(len(before)))[0] == 1


def greedy_end(before: list[tuple[int, ...]], durations: list[int], parallel: int) -> int:
    """Run a graph as the machine does: whenever there is room, the first ready step begins."""
    ends: dict[int, int] = {}
    running: dict[int, int] = {}
    now = 0
    while len(ends) < len(before):
        done = {place for place, end in ends.items() if end <= now}
        running = {place: end for place, end in running.items() if end > now}
        for place, earlier in enumerate(before):
            if place not in ends and len(running) < parallel and set(earlier) <= done:
                ends[place] = running[place] = now + durations[place]
        now = min(running.values(), default=now)
    return max(ends.values())


@given(graphs(), st.data(), st.integers(1, 4))
def test_no_greedy_run_takes_longer_than_the_worst_case(
    before: list[tuple[int, ...]], data: st.DataObject, parallel: int
) -> None:
    durations = [data.draw(st.integers(1, 20)) for _ in before]
    parts = [Part(earlier) for earlier in before]
    assert greedy_end(before, durations, parallel) <= longest_s(parts, durations, parallel)
