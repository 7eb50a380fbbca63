"""The verbs of policy authors: testing, explaining, breaking and back-testing rules."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import Annotated

import typer

from orchestrator.cli_options import AsJson, Where, view

__all__ = ["policy_app"]

policy_app = typer.Typer(
    help="The rules that vet plans, and the tools of their authors.", no_args_is_help=True
)


@policy_app.command("test")
def policy_test(
    rule: Annotated[str | None, typer.Argument(metavar="[RULE]", help="One rule only.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit report there too.")] = None,
    workspace: Where = None,
    as_json: AsJson = False,
) -> None:
    """Try every rule on its cases, on every engine that is here."""
    from orchestrator import policing

    raise typer.Exit(policing.test(view(as_json), workspace, rule, junit))


@policy_app.command("explain")
def policy_explain(
    what: Annotated[str, typer.Argument(metavar="RUN|RULE", help="A run, a ticket, or a rule.")],
    sarif: Annotated[Path | None, typer.Option(help="Write a SARIF report there too.")] = None,
    edits: Annotated[
        bool, typer.Option("--edits/--no-edits", help="Look for the smallest edits that pass.")
    ] = True,
    workspace: Where = None,
    as_json: AsJson = False,
) -> None:
    """Say what a rule wants, or why policy says what it says of a run, and what would pass."""
    from orchestrator import policing

    raise typer.Exit(policing.explain(view(as_json), workspace, what, sarif, edits=edits))


@policy_app.command("mutate")
def policy_mutate(workspace: Where = None, as_json: AsJson = False) -> None:
    """Break the gate on purpose, in every way that we know: each time it must deny."""
    from orchestrator import policing

    raise typer.Exit(policing.mutate(view(as_json), workspace))


@policy_app.command("backtest")
def policy_backtest(
    wanted: Annotated[
        Path, typer.Argument(metavar="RULE|DIR", help="A rule's .rego, or a folder of policies.")
    ],
    workspace: Where = None,
    as_json: AsJson = False,
) -> None:
    """Say what a rule, or other policies, would have said of past changes."""
    from orchestrator import policing

    raise typer.Exit(policing.backtest(view(as_json), workspace, wanted))
