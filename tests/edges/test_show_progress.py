"""Progress: plain lines that are bounded, and a live picture that never looks at every step."""

from __future__ import annotations

import io
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from actors.spec import Failed
from edges.show_samples import (
    HOSTILE,
    NOW_MS,
    Story,
    broken,
    checked,
    done,
    plan_of,
    ticket,
    web_tier,
    wide,
)
from orchestrator.progress import Progress
from orchestrator.progress_lines import Under, done_words, picture
from orchestrator.pure import events as facts
from orchestrator.pure.model import Obligations, PlanStep
from orchestrator.pure.run import evolve, opened
from orchestrator.pure.window import timing_with
from orchestrator.show_text import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actors.spec import Outcome
    from orchestrator.pure.commands import Act
    from orchestrator.pure.events import Event
    from orchestrator.pure.model import Plan
    from orchestrator.pure.state import Run

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def started(plan: Plan) -> Story:
    return Story(ticket(title=HOSTILE)).planned(plan).waiting().approved().started()


def flaky(act: Act) -> Outcome | None:
    """Fail once, stay under way once, and otherwise succeed."""
    if act.step == "upgrade@1" and act.attempt == 1:
        return Failed(mode="mirror_down", message=HOSTILE)
    return None if act.step == "upgrade@2" else done(act)


def followed(
    story: Story, outcome: Any, *, rounds: int, takes_ms: int = 21_000, **more: Any
) -> str:
    stream = io.StringIO()
    options = {"live": False, "color": False, "clock_ms": lambda: story.now_ms, **more}
    with Progress(story.run, Under(story.now_ms), stream=stream, **options) as progress:
        story.act(outcome, rounds=rounds, takes_ms=takes_ms, watch=progress.update)
    return stream.getvalue()


def drawn(
    story: Story, outcome: Any, *, rounds: int, width: int = 100, height: int = 40, **more: Any
) -> str:
    under = Under(story.now_ms, **more)

    def watch(run: Run, events: Sequence[Event]) -> None:
        for event in events:
            under.take(run, event)

    story.act(outcome, rounds=rounds, takes_ms=21_000, watch=watch)
    return picture(story.run, under, story.now_ms, width=width, height=height, color=False)


# --- plain lines --------------------------------------------------------------------------------


def test_each_act_has_a_line_with_its_time() -> None:
    lines = followed(started(web_tier()), flaky, rounds=20).splitlines()
    assert lines[0] == "2026-11-25 02:00:00 UTC  CHG-1042-1 running"
    assert "2026-11-25 02:00:21 UTC  snapshot: applied" in lines
    assert "2026-11-25 02:01:45 UTC  upgrade@1: applied (attempt 2)" in lines
    assert lines[-1].endswith("CHG-1042-1 running: 5 of 13 steps done, in 7 min")


def test_plain_lines_hold_no_escape_and_no_hostile_letter() -> None:
    text = followed(started(web_tier()), flaky, rounds=20)
    assert "[bold red]good[/]" in text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u200b]", text)


def test_a_phase_that_changes_has_a_line() -> None:
    text = followed(started(web_tier()), broken, rounds=20)
    assert "held for a person: upgrade@2: dpkg was interrupted" in text


def test_a_great_fan_out_is_summed_up_each_second() -> None:
    text = followed(started(wide(3_000)), done, rounds=40, takes_ms=100)
    lines = text.splitlines()
    assert len(lines) < 100
    assert "more begun" in text
    finished = sum(int(n.replace(",", "")) for n in re.findall(r"([\d,]+) more finished", text))
    assert finished + sum(line.endswith(": applied") for line in lines) == 1 + 39 * 50


def test_failures_are_told_though_successes_are_summed_up() -> None:
    def outcome(act: Act) -> Outcome:
        return Failed(mode="mirror_down") if act.step == "upgrade-60" else done(act)

    text = followed(started(wide(3_000)), outcome, rounds=40, takes_ms=10)
    assert "upgrade-60: apply failed, as foreseen: mirror_down" in text


def test_a_reader_that_went_away_does_not_stop_the_run() -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    story = started(web_tier())
    with Progress(
        story.run,
        Under(NOW_MS),
        stream=Gone(),
        live=False,
        color=False,
        clock_ms=lambda: story.now_ms,
    ) as progress:
        story.act(done, rounds=3, watch=progress.update)
    assert story.run.working.left < 13


# --- the picture --------------------------------------------------------------------------------


def test_the_picture_shows_clocks_acts_and_trouble() -> None:
    text = drawn(started(web_tier()), flaky, rounds=20)
    for words in (
        "CHG-1042-1  running",
        "window ends in 5 h 53 min",
        "last safe abort in 4 h 7 min",
        " 5/13 done  38%  1 under way, 7 to come",
        "upgrade@2  apply  4 min 33 s, expected 2 min, at most 11 min",
        "✓ drain@2: applied",
        "✗ upgrade@1: apply failed, as foreseen: mirror_down",
    ):
        assert words in text


def test_the_picture_says_what_the_run_waits_for() -> None:
    story = started(web_tier())
    text = drawn(story, flaky, rounds=3)
    assert "upgrade@1 tries again in 20 s, attempt 2" in text
    asked = started(web_tier())
    text = drawn(asked, done, rounds=12)
    assert "How many web servers answer" in text
    assert "interlock confirm CHG-1042-1 sure ANSWER" in text
    run = evolve(asked.run, facts.Confirmed(at_ms=asked.now_ms, step="sure", answer="6", by="ada"))
    text = picture(run, Under(asked.now_ms), asked.now_ms, width=100, color=False)
    assert "quiet holds until 2026-11-25 04:00 UTC, in 1 h" in text


def test_the_picture_of_a_run_on_its_way_back_counts_what_is_left() -> None:
    story = started(web_tier())
    story.act(done, rounds=4)
    story.tell(facts.Cancelled(at_ms=story.now_ms, by="ada", reason="enough"))
    text = drawn(story, lambda act: None if act.step == "drain@1" else done(act), rounds=2)
    assert "going back" in text
    assert "2/3 undone" not in text
    assert " undone" in text
    assert "drain@1  undo" in text


def test_the_picture_of_a_dry_run_counts_checks() -> None:
    story = Story().planned(web_tier()).waiting()
    story.tell(facts.PreviewRequested(at_ms=story.now_ms, by="ada"))
    text = drawn(story, checked, rounds=2)
    assert "10/13 checked" in text


def test_where_policy_allows_fewer_at_a_time_the_last_safe_abort_comes_sooner() -> None:
    steps = [PlanStep(id=f"drain-{n}", actor="loadbalancer.drain") for n in range(4)]
    plan, left = plan_of(steps), []
    for bound in (3, 2, 1):
        story = Story().planned(plan).vetted(obligations=Obligations(max_parallel=bound))
        under = Under(story.now_ms)
        last_ms = under.abort_ms(story.run)
        assert last_ms == timing_with(plan, bound).last_safe_abort_ms
        assert under.abort_ms(story.run) == last_ms
        left.append(last_ms or 0)
        story.tell(facts.StartRequested(at_ms=story.now_ms, by="ada", plan_digest="d" * 64))
        story.vetted(obligations=Obligations(max_parallel=1))
        assert under.abort_ms(story.run) == timing_with(plan, 1).last_safe_abort_ms
    assert left[2] < left[1] < left[0]


def test_a_passed_abort_instant_is_called_out() -> None:
    story = started(web_tier())
    late = picture(story.run, Under(NOW_MS), NOW_MS + 6 * 3_600_000 - 1000, width=100, color=False)
    assert "last safe abort: passed 1 h 45 min ago" in late
    assert "window ends in 1 s" in late


@pytest.mark.parametrize(("ago_s", "silent"), [(5, False), (90, True)])
def test_an_act_that_is_not_heard_of_is_called_silent(ago_s: int, silent: bool) -> None:
    story = started(web_tier())
    text = drawn(story, lambda _: None, rounds=1, heard_ms=lambda _: story.now_ms - ago_s * 1000)
    (row,) = (line for line in text.splitlines() if "expected" in line)
    assert ("silent for 1 min 30 s" in row) is silent


def test_the_picture_fits_its_terminal_and_looks_at_few_steps() -> None:
    story = started(wide(5_000))
    text = drawn(story, lambda act: done(act) if act.step == "snapshot" else None, rounds=3)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert len(lines) <= 40

    class Untouchable(dict[int, Any]):
        def __iter__(self) -> Any:
            raise AssertionError("a picture looked at every step")

    steps: Any = Untouchable(story.run.working.steps.items())
    watched = story.run._replace(work=story.run.working._replace(steps=steps))
    assert picture(watched, Under(NOW_MS), story.now_ms, width=100, color=False)


def test_a_run_before_any_act_has_a_picture() -> None:
    story = Story()
    assert "being drafted" in picture(story.run, Under(NOW_MS), NOW_MS, width=60, color=False)
    assert done_words(story.run) == "nothing has acted"


def test_a_live_picture_leaves_failures_and_a_last_line() -> None:
    text = ANSI.sub("", followed(started(web_tier()), flaky, rounds=20, live=True, width=100))
    assert "CHG-1042-1 running: 5 of 13 steps done" in text.splitlines()[-1]
    assert text.count("upgrade@1: apply failed, as foreseen") >= 1
    assert "\u202e" not in text


def test_a_live_picture_without_colour_holds_no_colour() -> None:
    text = followed(started(web_tier()), flaky, rounds=20, live=True, width=100)
    assert not re.search(r"\x1b\[[0-9;]*m", text)


# --- what happened before anybody looked --------------------------------------------------------


def recalled(story: Story) -> Under:
    """Look at a run that is under way already, from the facts of its ledger alone."""
    first, *later = [record.event for record in story.recorded]
    assert isinstance(first, facts.Opened)
    run, under = opened("CHG-1042-1", first), Under(story.now_ms)
    for event in later:
        run = evolve(run, event)
        under.recall(run, event)
    return under


def test_whoever_comes_late_sees_since_when_each_act_and_the_run_are_under_way() -> None:
    story = started(web_tier())
    story.act(flaky, rounds=20, takes_ms=21_000)
    text = picture(story.run, recalled(story), story.now_ms, width=100, color=False)
    assert "upgrade@2  apply  4 min 33 s, expected 2 min, at most 11 min" in text
    assert "elapsed 7 min" in text
    assert "TROUBLE" not in text, "what is over is no news"


def test_an_ended_run_took_as_long_as_it_took() -> None:
    story = started(web_tier())
    story.act(done, rounds=4, takes_ms=21_000)
    story.tell(facts.Cancelled(at_ms=story.now_ms, by="ada", reason="enough"))
    story.act(done, rounds=20, takes_ms=21_000)
    assert story.run.phase == "rolled_back"
    took_ms = story.run.at_ms - NOW_MS
    under, later_ms = recalled(story), story.now_ms + 86_400_000
    assert under.took_ms(story.run, later_ms) == took_ms > 0
    stream = io.StringIO()
    with Progress(
        story.run, under, stream=stream, live=False, color=False, clock_ms=lambda: later_ms
    ):
        pass
    assert stream.getvalue().rstrip().endswith(f", in {duration(took_ms / 1000)}")


def test_a_run_that_was_never_asked_to_act_is_timed_from_the_first_look() -> None:
    story = Story().planned(web_tier()).waiting()
    story.tell(facts.PreviewRequested(at_ms=story.now_ms, by="ada"))
    story.act(checked, rounds=20, takes_ms=21_000)
    story.waiting()
    assert story.run.phase == "waiting"
    assert recalled(story).took_ms(story.run, story.now_ms + 5_000) == 5_000
