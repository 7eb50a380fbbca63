"""Lists of runs, and the means of showing: clean words, cells, times."""

from __future__ import annotations

import subprocess
import sys
import time
import unicodedata
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edges.show_samples import HOSTILE, NOW_MS
from orchestrator.ledger_values import Row
from orchestrator.pure.run import ENDS
from orchestrator.pure.state import Phase
from orchestrator.show_rows import ENDED, row_text, rows_json, rows_text
from orchestrator.show_text import (
    Column,
    Page,
    Span,
    age,
    cells,
    clean,
    clip,
    duration,
    fit,
    hidden,
    instant,
    wrap,
)
from orchestrator.show_words import PHASES, next_commands, wording

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN: Final = Path(__file__).parent / "golden"
HOUR_MS: Final = 3_600_000


@pytest.fixture(autouse=True)
def _prague(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Prague")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def row(run: str, phase: str, note: str = "", **counts: int) -> Row:
    return Row(
        run=run,
        ticket="CHG-1042",
        title="Upgrade openssl on the web tier of the shop in Amsterdam",
        environment="production",
        phase=phase,
        seq=19,
        epoch=1,
        at_ms=NOW_MS - 90_000,
        opened_ms=NOW_MS - 3 * HOUR_MS,
        head="e" * 64,
        note=note,
        counts=counts,
    )


def rows() -> list[Row]:
    evil = row("CHG-7-1", "asking", HOSTILE)
    return [
        row("CHG-1042-1", "waiting", "waiting for approval: 1 x change_manager", steps=13, done=0),
        row("CHG-1043-1", "running", steps=12_000, done=480, acting=50),
        row("CHG-1044-12", "held", "upgrade@2: dpkg was interrupted", steps=40, done=12),
        row("CHG-1045-1", "running", steps=4, done=1, paused=1),
        row("CHG-1046-1", "rolled_back", "upgrade@1 failed; all was undone", steps=40, undone=12),
        row("CHG-1047-1", "drafting"),
        evil,
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_lists_are_as_they_were_read(request: pytest.FixtureRequest, width: int) -> None:
    text = rows_text(rows(), NOW_MS, width=width, color=False)
    for one in rows():
        holder = "ada on box-3, pid 712" if one.phase == "running" else None
        text += "\n" + row_text(one, NOW_MS, holder, width=width, color=False)
    path = GOLDEN / f"rows_{width}.txt"
    if request.config.getoption("--rewrite"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_an_empty_ledger_says_what_to_do_next() -> None:
    text = rows_text([], NOW_MS, width=80, color=False)
    assert "interlock plan TICKET.yaml --draft DRAFT.yaml" in text


def test_when_all_runs_have_ended_it_does_not_say_that_there_were_none() -> None:
    text = rows_text([], NOW_MS, width=80, color=False, ended=True)
    assert "Nothing is under way; ended runs:  interlock list" in text
    assert "No runs" not in text


@pytest.mark.parametrize("width", [40, 80, 109, 110, 200])
def test_no_row_is_wider_than_the_terminal(width: int) -> None:
    for line in rows_text(rows(), NOW_MS, width=width, color=False).splitlines():
        assert cells(line) <= width


def test_a_run_that_nobody_drives_says_how_to_let_it_go_on() -> None:
    running = row("CHG-1043-1", "running", steps=4, done=1)
    assert "interlock resume CHG-1043-1" in row_text(running, NOW_MS, None, width=100, color=False)
    assert "nothing is due" in row_text(rows()[0], NOW_MS, None, width=100, color=False)


@pytest.mark.parametrize("phase", ["drafting", "previewing", "starting", "running", "rolling_back"])
def test_only_who_is_driven_is_watched_and_only_who_is_not_is_resumed(phase: str) -> None:
    alone = [typed.split()[1] for typed, _ in next_commands(phase, "R")]
    driven = [typed.split()[1] for typed, _ in next_commands(phase, "R", driven=True)]
    assert alone[0] == "resume"
    assert not {"watch", "pause"} & set(alone)
    assert driven[0] == "watch"
    assert "resume" not in driven
    stands = row_text(row("R", phase), NOW_MS, None, width=100, color=False)
    assert "interlock resume R  let it go on" in stands
    stands = row_text(row("R", phase), NOW_MS, "ada", width=100, color=False)
    assert "interlock resume R  let it go on" not in stands


def test_a_pause_is_named_at_the_head_and_ends_with_resume_also_while_it_is_driven() -> None:
    paused = row("R", "running", steps=4, paused=1)
    for holder in (None, "ada"):
        text = row_text(paused, NOW_MS, holder, width=100, color=False)
        assert text.startswith("R  paused  ")
        assert "interlock resume R" in text
        assert "interlock pause R" not in text
    back = row("R", "rolling_back", steps=4, paused=1)
    assert row_text(back, NOW_MS, None, width=100, color=False).startswith("R  going back  ")
    assert "paused" not in rows_text([back], NOW_MS, width=100, color=False)


def test_open_incidents_are_counted() -> None:
    held = row("R", "held", steps=4, done=1, incidents=2)
    text = row_text(held, NOW_MS, None, width=100, color=False)
    assert "1 of 4 steps done, 2 open incidents" in text


def test_rows_as_values_have_stable_keys() -> None:
    assert list(rows_json(rows())[1]) == [
        "run", "ticket", "title", "environment", "phase", "note", "counts", "opened_ms", "at_ms",
        "seq", "epoch", "head",
    ]  # fmt: skip


def test_every_phase_has_words_and_a_next_step() -> None:
    assert set(PHASES) == set(get_args(Phase))
    assert set(ENDED) == set(ENDS)
    assert all(next_commands(phase, "CHG-1-1") for phase in PHASES)
    assert wording("unheard_of").words == "unheard_of"


def test_every_verb_that_is_advised_exists() -> None:
    from orchestrator.cli import app, audit_app  # noqa: PLC0415 - only this test needs it

    known = {
        command.name or getattr(command.callback, "__name__", "")
        for command in app.registered_commands
    }
    known |= {f"audit {command.name}" for command in audit_app.registered_commands}
    for phase, driven, denied in product(PHASES, (False, True), (False, True)):
        for typed, _ in next_commands(phase, "RUN", driven=driven, denied=denied):
            words = typed.split()
            verb = " ".join(words[1:3]) if words[1] == "audit" else words[1]
            assert verb in known, typed


def test_a_list_loads_nothing_heavy() -> None:
    code = (
        "import sys, orchestrator.show_rows;"
        "print(sorted({'rich', 'pydantic', 'immutables', 'typer'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "[]\n"


# --- words --------------------------------------------------------------------------------------


@given(st.text(st.characters(), max_size=60))
def test_clean_text_holds_nothing_that_is_unseen_or_obeyed(text: str) -> None:
    shown = clean(text)
    assert not any(unicodedata.category(letter)[0] == "C" for letter in shown)
    assert clean(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mC1", "C1"),
        ("\x1bPq#0\x1b\\sixel", "sixel"),
        ("a\u202eb\u2066c\u200d\ufeffd", "abcd"),
        ("tag\U000e0041\U000e007f", "tag"),
        ("fill\u3164\u115fer", "filler"),
        ("line\u2028break\nand\ttab", "line break and tab"),
        ("e\u0301\u0301\u0301\u0301", "e\u0301\u0301"),
        ("variation\ufe0f", "variation"),
    ],
)
def test_what_cannot_be_seen_is_dropped(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_hidden_characters_are_counted_and_line_breaks_are_not() -> None:
    assert hidden("a\r\nb\tc") == 0
    assert hidden("a\u200bb\x1b[1mc") == 5


@given(st.text(st.characters(exclude_categories=["C"]), max_size=80), st.integers(1, 30))
def test_text_fits_into_its_cells(text: str, width: int) -> None:
    text = clean(text)
    assert cells(clip(text, width)) <= width
    assert cells(fit(text, width)) == width
    assert all(cells(line) <= max(width, 2) for line in wrap(text, width))


@given(st.text("ab c漢\u0301", max_size=60), st.integers(2, 20))
def test_wrapping_loses_no_letter(text: str, width: int) -> None:
    assert "".join(wrap(text, width)).replace(" ", "") == "".join(text.split())


def test_a_cut_is_marked() -> None:
    assert clip("twelve cells", 8) == "twelve…"
    assert clip("漢字漢字", 5) == "漢字…"


# --- times --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3_599, "59 min 59 s"),
        (3_600, "1 h"),
        (9_000, "2 h 30 min"),
        (90_000, "1 d 1 h"),
        (-61, "-1 min 1 s"),
    ],
)
def test_durations_are_said_in_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("passed_s", "words"),
    [
        (-5, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (7_199, "119 min"),
        (7_200, "2 h"),
        (172_800, "2 d"),
    ],
)
def test_an_age_is_said_in_one_unit(passed_s: int, words: str) -> None:
    assert age(0, passed_s * 1000) == words


def test_an_instant_is_said_in_utc_and_where_the_reader_is() -> None:
    assert instant(NOW_MS) == "2026-11-25 02:00 UTC (03:00 CET)"
    assert instant(NOW_MS + 21 * HOUR_MS) == "2026-11-25 23:00 UTC (2026-11-26 00:00 CET)"
    assert instant(1_782_000_000_500, seconds=True) == "2026-06-21 00:00:00 UTC (02:00:00 CEST)"


def test_an_instant_beyond_the_calendar_is_still_said() -> None:
    assert instant(2**53 - 1) == "9007199254740991 ms after 1970"


def test_utc_is_not_said_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert instant(NOW_MS) == "2026-11-25 02:00 UTC"


# --- pages --------------------------------------------------------------------------------------


def test_a_table_cuts_only_what_may_be_cut() -> None:
    page = Page(30, color=False)
    columns = [Column("ID"), Column("WORDS", flex=True), Column("N", right=True)]
    page.table(columns, [[Span("abc"), Span("many words that do not fit"), Span("7")]], indent=0)
    assert page.text() == "ID   WORDS                   N\nabc  many words that do no…  7\n"


def test_an_empty_column_takes_no_room() -> None:
    page = Page(30, color=False)
    page.table(
        [Column("A"), Column("B"), Column("C")], [[Span("1"), Span(""), Span("3")]], indent=0
    )
    assert page.text() == "A  C\n1  3\n"


def test_colour_is_put_on_after_the_width_is_counted() -> None:
    page = Page(20, color=True)
    page.line(Span("x" * 30, "red"))
    assert page.text() == f"\x1b[31m{'x' * 19}…\x1b[0m\n"
