"""Why a draft does not compile, a planner's no, and its question; each with what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from orchestrator.show_text import Page, Span, clean, count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.pure.draft import Edit, Finding, Question, Refusal

__all__ = [
    "findings_document",
    "findings_text",
    "question_text",
    "refusal_text",
]

UNBOUND: Final = 10_000
"""Findings go to logs as often as to a terminal: they are never cut, the terminal breaks them."""

OF_THE_TICKET: Final = "R7-ticket-targets"
"""The one finding whose mistake is not in the draft."""


def findings_text(
    findings: Sequence[Finding], source: str, *, ticket: str = "the ticket", color: bool
) -> str:
    """Show findings as compilers do: where, which, why, and the edit that would pass.

    `source` is the draft's file; `ticket` is where the ticket's own targets stand.
    """
    page = Page(UNBOUND, color=color)
    for finding in findings:
        line = f"{finding.line}:" if finding.line is not None else ""
        place = f"{ticket}:" if finding.code == OF_THE_TICKET else f"{source}:{line}"
        page.line(
            Span(f"{place} ", "bold"),
            Span(f"{finding.code} ", "red"),
            clean(finding.message),
        )
        if finding.path:
            page.line(Span(f"at {path_words(finding.path)}", "dim"), indent=4)
        if finding.edit is not None:
            page.line(Span(f"mend: {clean(finding.edit.says)}", "cyan"), indent=4)
            for text in edit_lines(finding.edit):
                page.line(Span(text, "green"), indent=6)
    if findings:
        found = count(len(findings), "finding")
        page.line(Span(f"{found}; nothing was planned.", "bold"))
    return page.text()


def findings_document(findings: Sequence[Finding], source: str) -> dict[str, Any]:
    """Return the same as plain values."""
    return {
        "format": 1,
        "source": source,
        "findings": [finding.model_dump(mode="json") for finding in findings],
    }


def path_words(path: Sequence[str | int]) -> str:
    """Write a place of a draft as people do: steps[2].params.size."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{clean(part)}" if text else clean(part)
    return text


def edit_lines(edit: Edit) -> list[str]:
    """Write an edit as lines of a draft that a person can paste."""
    if edit.op == "remove":
        return [f"- {path_words(edit.path)}"]
    last = edit.path[-1] if edit.path else ""
    value = _yaml(edit.value)
    if isinstance(last, int) or last == "-":
        return [f"- {value}"]
    return [f"{clean(last)}: {value}" if last else value]


def _yaml(value: object) -> str:
    # JSON is YAML: one line that can be pasted into either.
    import json  # noqa: PLC0415 - only a draft that fails needs it

    text = json.dumps(value, ensure_ascii=False, default=list)
    return clean(text)


def refusal_text(refusal: Refusal, *, color: bool = False) -> str:
    """Show a planner's no."""
    page = Page(UNBOUND, color=color)
    page.line(Span("declined: ", "yellow"), refusal.reason, Span(f"  [{refusal.code}]", "dim"))
    page.line(Span("next: ", "bold"), refusal.next_step)
    return page.text()


def question_text(question: Question, *, color: bool = False, run_id: str = "RUN") -> str:
    """Show a planner's question and its choices."""
    page = Page(UNBOUND, color=color)
    page.line(Span("question: ", "warn"), question.question)
    for number, choice in enumerate(question.choices, 1):
        page.line(Span(f"{number}. ", "dim"), choice, indent=2)
    page.line(Span("next: ", "bold"), f'interlock answer {run_id} "YOUR ANSWER" --draft DRAFT')
    return page.text()
