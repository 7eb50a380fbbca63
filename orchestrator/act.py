"""The process of one act: verify that it is in the approved plan, do it, write down its outcome.

1. It holds the lock of its directory while it lives; whoever can take that lock knows it is gone.
2. An outcome that is already there (somebody closed the matter) means: do not act.
3. A refused warrant has no effect, and says so as an unexpected outcome.
4. `done` is reported only when the actor's own verify agreed; when that cannot say: in doubt.
5. A warrant is good in its own directory only, so that a copy of it acts on nothing.
6. Consent is judged here once more, from the workspace's own files (`act_consent`).
7. Only then are the step's secrets resolved (`act_secrets`); nothing leaves this process with one
   in it (`act_redaction`).

Run as `python -m orchestrator.act DIRECTORY`; a driver starts it, nobody else.
"""

from __future__ import annotations

import fcntl
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter

from actors.catalog import folder_digest
from actors.kinds import ActorsError, load_kind
from actors.redaction import Redactor
from actors.spec import Done, Found, InDoubt, Outcome, Predicted, Unexpected
from orchestrator.act_consent import problem_with_act, problem_with_secrets, workspace_of
from orchestrator.act_redaction import cleaned, log_through, swept
from orchestrator.act_secrets import SecretError, handed_over, names_in, resolved, unavailable
from orchestrator.pure.warrant import Warrant, problem_with_warrant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

    from actors.kinds import Kind, Settings
    from actors.spec import Brief

__all__ = [
    "BRIEF",
    "LOCK",
    "LOG",
    "OUTCOME",
    "main",
    "perform_act",
    "read_outcome",
    "write_outcome",
]

BRIEF: Final = "warrant.json"
LOCK: Final = "lock"
LOG: Final = "log"
OUTCOME: Final = "outcome.json"

MAX_OUTCOME_BYTES: Final = 4_000_000

_outcomes: Final[TypeAdapter[Outcome]] = TypeAdapter(Outcome)


def main(directory: Path, *, alone: bool = False) -> int:
    """Do the act whose warrant lies in this directory; `alone` in a process of its own."""
    environ = _taken_over() if alone else os.environ
    lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 7
    if (directory / OUTCOME).exists():
        return 7
    os.write(lock, str(os.getpid()).encode())
    write_outcome(directory, _warranted(directory, environ, alone=alone))
    return 0


def perform_act(kind: Kind, brief: Brief, settings: Settings) -> Outcome:
    """Do one verb, and let the actor's verify have the last word on apply and undo."""
    try:
        outcome = kind.perform(brief, settings)
    except ActorsError as error:
        return Unexpected(message=f"{error.what}; {error.next_step}")
    if not isinstance(outcome, Done) or brief.verb not in ("apply", "undo"):
        return outcome
    if brief.spec.effect == "read":
        return outcome
    seen = kind.perform(brief.model_copy(update={"verb": "verify"}), settings)
    wanted = "applied" if brief.verb == "apply" else "not_applied"
    if isinstance(seen, Found) and seen.state == wanted:
        return outcome
    if not isinstance(seen, Found) or seen.state == "unknown":
        said = getattr(seen, "message", "") or seen.kind
        return InDoubt(message=f"{brief.verb} reported done, but verify could not say: {said}")
    return Unexpected(message=f"{brief.verb} reported done, but verify says {seen.state}")


def read_outcome(directory: Path) -> Outcome | None:
    """Read what became of an act; an unreadable outcome, or one without measure, is none."""
    try:
        with (directory / OUTCOME).open("rb") as file:
            content = file.read(MAX_OUTCOME_BYTES + 1)
        return _outcomes.validate_json(content) if len(content) <= MAX_OUTCOME_BYTES else None
    except (OSError, ValueError):
        return None


def write_outcome(directory: Path, outcome: Outcome) -> None:
    """Write an outcome so that it is there whole or not at all, also after a power cut."""
    beside = directory / f"{OUTCOME}.{os.getpid()}"
    with beside.open("wb") as file:
        file.write(_outcomes.dump_json(outcome))
        file.flush()
        os.fsync(file.fileno())
    beside.rename(directory / OUTCOME)
    folder = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _warranted(directory: Path, environ: Mapping[str, str], *, alone: bool) -> Outcome:
    try:
        warrant = Warrant.model_validate_json((directory / BRIEF).read_bytes())
        problem = problem_with_warrant(warrant, _digest(Path(warrant.brief.folder)))
    except ValueError:
        return Unexpected(message="refused before it acted: its warrant cannot be read")
    if not problem and warrant.brief.workdir != str(directory):
        problem = "the warrant is for another directory"
    if not problem:
        problem = problem_with_act(warrant, directory, time.time_ns() // 1_000_000)
    if problem:
        return Unexpected(message=f"refused before it acted: {problem}")
    secrets = _secrets(warrant, directory, environ)
    if not isinstance(secrets, dict):
        return secrets
    redactor = Redactor.of(secrets)
    if alone:
        log_through(redactor)
    given = {param: secrets[name] for param, name in names_in(warrant.step).items()}
    brief = warrant.brief.model_copy(update={"secrets": given})
    try:
        return cleaned(_performed(brief, warrant.settings), brief, redactor)
    finally:
        if secrets:
            swept(directory, redactor, but=(BRIEF, LOCK, LOG))


def _performed(brief: Brief, settings: Settings) -> Outcome:
    try:
        kind = load_kind(brief.spec.kind)
    except ActorsError as error:
        return Unexpected(message=f"refused before it acted: {error.what}; {error.next_step}")
    return perform_act(kind, brief, settings)


def _secrets(
    warrant: Warrant, directory: Path, environ: Mapping[str, str]
) -> dict[str, SecretStr] | Outcome:
    """Find the secrets that the step names, which is known to be in the plan; or say why not."""
    names = names_in(warrant.step)
    if not names:
        return {}
    problem = problem_with_secrets(warrant, directory, time.time_ns() // 1_000_000)
    if problem:
        return _untold(warrant, problem)
    sources = workspace_of(directory).settings.secrets
    environment = str(warrant.header.get("environment"))
    try:
        return resolved(names.values(), sources, environment, environ)
    except SecretError as error:
        return unavailable(error)


def _untold(warrant: Warrant, problem: str) -> Outcome:
    """Report what can be said of a step whose secrets nobody has consented to."""
    message = f"not looked at: its secrets are told after consent only ({problem})"
    if warrant.brief.verb == "check":
        return Predicted(grade="none", message=message)
    return Found(state="unknown", message=message)


def _taken_over() -> dict[str, str]:
    """Take what the driver handed over on the standard input, and leave nothing of it there."""
    environ = handed_over(0)
    nowhere = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core holds all that the process knew
    return environ


def _digest(folder: Path) -> str:
    try:
        return folder_digest(folder).digest or ""
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), alone=True))
