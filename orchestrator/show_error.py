"""An error in three parts: what happened, to what, what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from orchestrator.show_text import Page, Span

if TYPE_CHECKING:
    from orchestrator.errors import InterlockError

__all__ = ["error_document", "error_text"]

UNBOUND: Final = 10_000
"""Errors go to logs as often as to a terminal: they are never cut, the terminal breaks them."""


def error_text(error: InterlockError, *, color: bool) -> str:
    """Show an error in three parts: what happened, to what, what to do next."""
    page = Page(UNBOUND, color=color)
    page.line(Span("error: ", "alarm"), error.what)
    for detail in error.details:
        page.line(Span("- ", "dim"), detail, indent=2)
    if error.next_step:
        page.line(Span("next: ", "bold"), error.next_step)
    return page.text()


def error_document(error: InterlockError) -> dict[str, Any]:
    """Return the same as plain values."""
    return {
        "format": 1,
        "error": {
            "kind": type(error).__name__,
            "what": error.what,
            "details": list(error.details),
            "next_step": error.next_step,
            "exit_code": error.exit_code,
        },
    }
