"""Asks what other rules would have said of the changes that the ledger remembers.

1. Each plan is judged as it stood when it was first vetted: at that instant, before any approval,
   with the actors that it pinned; freezes, levels, waivers and roles are those of today.
2. Both sides are judged anew, so that only the rules differ.
3. What cannot be judged any more is counted and named, never left out in silence.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from orchestrator.errors import InterlockError, InvalidInput
from orchestrator.policy import Around, judging
from orchestrator.pure.model import Catalog

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.pure.model import Decision, Inventory
    from orchestrator.pure.state import Run
    from orchestrator.settings import Settings

__all__ = ["Asked", "Past", "Verdicts", "backtested", "candidate"]

RULES: Final = "rules"
MOST_REASONS: Final = 3


class Past(NamedTuple):
    """A run as it stood when policy was first asked, and how it ended."""

    run: Run
    at_ms: int
    ended: str
    inventory: Inventory
    exact: bool
    """The inventory is the one of then; else it is today's."""


class Verdicts(NamedTuple):
    """What both sides say of one past change."""

    run: str
    title: str
    ended: str
    exact: bool
    before: str
    after: str
    reasons: tuple[str, ...]
    """What only the candidate says."""

    @property
    def changed(self) -> bool:
        """Say whether the candidate would have made a difference."""
        return self.before != self.after


class Asked(NamedTuple):
    """Where policy stands, and by what settings it is asked."""

    policies: Path
    state: Path
    settings: Settings
    environ: Mapping[str, str]


@contextlib.contextmanager
def candidate(policies: Path, wanted: Path) -> Iterator[Path]:
    """Lay a rule over the workspace's own, or take a whole folder of policies."""
    if wanted.is_dir():
        yield wanted
        return
    if wanted.suffix != ".rego" or not wanted.is_file():
        raise InvalidInput(
            f"{wanted}: is neither a rule (NAME.rego) nor a folder of policies",
            next_step="name a rule's file, with its NAME_cases.yaml beside it, or a folder",
        )
    with tempfile.TemporaryDirectory(prefix="interlock-candidate-") as scratch:
        folder = Path(scratch) / "policies"
        shutil.copytree(policies, folder, symlinks=True)
        for path in (wanted, wanted.with_name(f"{wanted.stem}_cases.yaml")):
            if path.is_file():
                shutil.copyfile(path, folder / RULES / path.name)
        data = wanted.with_name(f"{wanted.stem}_data.yaml")
        if data.is_file():
            with (folder / "data.yaml").open("a", encoding="utf-8") as file:
                file.write(f"\n{data.read_text(encoding='utf-8')}")
        yield folder


def backtested(pasts: Iterable[Past], asked: Asked, wanted: Path) -> Iterator[Verdicts]:
    """Judge each past change by the rules of today, and by the candidate."""
    with contextlib.ExitStack() as both:
        folder = both.enter_context(candidate(asked.policies, wanted))
        judges = [
            both.enter_context(judging(asked.settings, one, asked.state, asked.environ))
            for one in (asked.policies, folder)
        ]
        for past in pasts:
            around = _around(past, asked)
            said: list[Decision | str] = []
            for judge_one in judges:
                try:
                    said.append(judge_one(past.run, "plan", past.at_ms, around))
                except InterlockError as error:
                    said.append(error.what)
            before, after = said
            yield Verdicts(
                run=past.run.id,
                title=past.run.ticket.title,
                ended=past.ended,
                exact=past.exact,
                before=_outcome(before),
                after=_outcome(after),
                reasons=_reasons(before, after),
            )


def _around(past: Past, asked: Asked) -> Around:
    plan = past.run.planned
    pinned = {name: actor.digest for name, actor in plan.actors.items()}
    return Around(
        policies=asked.policies,
        state=asked.state,
        environ=asked.environ,
        catalog=Catalog(digest=plan.catalog_digest, actors=plan.actors, evidence=pinned),
        inventory=past.inventory,
        inventory_digest=plan.inventory_digest,
        others=tuple,
    )


def _outcome(said: Decision | str) -> str:
    if isinstance(said, str):
        return "not judged"
    consent = ", ".join(f"{one.count} x {one.role}" for one in said.missing)
    return "deny" if said.outcome == "deny" else f"allow with {consent}" if consent else "allow"


def _reasons(before: Decision | str, after: Decision | str) -> tuple[str, ...]:
    if isinstance(after, str):
        return (after,)
    known = set() if isinstance(before, str) else {(d.rule, d.finding) for d in before.denials}
    fresh = [d for d in after.denials if (d.rule, d.finding) not in known]
    return tuple(f"{d.rule}: {d.message}" for d in fresh[:MOST_REASONS])
