"""What always holds, for any plan and any life: random outcomes, crashes, people, clocks.

A *life* is a plan and a seed. The seed drives the world, the people and the clock through some
two hundred moves; then all faults stop, and the life is brought to rest. `judge` watches every
fact.
"""

from __future__ import annotations

import os
import sys
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.spec import Done
from orchestrator.errors import IllegalEvent
from orchestrator.pure.canonical import canonical
from orchestrator.pure.commands import Act, Note
from orchestrator.pure.events import (
    ActFinished,
    ActStarted,
    Approved,
    Cancelled,
    Confirmed,
    Opened,
    Paused,
    PreviewRequested,
    Rejected,
    RemedyChosen,
    RollbackRequested,
    StartRequested,
    Unpaused,
)
from orchestrator.pure.model import Approval, MissingApproval, Obligations, Remedy
from orchestrator.pure.run import ENDS, belongs, due, evolve, offered, wakes_at
from pure.judge import APPLIED, NONE, OURS_NOT, PART, Case, Seen
from pure.plans import NOON, actor, plan_of, plans, step
from world import ALLOW, FakeDriver, FakeWorld

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.spec import Verb
    from orchestrator.pure.events import Event
    from orchestrator.pure.model import Plan

VERBS: tuple[Verb, ...] = ("apply", "verify", "undo")
TRUTHS = {"not applied": NONE, "partial": PART, "applied": APPLIED, "was so": OURS_NOT}
WORDS = {
    "apply": (
        "unchanged",
        "fail busy",
        "fail busy",
        "fail refused",
        "fail torn",
        "fail surprise",
        "unexpected before",
        "unexpected after",
        "in doubt before",
        "in doubt mid",
        "in doubt after",
        "count 0",
        "count 3",
        "count 9",
        "count 10",
    ),
    "verify": ("unknown", "in doubt"),
    "undo": (
        "fail busy",
        "fail surprise",
        "unexpected",
        "in doubt before",
        "in doubt mid",
        "in doubt after",
    ),
    "check": ("in doubt", "unexpected"),
}


class Watched(FakeDriver):
    """A driver whose every fact is judged."""

    def __init__(self, world: FakeWorld, *, agent: bool = False) -> None:
        super().__init__(world, agent=agent)
        self.case = Case(world.plan)
        self.seen: Seen = self.case.fresh()
        self.complaints: list[str] = []
        self.each: Callable[[Any, Event, Any], None] | None = None

    def record(self, event: Event) -> None:
        before = self.run
        super().record(event)
        truth = None
        if isinstance(event, ActFinished):
            truth = TRUTHS[self.world.truth[event.step]]
        self.seen, complaint = self.case.saw(self.seen, event, truth)
        if not complaint and self.run.phase in ENDS:
            complaint = self.case.at_end(self.seen, self.run.phase, self.run.reason)
        if complaint:
            self.complaints.append(complaint)
        if self.each:
            self.each(before, event, self.run)


class Life(NamedTuple):
    """A plan, and the seed of all that befalls it."""

    plan: Plan
    seed: int
    agent: bool
    faults: int
    """How many of a hundred acts go wrong."""


LIVES = st.builds(
    Life,
    plan=plans(),
    seed=st.integers(0, 2**32),
    agent=st.booleans(),
    faults=st.sampled_from([0, 5, 15, 40]),
)
MANY = settings(
    max_examples=int(os.environ.get("INTERLOCK_LIVES", "60")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def lived(
    life: Life, *, each: Callable[[Any, Event, Any], None] | None = None, moves: int = 200
) -> Watched:
    """Live a life to its end."""
    chance = Random(life.seed)
    drive = Watched(FakeWorld(life.plan), agent=life.agent)
    drive.each = each
    drive.open()
    for _ in range(moves):
        if drive.run.phase in ENDS:
            break
        _move(drive, chance, life.faults)
    _calm(drive)
    return drive


def _move(drive: Watched, chance: Random, faults: int) -> None:
    asked = drive.due()
    under_way = drive.world.under_way()
    dice = chance.random()
    if chance.randrange(100) < faults / 4:
        _strike(drive, chance)
    elif dice < 0.1 and under_way:
        _meddle(drive, chance)
    elif asked and (dice < 0.6 or not under_way):
        _do(drive, chance.choice(asked), chance, faults)
    elif under_way:
        drive.now_ms += chance.randrange(3000)
        drive.hear(*chance.choice(under_way))
    else:
        _wait(drive, chance)


def _do(drive: Watched, command: Any, chance: Random, faults: int) -> None:
    if not isinstance(command, Act):
        drive.do(command)
        return
    if chance.randrange(100) < faults:
        drive.world.will(command.step, command.verb, chance.choice(WORDS[command.verb]))
    if command.orphan:
        drive.world.orphans = chance.choice(["found", "lost"])
        drive.do(command)
    else:
        drive.claim(command)


def _wait(drive: Watched, chance: Random) -> None:
    wakes_ms = wakes_at(drive.run)
    if wakes_ms is not None and wakes_ms > drive.now_ms:
        drive.now_ms = wakes_ms
    elif drive.run.phase == "approved":
        start = StartRequested(at_ms=drive.now_ms, by="olga", plan_digest=drive.case.digest)
        drive.record(start)
    else:
        _person(drive, chance)


def _person(drive: Watched, chance: Random) -> None:
    run, now_ms = drive.run, drive.now_ms
    if run.phase in ("held", "diagnosing"):
        remedies = [r for r in offered(run) if r.kind != "take_over"]
        if remedies:
            drive.record(_chosen(now_ms, chance.choice(remedies)))
        else:
            drive.record(_chosen(now_ms, Remedy(kind="take_over")))
    elif run.paused:
        drive.record(Unpaused(at_ms=now_ms, by="olga"))
    elif run.phase == "running" and run.work.gates:
        name = run.shape.steps[chance.choice(sorted(run.work.gates))].id
        answer = chance.choice(["7", "7", "8"])
        drive.record(Confirmed(at_ms=now_ms, step=name, answer=answer, by="olga"))


def _strike(drive: Watched, chance: Random) -> None:
    run, now_ms = drive.run, drive.now_ms
    blow = chance.choice(["crash", "crash", "cancel", "pause", "back", "clock", "preview"])
    if blow == "crash":
        drive.world.orphans = chance.choice(["found", "lost"])
        drive.crash()
    elif blow == "clock":
        drive.now_ms += chance.choice([1, 20_000, 20_000_000])
    elif blow == "pause" and run.phase == "running":
        drive.record(Paused(at_ms=now_ms, by="olga"))
    elif blow == "preview" and run.phase in ("waiting", "approved"):
        drive.record(PreviewRequested(at_ms=now_ms, by="olga"))
    elif blow == "cancel" and run.phase in ("running", "held", "diagnosing", "returning"):
        if run.work.undoing is None:
            drive.record(Cancelled(at_ms=now_ms, by="olga", reason="enough"))
    elif blow == "back" and run.phase in ("running", "succeeded"):
        drive.record(RollbackRequested(at_ms=now_ms, by="olga", reason="back"))


def _meddle(drive: Watched, chance: Random) -> None:
    # Late, double and foreign reports: they must not belong, and change nothing.
    run = drive.run
    for name in (chance.choice(run.shape.steps).id, "nobody"):
        index = run.shape.place.get(name)
        acting = run.work.acting.get(index) if run.work and index is not None else None
        verb, attempt = chance.choice(VERBS), chance.randrange(1, 4)
        if acting is None or (acting.verb, acting.attempt) != (verb, attempt):
            late = ActFinished(
                at_ms=drive.now_ms, step=name, verb=verb, attempt=attempt, outcome=Done()
            )
            if belongs(run, late) or not drive.refuses(late):
                drive.complaints.append(f"S15: a foreign {verb} {attempt} of {name} belongs")


def _calm(drive: Watched) -> None:
    # Faults stop; whoever is waited for does what is waited for.
    chance = Random(0)
    for _ in range(20_000):
        run = drive.run
        if run.phase in ENDS:
            return
        asked, under_way = drive.due(), drive.world.under_way()
        if under_way:
            drive.hear(*under_way[0])
        elif asked:
            drive.do(asked[0])
        else:
            before = (drive.now_ms, run)
            _wait(drive, chance)
            if (drive.now_ms, drive.run) == before:
                drive.complaints.append(f"V23: stranded while {run.phase}: {run.reason}")
                return
    drive.complaints.append(f"V23: {drive.run.phase} and never at rest")


def _chosen(now_ms: int, remedy: Remedy, *, agent: bool = False) -> RemedyChosen:
    return RemedyChosen(at_ms=now_ms, remedy=remedy, by="olga", agent=agent, reason="best")


def complaints_about(life: Life, *codes: str) -> list[str]:
    """Live a life and return what the judge said about some invariants."""
    return [c for c in lived(life).complaints if c.startswith(tuple(f"{x}:" for x in codes))]


# --- safety ---------------------------------------------------------------------------------------


@MANY
@given(LIVES)
def test_nothing_acts_before_an_allowed_approved_and_started_plan(life: Life) -> None:
    assert not complaints_about(life, "S1")


@MANY
@given(LIVES)
def test_no_attempt_begins_twice_and_none_leaves_two_effects(life: Life) -> None:
    drive = lived(life)
    keys = [effect.key for effect in drive.world.effects]
    assert not [c for c in drive.complaints if c.startswith("S2")]
    if drive.run.revision == 0:
        assert len(keys) == len(set(keys))


@MANY
@given(LIVES)
def test_what_may_have_happened_is_never_begun_again_without_a_remedy(life: Life) -> None:
    assert not complaints_about(life, "S3")


@MANY
@given(LIVES)
def test_every_effect_was_claimed_in_the_ledger_before(life: Life) -> None:
    drive = lived(life)
    claims = [
        (e.step, e.verb, e.attempt, e.at_ms) for e in drive.ledger if isinstance(e, ActStarted)
    ]
    for effect in drive.world.effects:
        claimed = (effect.step, effect.verb, effect.attempt)
        assert any(c[:3] == claimed and c[3] <= effect.at_ms for c in claims), effect


@MANY
@given(LIVES)
def test_a_step_starts_only_after_its_predecessors_succeeded(life: Life) -> None:
    assert not complaints_about(life, "S5")


@MANY
@given(LIVES)
def test_rollback_undoes_what_is_known_to_be_applied_newest_first(life: Life) -> None:
    assert not complaints_about(life, "S6")


@MANY
@given(LIVES)
def test_rolled_back_means_undone_or_named(life: Life) -> None:
    assert not complaints_about(life, "S7")


@MANY
@given(LIVES)
def test_success_means_that_every_step_succeeded_and_nothing_is_under_way(life: Life) -> None:
    assert not complaints_about(life, "S8")


@MANY
@given(LIVES)
def test_a_stopped_or_paused_run_starts_nothing_forward(life: Life) -> None:
    assert not complaints_about(life, "S9")


@MANY
@given(LIVES)
def test_no_more_acts_are_under_way_than_the_plan_allows(life: Life) -> None:
    assert not complaints_about(life, "P")


@MANY
@given(LIVES)
def test_late_double_and_foreign_reports_change_nothing(life: Life) -> None:
    assert not complaints_about(life, "S15")


# --- liveness, and the fold -----------------------------------------------------------------------


@MANY
@given(LIVES)
def test_every_run_comes_to_rest_once_faults_stop(life: Life) -> None:
    drive = lived(life)
    assert not [c for c in drive.complaints if c.startswith("V23")]
    assert drive.run.phase in ENDS


@MANY
@given(LIVES)
def test_every_doubt_is_verified_or_named(life: Life) -> None:
    drive = lived(life)
    if drive.run.phase in ("succeeded", "rolled_back"):
        for place, trace in enumerate(drive.seen.steps):
            if trace.status == "doubt":
                assert not drive.case.undoable[place]
                assert life.plan.steps[place].id in drive.run.reason


@settings(MANY, max_examples=15)
@given(LIVES)
def test_the_fold_of_the_ledger_is_the_run_at_every_prefix(life: Life) -> None:
    runs: list[Any] = []
    drive = lived(life, each=lambda _before, _event, after: runs.append(after))
    other = FakeDriver(drive.world)
    for count, run in enumerate(runs[:: max(1, len(runs) // 20)]):
        upto = 2 + count * max(1, len(runs) // 20)
        other.ledger = drive.ledger[:upto]
        other.refold()
        assert canonical(other.run.as_json()) == canonical(run.as_json())


@settings(MANY, max_examples=15)
@given(LIVES)
def test_evolve_never_changes_the_run_it_is_given(life: Life) -> None:
    last: dict[str, bytes] = {}

    def compare(before: Any, _event: Event, after: Any) -> None:
        now = canonical(before.as_json())
        assert last.get("after", now) == now
        last["after"] = canonical(after.as_json())

    lived(life, each=compare, moves=80)


@MANY
@given(LIVES)
def test_time_never_goes_back(life: Life) -> None:
    drive = lived(life)
    assert [e.at_ms for e in drive.ledger] == sorted(e.at_ms for e in drive.ledger)
    earlier = drive.run.at_ms - 1
    live = Watched(FakeWorld(life.plan))
    live.open()
    live.until_rest()
    with pytest.raises(IllegalEvent, match="lies before"):
        evolve(live.run, PreviewRequested(at_ms=min(earlier, NOON - 1), by="olga"))


@MANY
@given(LIVES)
def test_attempts_and_remedies_are_bounded(life: Life) -> None:
    drive = lived(life)
    for place, trace in enumerate(drive.seen.steps):
        spec = drive.case.specs[place]
        allowed = (spec.retries.maximum if spec else 0) + 4 + drive.run.remedies
        assert trace.applies <= allowed
    assert drive.run.agent_remedies <= 2
    assert drive.run.remedies <= 22


@MANY
@given(LIVES)
def test_the_same_question_is_never_asked_twice_at_once(life: Life) -> None:
    def once(_before: Any, event: Event, after: Any) -> None:
        asked = due(after, event.at_ms)
        assert len(asked) == len({repr(a) for a in asked})

    lived(life, each=once)


@MANY
@given(LIVES, st.data())
def test_an_act_that_is_not_due_is_refused(life: Life, data: st.DataObject) -> None:
    drive = Watched(FakeWorld(life.plan))
    drive.open()
    drive.until_rest()
    drive.record(StartRequested(at_ms=drive.now_ms, by="olga", plan_digest=drive.case.digest))
    drive.do(drive.due()[0])
    wanted = {(c.step, c.verb, c.attempt) for c in drive.due() if isinstance(c, Act)}
    name = data.draw(st.sampled_from([s.id for s in life.plan.steps]))
    verb = data.draw(st.sampled_from(VERBS))
    attempt = data.draw(st.integers(1, 3))
    started = ActStarted(at_ms=drive.now_ms, step=name, verb=verb, attempt=attempt)
    if (name, verb, attempt) not in wanted and drive.run.phase not in ENDS:
        beyond_capacity = verb == "apply" and attempt == 1 and len(wanted) >= life.plan.max_parallel
        assert beyond_capacity or drive.refuses(started)


# --- consent --------------------------------------------------------------------------------------


def waiting(roles: int = 1) -> Watched:
    drive = Watched(FakeWorld(plan_of(step("a"))))
    missing = ALLOW.model_copy(update={"missing": (MissingApproval(role="owner", count=roles),)})
    drive.world.policy.append(missing)
    drive.open()
    drive.until_rest()
    assert drive.run.phase == "waiting"
    return drive


def approval(drive: Watched, **changes: Any) -> Approved:
    fields: dict[str, Any] = {
        "principal": "paula",
        "role": "owner",
        "run": "run-1",
        "environment": "staging",
        "plan_digest": drive.case.digest,
        "nonce": "0" * 32,
        "issued_ms": NOON,
        "expires_ms": NOON + 60_000,
        "method": "claimed",
    }
    return Approved(at_ms=drive.now_ms, approval=Approval(**{**fields, **changes}))


def test_consent_lets_the_plan_be_vetted_again() -> None:
    drive = waiting()
    drive.record(approval(drive))
    drive.until_rest()
    assert drive.run.phase == "approved"


@pytest.mark.parametrize(
    "change",
    [
        {"run": "run-2"},
        {"plan_digest": "0" * 64},
        {"environment": "production"},
        {"principal": "rita"},
        {"principal": "olga"},
        {"expires_ms": NOON},
    ],
    ids=["another run", "another plan", "another environment", "requester", "opener", "expired"],
)
def test_consent_that_does_not_count_is_refused(change: dict[str, Any]) -> None:
    drive = waiting()
    assert drive.refuses(approval(drive, **change))


def test_an_approval_counts_once() -> None:
    drive = waiting(roles=2)
    drive.record(approval(drive))
    assert drive.run.phase == "vetting"
    missing = ALLOW.model_copy(update={"missing": (MissingApproval(role="owner", count=1),)})
    drive.world.policy.append(missing)
    drive.until_rest()
    assert drive.refuses(approval(drive))
    assert drive.refuses(approval(drive, principal="pete"))
    drive.record(approval(drive, principal="pete", nonce="1" * 32))


def test_a_start_names_the_plan_that_was_approved() -> None:
    drive = Watched(FakeWorld(plan_of(step("a"))))
    drive.open()
    drive.until_rest()
    assert drive.refuses(StartRequested(at_ms=drive.now_ms, by="olga", plan_digest="0" * 64))


def test_policy_is_asked_again_at_the_start_and_may_say_no() -> None:
    drive = Watched(FakeWorld(plan_of(step("a"))))
    drive.open()
    drive.until_rest()
    drive.world.policy.append(ALLOW.model_copy(update={"outcome": "deny"}))
    drive.record(StartRequested(at_ms=drive.now_ms, by="olga", plan_digest=drive.case.digest))
    drive.until_rest()
    assert (drive.run.phase, drive.world.effects) == ("approved", [])
    assert "denied" in drive.run.reason


@MANY
@given(LIVES)
def test_a_rejected_ticket_changed_nothing(life: Life) -> None:
    drive = Watched(FakeWorld(life.plan))
    drive.open()
    drive.until_rest()
    drive.record(Rejected(at_ms=drive.now_ms, by="paula", reason="not now"))
    assert (drive.run.phase, drive.world.effects, drive.due()) == ("rejected", [], ())


@MANY
@given(LIVES)
def test_a_dry_run_changes_nothing(life: Life) -> None:
    drive = Watched(FakeWorld(life.plan))
    drive.open()
    drive.until_rest()
    drive.record(PreviewRequested(at_ms=drive.now_ms, by="olga"))
    drive.until_rest()
    assert (drive.run.phase, drive.world.effects) == ("approved", [])
    assert len(drive.run.preview.results) == len(life.plan.steps)


# --- examples that explain ------------------------------------------------------------------------


def started(plan: Plan, **fields: Any) -> Watched:
    """Bring a run to the moment when it acts."""
    drive = Watched(FakeWorld(plan), **fields)
    drive.open()
    drive.until_rest()
    drive.record(StartRequested(at_ms=drive.now_ms, by="olga", plan_digest=drive.case.digest))
    drive.do(drive.due()[0])
    return drive


def test_a_tolerated_slice_goes_back_alone_and_the_next_goes_on() -> None:
    slots = [step(f"a@{n}", slot=("w", n)) for n in (1, 2, 3)]
    drive = started(plan_of(*slots, stop_after={"w": 2}))
    drive.world.will("a@2", "apply", "fail torn")
    drive.until_rest()
    assert dict(drive.world.truth) == {
        "a@1": "applied",
        "a@2": "not applied",
        "a@3": "applied",
    }
    assert drive.run.phase == "held"
    assert not drive.complaints


def test_a_gate_with_a_wrong_answer_stays_closed() -> None:
    drive = started(plan_of(step("gate", confirm="7"), step("a", after=("gate",))))
    for answer in ("8", "07", " 7", "yes", ""):
        drive.record(Confirmed(at_ms=drive.now_ms, step="gate", answer=answer, by="olga"))
        drive.until_rest()
        assert not drive.world.effects
    drive.record(Confirmed(at_ms=drive.now_ms, step="gate", answer="7", by="olga"))
    drive.until_rest()
    assert drive.run.phase == "succeeded"


def test_a_paused_run_verifies_and_starts_nothing_else() -> None:
    drive = started(plan_of(step("a"), step("b", after=("a",))))
    drive.world.will("a", "apply", "in doubt after")
    drive.claim(drive.due()[0])
    drive.record(Paused(at_ms=drive.now_ms, by="olga"))
    drive.hear("a", "apply")
    assert drive.due() == (Act("a", "verify", 1),)
    drive.until_rest()
    assert (drive.run.phase, drive.run.paused, drive.due()) == ("running", True, ())
    drive.record(Unpaused(at_ms=drive.now_ms, by="olga"))
    drive.until_rest()
    assert drive.run.phase == "succeeded"


@pytest.mark.parametrize(
    ("close", "phase", "truth"),
    [("finish", "succeeded", "applied"), ("hold", "held", "x"), ("go_back", "rolled_back", "x")],
    ids=["finish", "hold", "go back"],
)
def test_when_the_window_closes_the_plan_says_what_happens(
    close: str, phase: str, truth: str
) -> None:
    plan = plan_of(
        step("a"), step("b", after=("a",)), on_window_close=close, window=(NOON, NOON + 5_000)
    )
    drive = started(plan)
    drive.claim(drive.due()[0])
    drive.now_ms = NOON + 6_000
    assert [c.event.type for c in drive.due() if isinstance(c, Note)] == ["window_closed"]
    drive.do(drive.due()[0])
    drive.hear("a", "apply")
    drive.until_rest()
    assert drive.run.phase == phase
    assert (drive.world.truth["b"] == "applied") == (truth == "applied")


def test_policy_may_end_the_window_earlier_and_narrow_the_run() -> None:
    drive = Watched(FakeWorld(plan_of(step("a"), step("b"))))
    narrow = Obligations(max_parallel=1, not_after_ms=NOON + 1_000)
    drive.world.policy.extend([ALLOW, ALLOW.model_copy(update={"obligations": narrow})])
    drive.open()
    drive.until_rest()
    drive.record(StartRequested(at_ms=drive.now_ms, by="olga", plan_digest=drive.case.digest))
    drive.do(drive.due()[0])
    assert len(drive.due()) == 1
    assert wakes_at(drive.run) == NOON + 1_000


def test_a_second_ticket_cannot_open_the_same_run() -> None:
    drive = started(plan_of(step("a")))
    assert drive.refuses(next(e for e in drive.ledger if isinstance(e, Opened)))


# --- cost -----------------------------------------------------------------------------------------


def _calls(work: Callable[[], object]) -> int:
    count = 0

    def counted(_frame: object, _event: str, _arg: object) -> None:
        nonlocal count
        count += 1

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def _cost_of_a_step(width: int) -> int:
    # A wide plan, in the middle of its life: what do one start, one report and two questions cost?
    sketches = [step(f"s{n}", after=(f"s{n - 10}",) if n >= 10 else ()) for n in range(width)]
    drive = started(plan_of(*sketches))
    for _ in range(20):
        drive.do(drive.due()[0])
    act = drive.due()[0]
    assert isinstance(act, Act)
    begun = ActStarted(at_ms=drive.now_ms, step=act.step, verb="apply", attempt=1)
    ended = ActFinished(
        at_ms=drive.now_ms,
        step=act.step,
        verb="apply",
        attempt=1,
        outcome=Done(outputs={"count": 1}),
    )

    def work() -> None:
        run = evolve(drive.run, begun)
        due(run, drive.now_ms)
        run = evolve(run, ended)
        due(run, drive.now_ms)
        wakes_at(run)

    return _calls(work)


def test_the_cost_of_a_fact_and_of_a_question_does_not_grow_with_the_plan() -> None:
    small, large = _cost_of_a_step(1_000), _cost_of_a_step(10_000)
    assert large <= small * 1.1 + 20


def test_the_cost_of_going_back_does_not_grow_faster_than_the_plan() -> None:
    costs = []
    for width in (200, 400):
        drive = started(plan_of(*[step(f"s{n}", actor=actor()) for n in range(width)]))
        drive.until_rest()
        back = RollbackRequested(at_ms=drive.now_ms, by="olga", reason="back")
        drive.record(back)
        costs.append(_calls(drive.until_rest))
    assert costs[1] <= costs[0] * 3
