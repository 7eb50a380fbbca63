"""What people read: each function returns a page of text or a JSON document; none prints.

1. The risk of a plan stands before its steps.
2. A page stays short whatever the plan: what is not shown is counted.
3. Every word from outside is cleaned where it enters a page (`show_text`).

The rooms beside this one: `show_plan` and `show_run` (the page of a run), `show_graph`,
`show_diff`, `show_findings`, `show_error`, `show_events`, `show_rows` (lists, instant),
`show_document` (JSON), `show_words` (phases and what may be typed next), `show_text` (the means).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.pure.run import offered as offered_now
from orchestrator.pure.standing import done_steps
from orchestrator.show_diff import diff_document, diff_text
from orchestrator.show_document import run_document
from orchestrator.show_error import error_document, error_text
from orchestrator.show_events import add_events
from orchestrator.show_findings import (
    findings_document,
    findings_text,
    question_text,
    refusal_text,
)
from orchestrator.show_graph import graph_text
from orchestrator.show_plan import add_locks, add_pins, add_risk, add_steps, add_timing, add_undo
from orchestrator.show_run import (
    add_approvals,
    add_decision,
    add_head,
    add_incidents,
    add_next,
    add_preview,
)
from orchestrator.show_text import Page, Span, instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orchestrator.ledger_values import Recorded
    from orchestrator.pure.model import Remedy
    from orchestrator.pure.state import Run

__all__ = [
    "decision_text",
    "diff_document",
    "diff_text",
    "error_document",
    "error_text",
    "events_text",
    "findings_document",
    "findings_text",
    "graph_text",
    "incidents_text",
    "preview_text",
    "question_text",
    "refusal_text",
    "run_document",
    "run_text",
]

PAGE: Final = 100
"""The width of a page when nobody says one."""
MOST_HISTORY: Final = 200


def run_text(
    run: Run,
    *,
    width: int,
    color: bool,
    history: Sequence[Recorded] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
    driven: bool = False,
) -> str:
    """Show a run: what it is, what it risks, its steps, the way back, its time, and what was said.

    `groups` names the inventory groups of each target; without it, targets are counted by name.
    """
    page = Page(width, color=color)
    add_head(page, run)
    _add_before(page, run)
    if run.incidents:
        add_incidents(page, run, offered_now(run))
    if run.plan is not None:
        add_risk(page, run.plan, groups)
        add_steps(page, run.plan)
        add_undo(page, run.plan)
        add_timing(page, run)
        add_locks(page, run.plan)
        add_pins(page, run.plan, run.plan_digest)
    if run.decision is not None:
        add_decision(page, run.decision)
    add_approvals(page, run)
    add_preview(page, run, diffs=False)
    _add_history(page, history)
    add_next(page, run, driven=driven)
    return page.text()


def decision_text(run: Run, *, width: int = PAGE, color: bool = False) -> str:
    """Show policy's answer and who has consented."""
    page = Page(width, color=color)
    if run.decision is None:
        page.line(Span(run.id, "bold"), ": policy has not been asked")
        return page.text()
    add_decision(page, run.decision)
    add_approvals(page, run)
    return page.text()


def preview_text(run: Run, *, width: int = PAGE, color: bool = False) -> str:
    """Show the dry run, step by step, with its diffs."""
    page = Page(width, color=color)
    if run.preview is None:
        page.line(Span(run.id, "bold"), ": there was no dry run; ask for one with:")
        page.line(Span(f"interlock dry-run {run.id}", "bold"), indent=2)
        return page.text()
    add_preview(page, run)
    return page.text()


def incidents_text(
    run: Run, offered: Sequence[Remedy], *, width: int = PAGE, color: bool = False
) -> str:
    """Show what nobody foresaw, and the remedies that may be chosen."""
    page = Page(width, color=color)
    if not run.incidents and not offered:
        page.line(Span(run.id, "bold"), ": there is no open incident")
        return page.text()
    add_head(page, run)
    add_incidents(page, run, offered)
    return page.text()


def events_text(recorded: Iterable[Recorded], *, width: int = PAGE, color: bool = False) -> str:
    """Show events, one line each."""
    page = Page(width, color=color)
    add_events(page, recorded)
    return page.text()


def _add_before(page: Page, run: Run) -> None:
    # What stopped a run before it had a plan.
    if run.findings:
        page.head("FINDINGS", "alarm", note=f"{len(run.findings)}; nothing was planned")
        for finding in run.findings:
            page.words(f"{finding.code}: {finding.message}", indent=2, hang=2)
            if finding.edit is not None:
                page.words(f"mend: {finding.edit.says}", "cyan", indent=4, hang=2)
    if run.refusal is not None:
        page.field("next", run.refusal.next_step)
    if run.question is not None:
        for number, choice in enumerate(run.question.choices, 1):
            page.field("choices" if number == 1 else "", choice)
    if run.work is not None:
        _add_progress(page, run)


def _add_progress(page: Page, run: Run) -> None:
    work, steps = run.working, run.shaped.steps
    page.field("done", f"{done_steps(run):,} of {len(steps):,} steps")
    if work.acting:
        names = [steps[index].id for index in sorted(work.acting)]
        more = f", … and {len(names) - 4:,} more" if len(names) > 4 else ""
        page.field("under way", ", ".join(names[:4]) + more)
    for index in sorted(work.gates)[:4]:
        gate = steps[index].gate
        question = getattr(gate, "question", "")
        page.field("gate", f"{steps[index].id} asks: {question}", "warn")
        page.field("", f"interlock confirm {run.id} {steps[index].id} ANSWER", "bold")


def _add_history(page: Page, history: Sequence[Recorded]) -> None:
    if not history:
        return
    note = f"{len(history):,} events, {instant(history[0].event.at_ms)} on"
    page.head("HISTORY", note=note)
    if len(history) > MOST_HISTORY:
        page.line(Span(f"… {len(history) - MOST_HISTORY:,} earlier events", "dim"), indent=2)
    add_events(page, history[-MOST_HISTORY:])
