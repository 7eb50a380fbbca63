"""What people read, against pages that a person has read; `pytest --rewrite` writes them anew."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from actors.spec import Change, Done, Failed, Found, InDoubt, Predicted, Unexpected
from edges.show_samples import (
    HOSTILE,
    NOW_MS,
    Story,
    broken,
    checked,
    crossing,
    done,
    pinned,
    plan_of,
    rolling,
    spec,
    ticket,
    web_tier,
    wide,
)
from orchestrator import show
from orchestrator.errors import Conflict, InvalidInput
from orchestrator.pure import events as facts
from orchestrator.pure.draft import Edit, Finding, Question, Refusal
from orchestrator.pure.model import (
    Condition,
    Denial,
    Obligations,
    Param,
    PlanStep,
    Remedy,
    WaiverUse,
    Window,
)
from orchestrator.pure.run import offered
from orchestrator.pure.window import timing_with
from orchestrator.show_events import event_words, outcome_words
from orchestrator.show_text import cells, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actors.spec import Outcome
    from orchestrator.pure.commands import Act
    from orchestrator.pure.events import Event
    from orchestrator.pure.model import Plan
    from orchestrator.pure.state import Run

GOLDEN: Final = Path(__file__).parent / "golden"
COLORS: Final = re.compile(r"\x1b\[[0-9;]*m")
UNSEEN: Final = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)


@pytest.fixture(autouse=True)
def _prague(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Prague")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--rewrite"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return compare


def previewed() -> Run:
    story = Story().planned(web_tier()).waiting()
    story.tell(facts.PreviewRequested(at_ms=story.now_ms, by="ada"))
    return story.act(checked, rounds=8).waiting().run


def held() -> Story:
    return Story().planned(web_tier()).waiting().approved().started().act(broken, rounds=8)


def hostile() -> Story:
    """Let everything that comes from outside attack the terminal."""

    def report(act: Act) -> Outcome:
        changes = (Change(target=None, summary=HOSTILE, diff=f"+{HOSTILE}\n-\x1b[8mhidden"),)
        return Predicted(grade="partial", changes=changes, message=HOSTILE)

    story = Story(ticket(title=HOSTILE, request=HOSTILE)).planned(crossing())
    warning = Denial(rule=HOSTILE, message=HOSTILE, edit=HOSTILE)
    story.vetted(warnings=(warning,), engine=HOSTILE)
    story.tell(facts.PreviewRequested(at_ms=story.now_ms, by="ada")).act(report, rounds=4)
    story.vetted(warnings=(warning,), engine=HOSTILE)
    return story.tell(facts.Cancelled(at_ms=story.now_ms, by="mallory", reason=HOSTILE))


def changed_plan() -> Plan:
    """Mend the rolling update: a step renamed, one removed, one added, targets and pins moved."""
    plan = web_tier()
    steps = {step.id: step for step in plan.steps}
    steps["snapshot"] = steps["snapshot"].model_copy(update={"id": "copy"})
    for number in (1, 2, 3):
        name = f"drain@{number}"
        steps[name] = steps[name].model_copy(update={"after": ("copy",)})
    package = Param(name="package", value="openssl", source="draft")
    steps["upgrade@1"] = steps["upgrade@1"].model_copy(
        update={"targets": ("web-01", "web-09"), "params": (package,)}
    )
    del steps["drop-old"]
    extra = PlanStep(id="again", actor="http.probe", after=("quiet",))
    actors = pinned(*(one.spec for one in plan.actors.values()), spec("a.new"))
    return plan.model_copy(
        update={
            "steps": (*steps.values(), extra),
            "max_parallel": 9,
            "catalog_digest": "9" * 64,
            "actors": actors,
            "window": None,
            "waves": (plan.waves[0].model_copy(update={"stop_after": 1}),),
            "locks": plan.locks[:1],
        }
    )


# --- pages that a person has read ---------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120])
def test_the_page_of_a_run_is_as_it_was_read(
    golden: Callable[[str, str], None], width: int
) -> None:
    story = Story().planned(web_tier()).waiting()
    story.tell(facts.PreviewRequested(at_ms=story.now_ms, by="ada")).act(
        checked, rounds=8
    ).waiting()
    text = show.run_text(story.run, width=width, color=False, history=story.recorded)
    golden(f"run_{width}.txt", text)


@pytest.mark.parametrize("width", [80, 120])
def test_the_page_of_a_great_plan_is_as_it_was_read(
    golden: Callable[[str, str], None], width: int
) -> None:
    run = Story().planned(wide(10_000)).vetted().run
    golden(f"great_{width}.txt", show.run_text(run, width=width, color=False))
    fleet = Story().planned(rolling(5_000)).vetted().run
    golden(f"fleet_{width}.txt", show.run_text(fleet, width=width, color=False))


@pytest.mark.parametrize("width", [80, 120])
def test_a_hostile_page_is_as_it_was_read(golden: Callable[[str, str], None], width: int) -> None:
    story = hostile()
    text = show.run_text(story.run, width=width, color=False, history=story.recorded)
    golden(f"hostile_{width}.txt", text)


@pytest.mark.parametrize("width", [80, 120])
def test_incidents_and_the_record_are_as_they_were_read(
    golden: Callable[[str, str], None], width: int
) -> None:
    story = held()
    page = show.incidents_text(story.run, offered(story.run), width=width, color=False)
    record = show.events_text(story.recorded, width=width, color=False)
    golden(f"held_{width}.txt", page + "\n" + record)


@pytest.mark.parametrize("width", [80, 120])
def test_the_dry_run_is_as_it_was_read(golden: Callable[[str, str], None], width: int) -> None:
    golden(f"preview_{width}.txt", show.preview_text(previewed(), width=width))


@pytest.mark.parametrize("width", [80, 120])
def test_graphs_are_as_they_were_read(golden: Callable[[str, str], None], width: int) -> None:
    plans = (web_tier(), crossing(), wide(12), rolling(100), chain(300), lattice(20))
    text = "\n".join(show.graph_text(plan, width=width, color=False) for plan in plans)
    golden(f"graph_{width}.txt", text)


def test_a_difference_is_as_it_was_read(golden: Callable[[str, str], None]) -> None:
    golden("diff.txt", show.diff_text(web_tier(), changed_plan(), color=False))


def test_findings_errors_refusals_and_questions_are_as_they_were_read(
    golden: Callable[[str, str], None],
) -> None:
    golden("findings.txt", show.findings_text(findings(), "draft.yaml", color=False))
    refusal = Refusal(code="no_actor", reason="No actor does that.", next_step="Write an actor.")
    question = Question(question="Which host?", choices=("web-01", "web-02"))
    error = Conflict("ada drives it", next_step="wait", details=("since 02:00", "pid 12"))
    words = (
        show.refusal_text(refusal)
        + show.question_text(question)
        + show.error_text(error, color=False)
    )
    golden("words.txt", words)


def findings() -> tuple[Finding, ...]:
    edit = Edit(
        op="replace", path=("steps", 1, "actor"), value="apt.upgrade", says="use apt.upgrade"
    )
    insert = Edit(op="add", path=("steps", 2), value={"id": "x"}, says="add a step")
    drop = Edit(op="remove", path=("steps", 0, "after"), says="take `after` away")
    return (
        Finding(
            rung=2,
            code="R2-unknown-actor",
            message="no such actor",
            path=("steps", 1, "actor"),
            line=12,
            edit=edit,
        ),
        Finding(rung=3, code="R3-unknown-after", message=HOSTILE, edit=insert),
        Finding(rung=3, code="R3-repeated-after", message="twice", edit=drop),
    )


def chain(number: int) -> Plan:
    steps = [
        PlanStep(
            id=f"s{n}", actor="vm.snapshot", targets=(f"t-{n}",), after=(f"s{n - 1}",) if n else ()
        )
        for n in range(number)
    ]
    return plan_of(steps)


def lattice(number: int) -> Plan:
    """Make a plan with more rails than fit: pairs that cross."""
    first = [PlanStep(id=f"a{n}", actor="vm.snapshot") for n in range(number)]
    second = [
        PlanStep(id=f"b{n}", actor="http.probe", after=(f"a{n}", f"a{(n + 7) % number}"))
        for n in range(number)
    ]
    return plan_of([*first, *second])


# --- what must hold for any page ----------------------------------------------------------------


def pages(width: int, *, color: bool) -> dict[str, str]:
    story, evil = held(), hostile()
    return {
        "run": show.run_text(story.run, width=width, color=color, history=story.recorded),
        "evil": show.run_text(evil.run, width=width, color=color, history=evil.recorded),
        "evil dry run": show.preview_text(evil.run, width=width, color=color),
        "evil decision": show.decision_text(evil.run, width=width, color=color),
        "evil record": show.events_text(evil.recorded, width=width, color=color),
        "incidents": show.incidents_text(story.run, offered(story.run), width=width, color=color),
        "graph": show.graph_text(web_tier(), width=width, color=color),
        "layers": show.graph_text(lattice(20), width=width, color=color),
    }


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for name, page in pages(width, color=False).items():
        for line in page.splitlines():
            assert cells(line) <= width, f"{name}: {line}"


def test_colours_change_no_word() -> None:
    plain, painted = pages(80, color=False), pages(80, color=True)
    for name, page in painted.items():
        assert COLORS.sub("", page) == plain[name]
        assert "\x1b[" in page, name
        assert "\x1b" not in plain[name], name


def test_nothing_from_outside_reaches_the_terminal_as_an_order() -> None:
    for name, page in pages(100, color=True).items():
        found = UNSEEN.search(COLORS.sub("", page))
        assert found is None, f"{name}: {found}"


def test_markup_in_a_ticket_is_only_text() -> None:
    page = show.run_text(hostile().run, width=120, color=True)
    assert "[bold red]good[/]" in COLORS.sub("", page)


def test_a_ticket_that_hides_something_is_called_out() -> None:
    assert "characters that nobody can see" in show.run_text(hostile().run, width=120, color=False)
    assert "nobody can see" not in show.run_text(held().run, width=120, color=False)


def test_risk_stands_before_the_steps() -> None:
    page = show.run_text(held().run, width=100, color=False)
    assert page.index("point of no return   drop-old") < page.index("STEPS")
    assert page.index("cannot be undone") < page.index("STEPS")


def test_a_plan_without_risk_says_so() -> None:
    page = show.run_text(Story().planned(crossing()).vetted().run, width=100, color=False)
    assert "every change has an undo" in page


def test_targets_are_counted_by_the_groups_of_the_inventory_where_they_are_known() -> None:
    groups = dict.fromkeys(("web-01", "web-02"), ("web", "ams")) | {"db-01": ("db",)}
    page = show.run_text(held().run, width=100, color=False, groups=groups)
    assert "by group" in page
    assert "2 ams, 2 web, 1 db" in page


@pytest.mark.parametrize("plan", [wide(20_000), rolling(10_000), chain(20_000)])
def test_a_great_plan_stays_on_few_lines_and_every_step_is_counted(plan: Plan) -> None:
    run = Story().planned(plan).vetted().run
    page = show.run_text(run, width=80, color=False)
    assert page.count("\n") < 80
    assert f"{len(plan.steps):,} steps" in page
    assert show.graph_text(plan, width=80, color=False).count("\n") < 80


def test_steps_that_differ_are_not_said_to_have_one_value() -> None:
    page = show.run_text(Story().planned(wide(100)).vetted().run, width=100, color=False)
    assert "package = 7 values, the first: package-0" in page


# --- the dry run and decisions ------------------------------------------------------------------


def test_the_dry_run_says_what_it_could_not_predict() -> None:
    page = show.preview_text(previewed(), width=100)
    assert "not at all  1 of 13 steps (7%)" in page
    assert "known only after snapshot.size_gib" in page


def test_a_run_without_a_dry_run_says_how_to_ask_for_one() -> None:
    assert "interlock dry-run CHG-1042-1" in show.preview_text(Story().run)


def test_a_long_diff_is_cut_and_counted() -> None:
    diff = "\n".join(f"+line {n}" for n in range(500))
    story = Story().planned(crossing()).vetted()
    story.tell(facts.PreviewRequested(at_ms=story.now_ms, by="ada"))
    change = Change(target="a-1", summary="much", diff=diff)
    story.act(lambda _: Predicted(grade="predicted", changes=(change,)), rounds=1)
    assert "… and 440 lines more of this diff" in show.preview_text(story.run)


def test_a_decision_shows_levels_waivers_and_what_binds_the_run() -> None:
    waived = Denial(
        rule="window", message="none", finding="missing", level="soft", count=3, waiver="w1"
    )
    use = WaiverUse(
        id="w1",
        rule="window",
        owner="ann",
        ticket="CHG-1",
        reason="the vendor is late",
        until_ms=0,
        state="expired",
    )
    story = Story().planned(web_tier())
    bound = Obligations(stop_after=2)
    run = story.vetted(warnings=(waived,), waivers=(use,), obligations=bound).run
    text = " ".join(show.decision_text(run).split())
    assert "none (and 2 more steps) [window.missing, soft, waived by w1]" in text
    assert "goes back after 2 failed slices of a wave" in text
    assert "waiver w1, expired: window, since 1970-01-01 00:00 UTC" in text
    assert text.endswith("ann (CHG-1): the vendor is late")


def test_times_are_counted_with_as_many_at_a_time_as_policy_allows() -> None:
    story = Story().planned(web_tier()).vetted(obligations=Obligations(max_parallel=1))
    timing = timing_with(story.run.planned, 1)
    assert timing.forward_s > timing_with(story.run.planned, 2).forward_s
    text = " ".join(show.run_text(story.run, width=100, color=False).split())
    assert f"at worst {duration(timing.forward_s)} forward" in text
    assert "at most 1 at a time, as policy demands" in text
    short = story.run.planned.model_copy(
        update={"window": Window(start_ms=NOW_MS, end_ms=NOW_MS + 60_000)}
    )
    tight = Story().planned(short).vetted(outcome="deny", obligations=Obligations(max_parallel=1))
    text = " ".join(show.run_text(tight.run, width=100, color=False).split())
    missing_s = timing.forward_s + timing.rollback_s - 60
    assert f"1 min long, {duration(missing_s)} too short" in text


def test_a_page_of_denials_stays_short_and_counts_the_rest() -> None:
    denials = tuple(Denial(rule="window", message=f"reason {n}") for n in range(1_000))
    run = Story().planned(web_tier()).vetted(outcome="deny", denials=denials).run
    page = show.decision_text(run)
    assert "reason 39" in page
    assert "reason 40" not in page
    assert "and 960 more" in page


def test_a_denial_shows_its_reason_and_what_would_pass() -> None:
    denial = Denial(
        rule="window.night", step="snapshot", message="Not by day.", edit="Begin at 22:00."
    )
    run = Story().planned(web_tier()).vetted(outcome="deny", denials=(denial,)).run
    page = show.decision_text(run)
    assert "snapshot: Not by day. [window.night]" in page
    assert "would pass: Begin at 22:00." in page
    assert show.decision_text(Story().run) == "CHG-1042-1: policy has not been asked\n"


def test_a_run_without_incidents_says_so() -> None:
    assert "no open incident" in show.incidents_text(Story().run, ())


def test_every_remedy_offered_can_be_typed() -> None:
    run = held().run
    page = show.incidents_text(run, offered(run), width=100)
    for remedy in offered(run):
        name = f"{remedy.kind}:{remedy.step}" if remedy.step else remedy.kind
        assert f"interlock recover CHG-1042-1 {name}\n" in page


# --- differences --------------------------------------------------------------------------------


def test_the_same_plan_is_said_to_be_the_same() -> None:
    digest = web_tier().digest()
    assert show.diff_text(web_tier(), web_tier(), color=False) == (
        f"the same plan: same digest {digest}\n"
    )
    assert show.diff_document(web_tier(), web_tier())["same"] is True


def test_a_difference_names_what_was_added_removed_renamed_and_changed() -> None:
    document = show.diff_document(web_tier(), changed_plan())
    assert document["steps"]["added"] == ["again"]
    assert document["steps"]["removed"] == ["drop-old"]
    assert document["steps"]["renamed"] == {"snapshot": "copy"}
    assert list(document["steps"]["changed"]) == ["upgrade@1"]
    assert document["targets"] == {"added": ["web-09"], "removed": []}
    assert {pair["what"] for pair in document["plan"]} == {
        "actor a.new",
        "at a time",
        "catalog",
        "locks",
        "wave web",
        "window",
    }


def test_plans_that_differ_only_in_the_order_of_their_steps_say_so() -> None:
    plan = crossing()
    other = plan.model_copy(update={"steps": (plan.steps[4], *plan.steps[:4], *plan.steps[5:])})
    assert "Only the order" in show.diff_text(plan, other, color=False)


# --- documents ----------------------------------------------------------------------------------


def test_documents_are_json_with_stable_keys() -> None:
    document = json.loads(json.dumps(show.run_document(held().run)))
    assert document["format"] == 1
    assert list(document) == [
        "format", "run", "phase", "reason", "paused", "opened_ms", "at_ms", "events", "epoch",
        "revision", "by", "ticket", "ticket_digest", "findings", "refusal", "question", "answers",
        "plan_digest", "plan", "decision", "approvals", "carried_from", "preview", "progress",
        "incidents", "offered", "next",
    ]  # fmt: skip
    assert document["progress"]["done"] == 5
    assert document["progress"]["states"]["upgrade@2"]["phase"] == "unexpected"
    assert document["progress"]["states"]["snapshot"]["outputs"] == {"size_gib": 120}
    assert document["incidents"][0]["step"] == "upgrade@2"


def test_a_document_of_a_dry_run_holds_every_grade() -> None:
    preview = show.run_document(previewed())["preview"]
    assert preview["grades"] == {"predicted": 9, "partial": 3, "none": 1}
    assert len(preview["results"]) == 13


def test_a_document_before_any_plan_is_whole() -> None:
    document = show.run_document(Story().run)
    assert document["plan"] is None
    assert document["progress"] is None
    assert document["preview"] is None


def test_findings_and_errors_have_documents() -> None:
    found = show.findings_document(findings(), "draft.yaml")
    assert found["findings"][0]["edit"]["value"] == "apt.upgrade"
    error = show.error_document(InvalidInput("no such run", next_step="list", details=("x",)))
    assert error == {
        "format": 1,
        "error": {
            "kind": "InvalidInput",
            "what": "no such run",
            "details": ["x"],
            "next_step": "list",
            "exit_code": 2,
        },
    }


# --- stages of a life ---------------------------------------------------------------------------


def test_every_stage_of_a_life_has_a_page() -> None:
    asked = Story().tell(
        facts.Asked(at_ms=NOW_MS, question=Question(question="Which?", choices=("one", "two")))
    )
    assert "two" in show.run_text(asked.run, width=80, color=False)
    asked.tell(facts.Answered(at_ms=NOW_MS, answer="one", by="ada"))
    asked.tell(facts.DraftRejected(at_ms=NOW_MS, findings=findings()))
    assert "R2-unknown-actor" in show.run_text(asked.run, width=80, color=False)
    refusal = Refusal(code="no_actor", reason="No actor does that.", next_step="Write an actor.")
    asked.tell(facts.Declined(at_ms=NOW_MS, refusal=refusal))
    assert "Write an actor." in show.run_text(asked.run, width=80, color=False)
    record = show.events_text(asked.recorded)
    for words in ("the planner asks: Which?", "ada answered: one", "3 findings", "declined"):
        assert words in record


def test_a_gate_shows_what_to_type() -> None:
    story = Story().planned(web_tier()).waiting().approved().started().act(done, rounds=12)
    page = show.run_text(story.run, width=100, color=False)
    assert "interlock confirm CHG-1042-1 sure ANSWER" in page


def test_what_people_did_to_a_run_is_said_in_the_record() -> None:
    story = Story().planned(web_tier()).waiting().approved().started()
    story.act(done, rounds=2)
    at_ms = story.now_ms
    story.tell(
        facts.TakenOver(at_ms=at_ms, epoch=2, driver="host:12"),
        facts.Paused(at_ms=at_ms, by="ada"),
        facts.Unpaused(at_ms=at_ms, by="ada"),
        facts.WindowClosed(at_ms=at_ms),
    )
    record = show.events_text(story.recorded)
    for words in ("host:12 took the run over", "ada paused", "ada let the run", "window closed"):
        assert words in record


def test_the_steps_of_a_wave_are_named_by_their_slices() -> None:
    page = show.run_text(Story().planned(rolling(5_000)).vetted().run, width=100, color=False)
    assert "upgrade@1…5000" in page
    assert "… and 4,994 more slices" in page


def test_targets_that_are_only_looked_at_are_counted_apart() -> None:
    steps = [
        PlanStep(id="look", actor="http.probe", targets=("web-01", "web-02")),
        PlanStep(id="mend", actor="vm.snapshot", targets=("web-01",)),
    ]
    page = show.run_text(Story().planned(plan_of(steps)).vetted().run, width=100, color=False)
    assert "2 targets in production, 1 of them only looked at" in page


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Done(changed=False), "applied, nothing to change"),
        (Failed(mode="mirror_down"), "apply failed, as foreseen: mirror_down"),
        (Unexpected(message="what?"), "apply: unexpected: what?"),
        (InDoubt(message="lost"), "apply is in doubt: lost"),
        (Found(state="not_applied"), "verify found it not applied"),
    ],
)
def test_every_outcome_has_words(outcome: Outcome, words: str) -> None:
    assert outcome_words("apply", outcome)[0] == words


def test_every_kind_of_event_has_words_of_its_own() -> None:
    told: list[Event] = [
        facts.Rejected(at_ms=NOW_MS, by="grace", reason="too late"),
        facts.Cancelled(at_ms=NOW_MS, by="ada", reason=""),
        facts.RollbackRequested(at_ms=NOW_MS, by="ada", reason="slow"),
        facts.HoldPassed(at_ms=NOW_MS, step="quiet"),
        facts.Confirmed(at_ms=NOW_MS, step="sure", answer="6", by="ada"),
        facts.RemedyChosen(
            at_ms=NOW_MS,
            remedy=Remedy(kind="retry", step="a"),
            by="agent",
            agent=True,
            reason="safe",
        ),
    ]
    assert [event_words(event)[0] for event in told] == [
        "grace rejected it: too late",
        "ada called it off",
        "ada asked to go back: slow",
        "quiet: its instant has come",
        "ada answered sure: 6",
        "agent (agent) chose: try a again: safe",
    ]


def test_what_a_step_does_under_another_actor_or_condition_is_a_change() -> None:
    plan = crossing()
    moved = plan.steps[0].model_copy(
        update={
            "actor": "http.probe",
            "when": Condition(output="b.x", op="==", value=1),
            "params": (Param(name="size", value=3, source="draft"),),
        }
    )
    other = plan.model_copy(update={"steps": (moved, *plan.steps[1:])})
    text = show.diff_text(plan, other, color=False)
    assert "actor vm.snapshot → http.probe; param size added: 3 (draft); when none → " in text
