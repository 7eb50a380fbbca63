"""The verbs by name: each appends an event, drives, and shows, in a module of its own.

1. Nothing heavy is imported here: every verb imports what it needs when it is used.
2. Nothing is asked of a person unless there is a terminal to ask at.
3. The exit code says how it ended: 0 succeeded · 1 bug · 2 invalid input · 3 rejected, declined or
   denied · 4 waiting · 5 rolled back or cancelled · 6 held for a person · 7 unavailable or busy ·
   8 does not verify · 130 stopped by ^C before anything began.
"""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import Annotated, Final, NoReturn

import typer

from orchestrator.cli_actors import actors_app
from orchestrator.cli_options import (
    As,
    AsJson,
    Reason,
    RunName,
    Wait,
    Where,
    remedies_named,
    runs_named,
    runs_or_files,
    view,
)
from orchestrator.cli_policy import policy_app
from orchestrator.view import close_streams, ended, open_streams

__all__ = ["answered", "app", "main"]

NO_REASON: Final = "no reason was given"

app = typer.Typer(
    name="interlock",
    help="An LLM may choose; only tested actors act; policy and people see the whole plan first.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 succeeded, 1 bug, 2 invalid input, 3 rejected, declined or denied, "
    "4 waiting, 5 rolled back or cancelled, 6 held for a person, 7 unavailable or busy, "
    "8 does not verify, 130 stopped by ^C before anything began.",
)
audit_app = typer.Typer(help="The record, and its proof.", no_args_is_help=True)
identity_app = typer.Typer(help="Keys to sign approvals with.", no_args_is_help=True)
app.add_typer(actors_app, name="actors", rich_help_panel="Workspace")
app.add_typer(policy_app, name="policy", rich_help_panel="Workspace")
app.add_typer(audit_app, name="audit", rich_help_panel="Look")
app.add_typer(identity_app, name="identity", rich_help_panel="Workspace")


def main() -> NoReturn:
    """Run the command line; whatever goes wrong ends in words and an exit code."""
    open_streams()
    code = answered()
    close_streams()
    sys.exit(code)


def answered() -> int:
    """Run the command line within this process, and return its exit code."""
    return ended(lambda: app(prog_name="interlock", standalone_mode=False), typer.Abort)


# --- a ticket's life ------------------------------------------------------------------------------


@app.command(rich_help_panel="Change")
def plan(
    ticket: Annotated[
        Path, typer.Argument(help="The ticket's file; - reads it from the standard input.")
    ],
    draft: Annotated[Path | None, typer.Option("--draft", "-d", help="A draft's file.")] = None,
    workspace: Where = None,
    as_json: AsJson = False,
) -> None:
    """Turn a ticket into a plan: drafted, compiled, vetted; nothing is touched."""
    from orchestrator import verbs

    raise typer.Exit(verbs.plan(view(as_json), workspace, ticket, draft))


@app.command(rich_help_panel="Change")
def answer(
    run: RunName,
    text: Annotated[str, typer.Argument(help="The answer.")],
    draft: Annotated[Path | None, typer.Option("--draft", "-d", help="A new draft's file.")] = None,
    workspace: Where = None,
    as_json: AsJson = False,
) -> None:
    """Answer the planner's question."""
    from orchestrator import verbs

    raise typer.Exit(verbs.answer(view(as_json), workspace, run, text, draft))


@app.command("dry-run", rich_help_panel="Change")
def dry_run(run: RunName, workspace: Where = None, as_json: AsJson = False) -> None:
    """Check every step against the real targets; nothing is written."""
    from orchestrator import verbs

    raise typer.Exit(verbs.dry_run(view(as_json), workspace, run))


@app.command(rich_help_panel="Change")
def approve(  # noqa: PLR0917 - typer calls it by name
    run: RunName,
    role: Annotated[str | None, typer.Option(help="The role in which you approve.")] = None,
    digest: Annotated[str | None, typer.Option(help="The digest you reviewed.")] = None,
    answer: Annotated[str | None, typer.Option(help="With --digest: the number or name.")] = None,
    key: Annotated[Path | None, typer.Option(help="Sign with this SSH key.")] = None,
    agent: Annotated[bool, typer.Option("--agent", help="Sign with your SSH agent's key.")] = False,
    earlier: Annotated[str | None, typer.Option("--from", help="Let RUN's consent count.")] = None,
    name: As = None,
    workspace: Where = None,
    as_json: AsJson = False,
) -> None:
    """Consent to a plan's exact digest, by your word or by your signature."""
    from orchestrator import verbs
    from orchestrator.consenting import Pen

    if earlier is not None:
        alone = not any((role, digest, answer, key, agent, name))
        raise typer.Exit(verbs.carry_over(view(as_json), workspace, run, earlier, alone=alone))
    read = verbs.Read(digest, answer)
    pen = Pen(key, agent)
    raise typer.Exit(verbs.approve(view(as_json), workspace, run, role, read, name, pen))


@app.command(rich_help_panel="Change")
def reject(
    run: RunName, reason: Reason, name: As = None, workspace: Where = None, as_json: AsJson = False
) -> None:
    """Say no to a plan."""
    from orchestrator import verbs

    raise typer.Exit(verbs.reject(view(as_json), workspace, run, reason, name))


@app.command("run", rich_help_panel="Change")
def run_(
    run: RunName, wait: Wait = False, workspace: Where = None, as_json: AsJson = False
) -> None:
    """Act. ^C stops safely: what is under way settles, nothing new begins; twice stops the acts."""
    from orchestrator import verbs

    raise typer.Exit(verbs.start(view(as_json), workspace, run, wait=wait))


@app.command(rich_help_panel="Change")
def resume(
    run: RunName, wait: Wait = False, workspace: Where = None, as_json: AsJson = False
) -> None:
    """Go on: after a crash, a pause, a stop, or when something that was waited for has come."""
    from orchestrator import verbs

    raise typer.Exit(verbs.resume(view(as_json), workspace, run, wait=wait))


@app.command(rich_help_panel="Change")
def confirm(
    run: RunName,
    step: Annotated[str, typer.Argument(help="The gate's step.")],
    value: Annotated[str, typer.Argument(metavar="ANSWER", help="The number or name it asks for.")],
    workspace: Where = None,
    as_json: AsJson = False,
) -> None:
    """Answer a gate with the number or the name that it asks for."""
    from orchestrator import verbs

    raise typer.Exit(verbs.told(view(as_json), workspace, run, "confirm", f"{step}={value}"))


@app.command(rich_help_panel="Change")
def pause(run: RunName, workspace: Where = None, as_json: AsJson = False) -> None:
    """Begin nothing new for now; what is under way settles. `resume` ends it."""
    from orchestrator import verbs

    raise typer.Exit(verbs.told(view(as_json), workspace, run, "pause", ""))


@app.command(rich_help_panel="Change")
def cancel(
    run: RunName, reason: Reason = NO_REASON, workspace: Where = None, as_json: AsJson = False
) -> None:
    """Call the change off; what was touched is undone."""
    from orchestrator import verbs

    raise typer.Exit(verbs.told(view(as_json), workspace, run, "cancel", reason))


@app.command(rich_help_panel="Change")
def rollback(
    run: RunName, reason: Reason = NO_REASON, workspace: Where = None, as_json: AsJson = False
) -> None:
    """Undo what a run has changed, also after it succeeded."""
    from orchestrator import verbs

    raise typer.Exit(verbs.told(view(as_json), workspace, run, "rollback", reason))


@app.command(rich_help_panel="Change")
def recover(
    run: RunName,
    remedy: Annotated[
        str | None,
        typer.Argument(
            autocompletion=remedies_named, help="One of those offered: retry:STEP, roll_back, …"
        ),
    ] = None,
    reason: Reason = NO_REASON,
    workspace: Where = None,
    as_json: AsJson = False,
) -> None:
    """Answer an incident with one of the remedies that are offered; without one, list them."""
    from orchestrator import verbs

    raise typer.Exit(verbs.recover(view(as_json), workspace, run, remedy, reason))


# --- looking --------------------------------------------------------------------------------------


@app.command(rich_help_panel="Look")
def show(
    run: RunName,
    graph: Annotated[bool, typer.Option("--graph", help="Draw the plan's steps.")] = False,
    workspace: Where = None,
    as_json: AsJson = False,
) -> None:
    """Show a run: its plan, risks first, and everything that happened to it."""
    from orchestrator import looking

    raise typer.Exit(looking.show(view(as_json), workspace, run, graph=graph))


@app.command(rich_help_panel="Look")
def status(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", autocompletion=runs_named, help="One run only.")
    ] = None,
    workspace: Where = None,
    as_json: AsJson = False,
) -> None:
    """Say what is happening, and what each run that has not ended is waiting for."""
    from orchestrator import light

    light.status(view(as_json), workspace, run)


@app.command("list", rich_help_panel="Look")
def list_(
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="How many.")] = 50,
    workspace: Where = None,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    from orchestrator import light

    light.list_runs(view(as_json), workspace, number)


@app.command(rich_help_panel="Look")
def watch(run: RunName, workspace: Where = None, as_json: AsJson = False) -> None:
    """Follow a run that is driven in another terminal."""
    from orchestrator import looking

    raise typer.Exit(looking.watch(view(as_json), workspace, run))


@app.command(rich_help_panel="Look")
def diff(one: RunName, other: RunName, workspace: Where = None, as_json: AsJson = False) -> None:
    """Say what changed between the plans of two runs."""
    from orchestrator import looking

    raise typer.Exit(looking.diff(view(as_json), workspace, one, other))


@audit_app.command("verify")
def audit_verify(
    what: Annotated[
        str,
        typer.Argument(
            metavar="RUN|FILE", autocompletion=runs_or_files, help="A run, or an exported file."
        ),
    ],
    anchor: Annotated[
        list[str] | None, typer.Option(help="HASH@SEQ that the chain must pass through.")
    ] = None,
    workspace: Where = None,
    as_json: AsJson = False,
) -> None:
    """Check the hash chain of a run or of an exported file."""
    from orchestrator import auditing

    raise typer.Exit(auditing.verify(view(as_json), workspace, what, anchor or []))


@audit_app.command("replay")
def audit_replay(run: RunName, workspace: Where = None, as_json: AsJson = False) -> None:
    """Fold a run again from its first event, and show each one."""
    from orchestrator import auditing

    raise typer.Exit(auditing.replay(view(as_json), workspace, run))


@audit_app.command("export")
def audit_export(
    run: RunName,
    file: Annotated[Path, typer.Option("--output", "-o", help="Where to write it.")],
    workspace: Where = None,
    as_json: AsJson = False,
) -> None:
    """Write a run's record to a file that anybody can verify without Interlock's ledger."""
    from orchestrator import auditing

    raise typer.Exit(auditing.export(view(as_json), workspace, run, file))


# --- the workspace --------------------------------------------------------------------------------


@app.command(rich_help_panel="Workspace")
def init(
    directory: Annotated[str, typer.Argument(help="Where to begin a workspace.")],
    as_json: AsJson = False,
) -> None:
    """Lay down a fresh workspace; nothing that exists is overwritten."""
    from orchestrator import content

    raise typer.Exit(content.init_workspace(view(as_json), directory))


@identity_app.command("init")
def identity_init(name: As = None, workspace: Where = None, as_json: AsJson = False) -> None:
    """Make a key for trying out, without a passphrase, and let it sign in this workspace."""
    from orchestrator import consenting

    raise typer.Exit(consenting.make_identity(view(as_json), workspace, name))


@app.command(rich_help_panel="Workspace")
def doctor(workspace: Where = None, as_json: AsJson = False) -> None:
    """Look for what is missing or unsafe on this machine and in this workspace."""
    from orchestrator import content

    raise typer.Exit(content.doctor(view(as_json), workspace))


if __name__ == "__main__":
    main()
