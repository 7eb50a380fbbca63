"""What policy sees: one closed document, the same for the same run, sound in what it tells."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from immutables import Map
from pydantic import ValidationError

from actors.reading import read_yaml
from actors.spec import Predicted, SecretRef
from orchestrator.pure import policy_classes
from orchestrator.pure.canonical import digest
from orchestrator.pure.graph import Order
from orchestrator.pure.model import Approval, Catalog, Param, PinnedActor, Window
from orchestrator.pure.policy_facts import Other, as_if_all, policy_input
from orchestrator.pure.policy_input import REDACTED, TARGET, PolicyInput
from orchestrator.pure.queues import Queue
from orchestrator.pure.state import Preview, shape_of
from pure.plans import DIGEST, actor, plan_of, plans, step, ticket
from pure.policy_world import NOW_MS, around, host, run_of, with_params

if TYPE_CHECKING:
    from orchestrator.pure.model import Plan
    from orchestrator.pure.policy_input import ParamFacts, StepClass
    from orchestrator.pure.state import Run

POLICIES: Final = Path(__file__).parent.parent.parent / "policies"
READER: Final = actor("read", "none")


def seen(plan: Plan, *things: Any, asked: str = "plan", **fields: Any) -> PolicyInput:
    return policy_input(run_of(plan, **fields), asked, NOW_MS, around(plan, *things))


def only(plan: Plan, *things: Any) -> StepClass:
    (found,) = seen(plan, *things).plan.classes
    return found


def by_sample(document: PolicyInput) -> dict[str, StepClass]:
    return {name: found for found in document.plan.classes for name in found.sample}


# --- the document ---------------------------------------------------------------------------------


def test_the_schema_that_authors_check_against_is_that_of_the_document(
    request: pytest.FixtureRequest,
) -> None:
    path = POLICIES / "schema" / "input.json"
    told = json.dumps(PolicyInput.model_json_schema(), indent=1, sort_keys=True) + "\n"
    if request.config.getoption("--rewrite"):
        path.write_text(told, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == told


def test_the_shipped_base_is_a_whole_input_under_its_own_digest() -> None:
    raw = read_yaml((POLICIES / "base.yaml").read_bytes(), max_bytes=10**6).value
    document = PolicyInput.model_validate_json(json.dumps(raw)).document()
    assert document == raw
    assert document.pop("digest") == digest(document)


@settings(deadline=None)
@given(plans())
def test_any_plan_is_told_whole_twice_alike_and_under_its_digest(plan: Plan) -> None:
    document = seen(plan)
    assert seen(plan) == document
    plain = document.document()
    assert PolicyInput.model_validate_json(json.dumps(plain)) == document
    assert plain.pop("digest") == digest(plain)
    assert sum(found.count for found in document.plan.classes) == len(plan.steps)
    assert document.summary.acts + document.summary.gates == document.summary.steps
    assert document.summary.steps == len(plan.steps)


@pytest.mark.parametrize(
    "change",
    [{"extra": 1}, {"mode": "test"}, {"digest": "short"}, {"approvals": None}, {"now": 5}],
    ids=str,
)
def test_the_document_is_closed(change: dict[str, Any]) -> None:
    document = seen(plan_of(step("a"))).document()
    with pytest.raises(ValidationError):
        PolicyInput.model_validate_json(json.dumps({**document, **change}))


# --- classes --------------------------------------------------------------------------------------


def test_a_thousand_like_steps_are_one_class() -> None:
    plan = plan_of(*(step(f"s{number}") for number in range(1_000)))
    found = only(plan)
    assert (found.count, found.targets, found.widest) == (1_000, 1_000, 1)
    assert found.sample == ("s0", "s1", "s2", "s3", "s4")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            Param(name="wanted", value=1, source="draft"),
            Param(name="wanted", value=2, source="draft"),
        ),
        (
            Param(name="wanted", value=1, source="draft"),
            Param(name="wanted", value=1, source="ticket"),
        ),
        (
            Param(name="wanted", value=True, source="draft"),
            Param(name="wanted", value=1, source="draft"),
        ),
        (
            Param(name="wanted", value=(1, True), source="draft"),
            Param(name="wanted", value=(1, 1), source="draft"),
        ),
    ],
    ids=["value", "source", "type", "type within"],
)
def test_steps_that_differ_in_a_param_are_two_classes(one: Param, other: Param) -> None:
    plan = plan_of(step("a"), step("b"))
    first, second = plan.steps
    steps = (
        first.model_copy(update={"params": (one,)}),
        second.model_copy(update={"params": (other,)}),
    )
    assert len(seen(plan.model_copy(update={"steps": steps})).plan.classes) == 2


def test_groups_and_environments_of_the_targets_tell_classes_apart() -> None:
    plan = plan_of(step("a"), step("b"), step("c"))
    things = (host("host-a", "web", "linux"), host("host-b", "db", "linux"))
    foreign = host("host-c", "web", "linux", environment="prod")
    found = by_sample(seen(plan, *things, foreign))
    assert found["a"].groups == {"linux": True, "web": True}
    assert found["b"].touches == {"db": True, "linux": True}
    assert found["c"].environments == {"prod": True}


def test_a_step_over_several_targets_tells_what_all_and_what_any_are() -> None:
    plan = plan_of(step("a"))
    wide = plan.steps[0].model_copy(update={"targets": ("host-a", "host-b")})
    plan = plan.model_copy(update={"steps": (wide,)})
    found = only(plan, host("host-a", "web", "linux"), host("host-b", "db", "linux"))
    assert (found.groups, found.touches) == (
        {"linux": True},
        {"db": True, "linux": True, "web": True},
    )
    assert (found.targets, found.widest) == (2, 2)


def test_a_target_that_the_inventory_does_not_know_belongs_nowhere() -> None:
    found = only(plan_of(step("a")))
    assert (found.groups, found.environments) == ({}, {})


# --- params ---------------------------------------------------------------------------------------


def told(*params: Param) -> dict[str, ParamFacts]:
    return only(with_params(plan_of(step("a")), *params)).params


@pytest.mark.parametrize(
    ("name", "value", "secrecy", "shown"),
    [
        ("db_password", "hunter2", "literal", REDACTED),
        ("token", "vault:kv/deploy#token", "reference", "vault:kv/deploy#token"),
        ("token", ("vault:a", "plain"), "literal", REDACTED),
        ("token", 5, "none", 5),
        ("tokens_left", "many", "none", "many"),
        ("login", SecretRef(secret="db_root"), "reference", "secret:db_root"),
        ("note", "-----BEGIN RSA PRIVATE KEY-----", "literal", REDACTED),
        ("note", "AKIAABCDEFGHIJKLMNOP", "literal", REDACTED),
        ("note", "fine", "none", "fine"),
        ("names", ("host-a",), "none", (TARGET,)),
        ("names", ("host-a", "x"), "none", (TARGET, "x")),
        ("member", "host-a", "none", TARGET),
    ],
)
def test_a_value_is_shown_without_secrets_and_without_its_own_targets(
    name: str, value: Any, secrecy: str, shown: Any
) -> None:
    facts = told(Param(name=name, value=value, source="draft"))[name]
    assert (facts.secret, facts.value) == (secrecy, shown)


def test_no_secret_is_anywhere_in_the_document() -> None:
    plan = with_params(plan_of(step("a")), Param(name="password", value="hunter2", source="draft"))
    text = json.dumps(seen(plan).document())
    assert "hunter2" not in text
    assert "Please change it" not in text


def test_a_value_is_grounded_by_the_ticket_the_author_or_a_step_but_not_by_the_planner() -> None:
    of = ticket(params={"package": "openssl"})
    plan = with_params(
        plan_of(step("a")),
        Param(name="package", value="openssl", source="draft"),
        Param(name="release", value="bookworm", source="draft"),
        Param(name="path", value="/", source="default"),
    )
    document = policy_input(run_of(plan, of), "plan", NOW_MS, around(plan))
    params = document.plan.classes[0].params
    assert {name: facts.grounded for name, facts in params.items()} == {
        "package": True,
        "release": False,
        "path": True,
    }
    assert document.ticket.params == {"package": True}


def test_an_output_is_named_by_the_actor_that_will_know_it() -> None:
    plan = plan_of(step("a", actor=READER), step("b", after=("a",), wanted="a.count"))
    facts = by_sample(seen(plan))["b"].params["wanted"]
    assert (facts.output, facts.value, facts.grounded) == (f"{READER.name}.count", None, True)


# --- the graph ------------------------------------------------------------------------------------


def same_target(plan: Plan, *names: str) -> Plan:
    steps = tuple(
        one.model_copy(update={"targets": ("host-x",)}) if one.id in names else one
        for one in plan.steps
    )
    return plan.model_copy(update={"steps": steps})


def test_who_acts_before_and_after_on_the_same_target_is_proved() -> None:
    change = actor()
    plan = plan_of(
        step("a", actor=READER), step("b", after=("a",)), step("c", after=("b",), actor=READER)
    )
    found = by_sample(seen(same_target(plan, "a", "b", "c")))
    assert (found["b"].before, found["b"].after) == ({READER.name: True}, {READER.name: True})
    assert found["b"].checked
    assert found["a"].after == {change.name: True, READER.name: True}
    assert by_sample(seen(plan))["b"].before == {}, "they act on different targets"


def test_what_is_not_ordered_is_neither_before_nor_after() -> None:
    plan = same_target(plan_of(step("a", actor=READER), step("b")), "a", "b")
    found = by_sample(seen(plan))
    assert (found["b"].before, found["a"].after, found["b"].checked) == ({}, {}, False)


def test_a_step_that_may_be_skipped_is_certain_of_nothing() -> None:
    when = {"output": "a.count", "op": "==", "value": 1}
    plan = plan_of(
        step("a", actor=READER), step("b", after=("a",), actor=READER), step("c", after=("b",))
    )
    first, second, third = same_target(plan, "b", "c").steps
    second = second.model_validate({**second.model_dump(), "when": when})
    found = by_sample(seen(plan.model_copy(update={"steps": (first, second, third)})))
    assert found["c"].before == {}
    assert found["b"].after == {actor().name: True}
    assert found["b"].conditional


def test_before_means_before_on_every_target() -> None:
    plan = plan_of(step("a", actor=READER), step("b", after=("a",)), step("c", after=("a",)))
    wide = {"a": ("host-x", "host-y"), "b": ("host-x", "host-y"), "c": ("host-y", "host-z")}
    steps = tuple(one.model_copy(update={"targets": wide[one.id]}) for one in plan.steps)
    found = by_sample(seen(plan.model_copy(update={"steps": steps})))
    assert found["b"].before == {READER.name: True}
    assert found["c"].before == {}, "nobody reads host-z"


def test_two_conditions_promise_each_other_nothing() -> None:
    plan = plan_of(
        step("a", actor=READER), step("b", after=("a",)), step("c", after=("b",), actor=READER)
    )
    first, *others = same_target(plan, "b", "c").steps
    conditional = tuple(
        one.model_validate(
            {**one.model_dump(), "when": {"output": "a.count", "op": "==", "value": value}}
        )
        for value, one in enumerate(others)
    )
    found = by_sample(seen(plan.model_copy(update={"steps": (first, *conditional)})))
    assert (found["b"].after, found["b"].checked, found["c"].before) == ({}, False, {})


def test_a_value_of_a_step_without_targets_is_shown_as_it_is() -> None:
    plan = with_params(
        plan_of(step("ask", confirm="7"), step("a")),
        Param(name="note", value="host-a", source="draft"),
    )
    assert by_sample(seen(plan))["ask"].params["note"].value == "host-a"


def test_a_check_counts_only_in_the_same_slice() -> None:
    plan = plan_of(
        step("a", slot=("wave", 1)), step("b", slot=("wave", 2), actor=READER, after=("a",))
    )
    found = by_sample(seen(same_target(plan, "a", "b")))
    assert found["a"].after == {READER.name: True}
    assert not found["a"].checked


def test_a_gate_confirms_all_that_comes_after_it() -> None:
    plan = plan_of(
        step("a"),
        step("ask", after=("a",), confirm="7"),
        step("rest", after=("ask",), hold_until_ms=NOW_MS),
        step("b", after=("rest",)),
    )
    document = seen(plan)
    found = by_sample(document)
    assert [found[name].confirmed for name in ("a", "ask", "rest", "b")] == [
        False,
        False,
        True,
        True,
    ]
    assert [found[name].gate for name in ("a", "ask", "rest", "b")] == [
        "none",
        "confirm",
        "hold",
        "none",
    ]
    assert (document.summary.gates, document.summary.acts) == (2, 2)


@pytest.mark.parametrize("after", [("a", "b"), ("b", "a")])
def test_a_step_follows_all_that_it_names_in_whatever_order_it_names_them(
    after: tuple[str, str],
) -> None:
    shape = shape_of(plan_of(step("a"), step("b"), step("c", after=after)))
    assert shape.before[2] == (0, 1)
    order = Order(shape.before, shape.slots)
    assert [order.proves(first, 2) for first in (0, 1)] == [True, True]


@settings(deadline=None)
@given(plans(), st.lists(st.sampled_from(["host-x", "host-y", "host-z"]), unique=True, max_size=2))
def test_a_chain_is_told_as_its_pairs_are_proved(plan: Plan, shared: list[str]) -> None:
    """What is read off a chain must be what the proofs of all its pairs say."""
    targets = tuple(shared)
    steps = tuple(
        one if one.gate else one.model_copy(update={"targets": targets or one.targets})
        for one in plan.steps
    )
    shape = shape_of(plan.model_copy(update={"steps": steps}))
    by_target: dict[str, list[int]] = {}
    for index, one in enumerate(shape.steps):
        for name in one.targets:
            by_target.setdefault(name, []).append(index)
    proved = policy_classes._proved(shape, by_target)
    assert policy_classes._sides(shape) == proved


# --- the numbers ----------------------------------------------------------------------------------


def test_domains_count_all_their_members_and_those_that_are_touched() -> None:
    down = actor(idempotent=False).model_copy(update={"disturbs": True})
    plan = plan_of(step("a", actor=down), step("b"))
    document = seen(
        plan,
        host("host-a", "web", rack="r1"),
        host("host-b", "web", rack="r1"),
        host("host-c", "web", rack="r1"),
        host("host-d", "db", rack="r2"),
    )
    rack = document.inventory.domains["rack"]
    assert list(rack) == ["r1"], "what is not touched is not told"
    assert (rack["r1"].size, rack["r1"].targets, rack["r1"].disturbed) == (3, 2, 1)
    assert document.inventory.groups["web"].size == 3
    assert document.inventory.budgets == {"rack": 1}
    assert document.environment.objects == 4


def test_the_summary_counts_what_a_change_may_do() -> None:
    plan = plan_of(
        step("a", actor=actor("destroy", "none").model_copy(update={"point_of_no_return": True})),
        step("b", actor=actor("change", "none")),
        step("c", actor=READER),
        step("d", actor=actor(idempotent=False).model_copy(update={"undo": "partial"})),
    )
    summary = seen(plan, *(host(f"host-{name}") for name in "abcdefghij")).summary
    assert (summary.reads, summary.changes, summary.destroys) == (1, 2, 1)
    assert (summary.undo_none, summary.undo_partial, summary.points_of_no_return) == (2, 1, 1)
    assert (summary.targets, summary.changed_targets, summary.changed_percent) == (4, 3, 30)
    assert summary.longest_path == 1


def test_a_change_in_an_empty_environment_is_all_of_it() -> None:
    assert seen(plan_of(step("a"))).summary.changed_percent == 100


def test_at_once_adds_up_the_widest_that_may_act_together() -> None:
    down = actor().model_copy(update={"disturbs": True})
    plan = plan_of(*(step(name, actor=down) for name in "abc"), max_parallel=2)
    assert seen(plan).summary.at_once == 2


def test_waves_tell_their_width() -> None:
    plan = plan_of(
        step("a", slot=("wave", 1)), step("b", slot=("wave", 2)), step("c", slot=("wave", 2))
    )
    wave = seen(plan).plan.waves["wave"]
    assert (wave.slices, wave.first, wave.widest) == (2, 1, 2)


# --- time, people, evidence -----------------------------------------------------------------------


def test_an_instant_reads_as_the_clock_on_each_wall() -> None:
    zones = seen(plan_of(step("a"))).now.zones
    assert (zones["UTC"].day, zones["UTC"].weekday, zones["UTC"].minute_of_day) == (
        20261125,
        "wednesday",
        60,
    )
    assert zones["Europe/Amsterdam"].minute_of_day == 120


def test_summer_time_is_told() -> None:
    plan = plan_of(step("a"), window=(1_774_746_000_000, 1_774_749_600_000))
    of = ticket(window=Window(start_ms=1_774_746_000_000, end_ms=1_774_749_600_000))
    window = policy_input(run_of(plan, of), "plan", NOW_MS, around(plan)).ticket.window
    assert window is not None
    # 2026-03-29 01:00 UTC: the hour from two to three does not exist in Amsterdam.
    assert window.start.zones["Europe/Amsterdam"].minute_of_day == 180
    assert window.start.zones["Europe/Amsterdam"].weekday == "sunday"


def approval(principal: str, role: str, **fields: Any) -> Approval:
    return Approval(
        **{
            "principal": principal,
            "role": role,
            "run": "CHG-1.1",
            "environment": "staging",
            "plan_digest": DIGEST,
            "nonce": "0" * 32,
            "issued_ms": NOW_MS - 9_000,
            "expires_ms": NOW_MS + 9_000,
            "method": "claimed",
            **fields,
        }
    )


@pytest.mark.parametrize(
    ("who", "role", "holds", "counts"),
    [
        ("mia", "manager", True, True),
        ("mia", "operator", False, False),
        ("rita", "operator", True, False),
        ("olga", "operator", False, False),
    ],
    ids=["holds the role", "holds another", "asked for it", "opened the run"],
)
def test_an_approval_says_whether_it_counts(
    who: str, role: str, *, holds: bool, counts: bool
) -> None:
    plan = plan_of(step("a"))
    (facts,) = seen(plan, approvals=(approval(who, role),)).approvals
    assert (facts.by, facts.holds, facts.counts) == (who, holds, counts)


def test_the_requester_is_told_with_their_roles() -> None:
    requester = seen(plan_of(step("a"))).requester
    assert (requester.id, requester.opened_by, requester.roles) == (
        "rita",
        "olga",
        {"operator": True},
    )


def test_evidence_is_fresh_only_for_this_very_digest() -> None:
    plan = plan_of(step("a"))
    told_as = []
    for evidence in (DIGEST, "6" * 64, None):
        here = around(plan)
        tested = {} if evidence is None else dict.fromkeys(plan.actors, evidence)
        here = here._replace(catalog=here.catalog.model_copy(update={"evidence": tested}))
        (facts,) = policy_input(run_of(plan), "plan", NOW_MS, here).catalog.actors.values()
        told_as.append(facts.evidence)
    assert told_as == ["fresh", "stale", "none"]


@pytest.mark.parametrize(
    ("day", "days"),
    [("today", 0), ("yesterday", 1), ("tomorrow", None), ("someday", None), (None, None)],
)
def test_evidence_is_as_old_as_its_day(day: str | None, days: int | None) -> None:
    plan, today = plan_of(step("a")), datetime.fromtimestamp(NOW_MS // 1000, UTC).date()
    ahead = {"today": 0, "yesterday": -1, "tomorrow": 1}
    if day in ahead:
        day = (today + timedelta(days=ahead[day])).isoformat()
    here = around(plan)
    days_of = {} if day is None else dict.fromkeys(plan.actors, day)
    here = here._replace(catalog=here.catalog.model_copy(update={"evidence_days": days_of}))
    (facts,) = policy_input(run_of(plan), "plan", NOW_MS, here).catalog.actors.values()
    assert facts.evidence_age_days == days


@pytest.mark.parametrize(
    ("fields", "kind"), [({}, "file"), ({"draft": None}, "model")], ids=["file", "model"]
)
def test_who_drafted_is_told(fields: dict[str, Any], kind: str) -> None:
    assert seen(plan_of(step("a")), **fields).planner.kind == kind


def test_a_routine_is_told() -> None:
    plan = plan_of(step("a"))
    run = run_of(plan, ticket(routine="patching"), draft=None)
    assert policy_input(run, "plan", NOW_MS, around(plan)).planner.kind == "routine"


# --- modes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "fields", "mode"),
    [
        ("plan", {}, "plan"),
        ("start", {}, "apply"),
        ("start", {"revision": 1}, "apply"),
        ("rollback", {}, "rollback"),
        ("plan", {"revision": 1}, "recovery"),
        ("plan", {"preview": Preview(Queue(), 0)}, "dry-run"),
    ],
)
def test_what_is_asked_for_is_told(asked: str, fields: dict[str, Any], mode: str) -> None:
    assert seen(plan_of(step("a")), asked=asked, **fields).mode == mode


def test_a_recovery_tells_which_targets_the_first_plan_did_not_have() -> None:
    document = seen(plan_of(step("a"), step("b")), revision=1, bound=frozenset({"host-a"}))
    assert document.recovery is not None
    assert (document.recovery.targets_outside, document.recovery.sample_outside) == (1, ("host-b",))
    assert seen(plan_of(step("a"))).recovery is None
    unbound = seen(plan_of(step("a")), revision=1).recovery
    assert unbound is not None
    assert unbound.targets_outside == 1


def test_a_dry_run_is_told_with_what_it_could_not_see() -> None:
    plan = plan_of(step("a"), step("b"), step("c", actor=READER))
    results = Map({0: Predicted(grade="predicted"), 1: Predicted(grade="none")})
    run: Run = run_of(plan, preview=Preview(Queue(), 1, results=results))
    preview = policy_input(run, "plan", NOW_MS, around(plan)).preview
    assert (preview.done, preview.predicted, preview.none) == (False, 1, 1)
    assert preview.coverage_percent == 50
    assert seen(plan_of(step("c", actor=READER))).preview.coverage_percent == 100


def test_conflicts_are_told_by_run() -> None:
    plan = plan_of(step("a"))
    others = (
        Other("CHG-2.1", "host/b", "held"),
        Other("CHG-2.1", "host/a", "held"),
        Other("CHG-3.1", "host/a", "wanted"),
    )
    first, second = policy_input(
        run_of(plan), "plan", NOW_MS, around(plan, others=others)
    ).conflicts
    assert (first.run, first.state, first.resources, first.sample) == (
        "CHG-2.1",
        "held",
        2,
        ("host/a", "host/b"),
    )
    assert second.state == "wanted"


# --- the catalog that is offered ------------------------------------------------------------------


def test_all_actors_of_a_catalog_are_put_before_policy_as_if_they_were_steps() -> None:
    specs = (actor(), READER)
    catalog = Catalog(
        digest=DIGEST, actors={s.name: PinnedActor(spec=s, digest=DIGEST) for s in specs}
    )
    run = as_if_all(ticket(), "olga", NOW_MS, catalog, DIGEST)
    assert run.shape == shape_of(run.planned)
    plan = run.planned
    document = policy_input(run, "plan", NOW_MS, around(plan))
    assert {found.actor for found in document.plan.classes} == {s.name for s in specs}
    assert {found.targets for found in document.plan.classes} == {0}
