"""How runs stand, from their rows alone: instant, whatever the ledger holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from orchestrator.show_text import Column, Page, Span, age, clean, count, instant
from orchestrator.show_words import next_commands, standing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.ledger_values import Row

__all__ = ["progress_words", "row_text", "rows_json", "rows_text"]

WAITING: Final = "waiting for "
"""How a note begins that says what is waited for; the state has said the rest."""
WIDE: Final = 110
"""From this width on a run is one line; below, what it waits for stands on a line of its own."""
ENDED: Final = frozenset(
    {"succeeded", "declined", "rejected", "rolled_back", "cancelled", "taken_over"}
)
"""As in the machine, whose value types are too heavy to load for a list."""
_COUNTS: Final = (
    ("acting", "under way"),
    ("to_undo", "still to be undone"),
    ("undone", "undone"),
    ("incidents", "open incidents"),
)


def rows_text(
    rows: Sequence[Row], now_ms: int, *, width: int, color: bool, ended: bool = False
) -> str:
    """Show many runs, one below the other; `ended` says that others are left out for that."""
    page = Page(width, color=color)
    if not rows:
        if ended:
            page.line("Nothing is under way; ended runs:  ", Span("interlock list", "bold"))
            return page.text()
        page.line("No runs yet.")
        typed = "interlock plan TICKET.yaml --draft DRAFT.yaml"
        page.line("Hand in a ticket:  ", Span(typed, "bold"))
        return page.text()
    wide = page.width >= WIDE
    columns = [
        Column("RUN", flex=True),
        Column("STATE"),
        Column("DONE", right=True),
        Column("AGE", right=True),
        Column("WHERE", flex=True),
        Column("TICKET", flex=True),
    ]
    if wide:
        columns.append(Column("WHY", flex=True))
    cells = [_cells(row, now_ms, wide=wide) for row in rows]
    if wide:
        page.table(columns, cells, indent=0)
        return page.text()
    notes = [_note(row) for row in rows]
    _two_lines(page, columns, cells, notes)
    return page.text()


def row_text(row: Row, now_ms: int, holder: str | None, *, width: int, color: bool) -> str:
    """Show one run: where it stands, who drives it, and what may be typed next."""
    page, paused = Page(width, color=color), bool(row.counts.get("paused"))
    words, style = standing(row.phase, paused=paused)
    page.line(Span(row.run, "bold"), "  ", Span(words, style), "  ", row.title)
    if row.note:
        page.field(*_why(row), style if row.phase not in ENDED else "")
    page.field("ticket", f"{row.ticket} in {row.environment}")
    page.field("progress", _progress_line(row.counts))
    if words == "paused":
        page.field("paused", f"begins nothing new until: interlock resume {row.run}", "warn")
    page.field(
        "since",
        f"{age(row.opened_ms, now_ms)} (opened {instant(row.opened_ms)}); "
        f"last event {age(row.at_ms, now_ms)} ago, number {row.seq:,}",
    )
    page.field("driven by", _driver(row, holder), "" if holder or _at_rest(row) else "warn")
    page.head("NEXT")
    denied, driven = bool(row.counts.get("denied")), holder is not None
    page.commands(next_commands(row.phase, row.run, paused=paused, driven=driven, denied=denied))
    return page.text()


def rows_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the same as plain values with stable keys."""
    return [
        {
            "run": row.run,
            "ticket": row.ticket,
            "title": row.title,
            "environment": row.environment,
            "phase": row.phase,
            "note": row.note,
            "counts": dict(row.counts),
            "opened_ms": row.opened_ms,
            "at_ms": row.at_ms,
            "seq": row.seq,
            "epoch": row.epoch,
            "head": row.head,
        }
        for row in rows
    ]


def progress_words(counts: Mapping[str, int]) -> str:
    """Say how far a run is: 12/40, or a dash while it has no plan."""
    steps = counts.get("steps", 0)
    return f"{counts.get('done', 0):,}/{steps:,}" if steps else "-"


def _progress_line(counts: Mapping[str, int]) -> str:
    if not counts.get("steps"):
        return "no plan yet"
    rest = [f"{counts[key]:,} {words}" for key, words in _COUNTS if counts.get(key)]
    steps = count(counts["steps"], "step")
    return ", ".join([f"{counts.get('done', 0):,} of {steps} done", *rest])


def _cells(row: Row, now_ms: int, *, wide: bool) -> list[Span]:
    words, style = standing(row.phase, paused=bool(row.counts.get("paused")))
    cells = [
        Span(row.run, "bold"),
        Span(words, style),
        Span(progress_words(row.counts)),
        Span(age(row.opened_ms, now_ms)),
        Span(row.environment),
        Span(row.title),
    ]
    return [*cells, Span(_note(row), "dim")] if wide else cells


def _note(row: Row) -> str:
    # An end waits for nothing; its reason stands in `status`.
    return "" if row.phase in ENDED else clean(row.note).removeprefix(WAITING)


def _why(row: Row) -> tuple[str, str]:
    if row.note.startswith(WAITING):
        return "waits for", row.note.removeprefix(WAITING)
    return "asks" if row.phase == "asking" else "why", row.note


def _two_lines(
    page: Page, columns: list[Column], cells: list[list[Span]], notes: list[str]
) -> None:
    # The table decides the widths once; the notes are put between its rows.
    whole = Page(page.width, color=page.color)
    whole.table(columns, cells, indent=0)
    head, *lines = whole.text().splitlines()
    page.raw(head)
    for line, note in zip(lines, notes, strict=True):
        page.raw(line)
        if note:
            page.line(Span(f"└ {note}", "dim"), indent=2)


def _at_rest(row: Row) -> bool:
    return row.phase in ENDED or row.phase in ("asking", "waiting", "approved", "held")


def _driver(row: Row, holder: str | None) -> str:
    if holder:
        return holder
    if _at_rest(row):
        return "nobody: nothing is due"
    return f"nobody; let it go on with: interlock resume {row.run}"
