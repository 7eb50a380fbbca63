"""Where one actor is tried: asks it for a verb, each time in a fresh directory."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from actors.spec import Brief, Done, Found, Predicted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actors.contract_cases import Case
    from actors.kinds import Kind, Settings
    from actors.spec import ActorSpec, Outcome, Target, Verb

__all__ = ["Bench", "said"]


@dataclass(slots=True)
class Bench:
    """One actor, its kind, and what it acts on."""

    kind: Kind
    settings: Settings
    folder: Path
    workdir: Path
    spec: ActorSpec
    targets: tuple[Target, ...] = ()
    """The test hosts in place of a case's own targets."""
    last: Path | None = None
    """The directory of the last act."""
    attempts: Iterator[int] = field(default_factory=lambda: count(1))

    def ask(self, verb: Verb, case: Case, step: str | None = None) -> Outcome:
        """Have a verb done; the attempts of one step know what the former ones kept."""
        attempt = next(self.attempts)
        self.last = self.workdir / f"{case.name}-{attempt}"
        self.last.mkdir(parents=True)
        brief = Brief(
            key=f"contract/{step or case.name}/{verb}/{attempt}",
            verb=verb,
            attempt=attempt,
            folder=str(self.folder),
            spec=self.spec,
            params=case.params,
            secrets=case.secrets,
            targets=self.targets or case.targets,
            timeout_s=getattr(self.spec.timeouts, f"{verb}_s"),
            workdir=str(self.last),
        )
        return self.kind.perform(brief, self.settings)

    def not_found(self, case: Case, state: str, step: str | None = None) -> str | None:
        """Say what verify found, if it is not this."""
        found = self.ask("verify", case, step)
        if isinstance(found, Found) and found.state == state:
            return None
        return f"verify reported {said(found)}, not {state}"


def said(outcome: Outcome) -> str:
    """Put an outcome into a few words."""
    match outcome:
        case Found():
            return f"{outcome.state} ({outcome.message})" if outcome.message else outcome.state
        case Done() | Predicted():
            return outcome.kind
        case _:
            return f"{outcome.kind}: {outcome.message}"
