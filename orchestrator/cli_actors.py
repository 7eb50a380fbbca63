"""The verbs of actors: listing, showing, checking and testing them."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli_options import AsJson, Where, actors_named, view

__all__ = ["actors_app"]

actors_app = typer.Typer(help="The actors of this workspace.", no_args_is_help=True)


@actors_app.command("list")
def actors_list(
    environment: Annotated[
        str | None,
        typer.Option("--for", help="Only those that policy offers for a change in this place."),
    ] = None,
    requester: Annotated[
        str | None, typer.Option("--requester", help="Who would ask, if not you; with --for.")
    ] = None,
    workspace: Where = None,
    as_json: AsJson = False,
) -> None:
    """List the actors that a plan may choose from."""
    from orchestrator import content, offering

    if environment is None and requester is None:
        raise typer.Exit(content.actors_list(view(as_json), workspace))
    raise typer.Exit(offering.actors_for(view(as_json), workspace, environment, requester))


@actors_app.command("show")
def actors_show(
    name: Annotated[str, typer.Argument(autocompletion=actors_named, help="The actor.")],
    workspace: Where = None,
    as_json: AsJson = False,
) -> None:
    """Show what an actor says of itself."""
    from orchestrator import content

    raise typer.Exit(content.actors_show(view(as_json), workspace, name))


@actors_app.command("check")
def actors_check(workspace: Where = None, as_json: AsJson = False) -> None:
    """Read every actor's folder and list what is wrong, with file and line."""
    from orchestrator import content

    raise typer.Exit(content.actors_check(view(as_json), workspace))


@actors_app.command("test")
def actors_test(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", autocompletion=actors_named, help="One actor only."),
    ] = None,
    hosts: Annotated[
        str | None,
        typer.Option(metavar="GROUP", help="A group of the inventory whose hosts may be changed."),
    ] = None,
    workspace: Where = None,
    as_json: AsJson = False,
) -> None:
    """Try actors on their own cases; what passed is recorded as their evidence."""
    from orchestrator import content

    raise typer.Exit(content.actors_test(view(as_json), workspace, name, hosts))
