"""The words that several verbs share on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.errors import InterlockError
from orchestrator.view import View

__all__ = ["As", "AsJson", "Reason", "RunName", "Wait", "Where", "runs_named", "view"]


def runs_named(incomplete: str) -> list[str]:
    """Complete the names of runs."""
    from orchestrator.light import rows

    try:
        return [row.run for row in rows(None) if row.run.startswith(incomplete)]
    except InterlockError:
        return []


RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN", autocompletion=runs_named, help="A run, or a ticket for its newest run."
    ),
]
Where = Annotated[
    Path | None,
    typer.Option("--workspace", "-w", envvar="INTERLOCK_WORKSPACE", help="The workspace's folder."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
As = Annotated[str | None, typer.Option("--as", help="Your name, if not your login name.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why, for the record.")]
Wait = Annotated[bool, typer.Option("--wait", help="Stay until the window opens or a hold ends.")]


def view(as_json: bool) -> View:
    """Say how to answer: in text or as JSON."""
    return View.here(as_json=as_json)
