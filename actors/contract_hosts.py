"""Tests an actor on real hosts, which can be looked at, broken, and made anew.

1. `verify` and `check` write nothing: what can be seen of each host (files and processes) is the
   same after both.
2. What `check` predicts for a task and what `apply` then changes agree; where they do not, this is
   listed in the evidence, and an actor that graded its dry run *predicted* has broken its promise.
3. A second `apply` changes nothing.
4. An apply that was cut off behind any of the tasks that change something is no apply to `verify`
   while anything is left to do, goes on when it is asked for again, and can be undone. So can one
   whose undo was cut off in the same way.
5. Every declared failure is provoked and reported by its name, or the cases say why it cannot be.
   One that leaves nothing leaves nothing: `verify` finds what it found before.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from actors.contract_bench import Bench, said
from actors.contract_cases import misfitting
from actors.kinds import ActorsError
from actors.spec import Done, Failed, Found, Predicted, problem_with

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from actors.contract_cases import Case, Cases, Provoked
    from actors.kinds import Settings
    from actors.spec import ActorSpec, Outcome, Target, Verb

__all__ = ["ActsOnHosts", "Group", "OnHosts", "Sandbox", "SandboxHosts"]

GRADES: Final = {"none": 0, "partial": 1, "predicted": 2}
CUTS: Final = "INTERLOCK_CUTS"
"""At how many places an apply is cut off, evenly spread; all of them when it is not set."""


class SandboxHosts(Protocol):
    """Test hosts that are there for one case."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """The hosts, and how they are reached."""

    @property
    def settings(self) -> Settings:
        """What the kind has to be told to reach them."""

    def look(self) -> Mapping[str, str]:
        """Describe all that can be seen of them, so that two looks can be compared."""


class Sandbox(Protocol):
    """Where test hosts come from: namespaces of this machine, a group of the inventory."""

    @property
    def what(self) -> str:
        """Say for the evidence on what kind of hosts it was."""

    def hosts(self, count: int) -> AbstractContextManager[SandboxHosts]:
        """Have hosts for one case, as nobody has touched them."""


@runtime_checkable
class ActsOnHosts(Protocol):
    """What a kind that acts on hosts can say besides."""

    def cuts(self, folder: Path, acted: Path, verb: Verb) -> tuple[int, ...]:
        """List after how many tasks an act that was seen can be cut off with effect."""

    def cut(self, folder: Path, copy: Path, after: int, verb: Verb) -> None:
        """Copy an actor so that a verb of it fails after so many tasks."""

    def surprises(self, checked: Path, applied: Path) -> tuple[str, ...]:
        """Compare what a check predicted with what the apply then changed."""

    def look(self, targets: tuple[Target, ...], settings: Settings) -> Mapping[str, str]:
        """Describe all that can be seen of hosts, without writing anything there."""


@dataclass(frozen=True, slots=True)
class Group:
    """The hosts of a group of the inventory: not made anew for each case, but undone."""

    what: str
    kind: ActsOnHosts
    all_targets: tuple[Target, ...]
    all_settings: Settings

    @contextlib.contextmanager
    def hosts(self, count: int) -> Iterator[SandboxHosts]:
        """Take as many as a case needs, the first ones first."""
        if count > len(self.all_targets):
            raise ActorsError(
                f"a case needs {count} hosts, and {self.what} has {len(self.all_targets)}",
                next_step="name a group with more hosts",
            )
        yield _GroupHosts(self.kind, self.all_targets[:count], self.all_settings)


@dataclass(frozen=True, slots=True)
class _GroupHosts:
    kind: ActsOnHosts
    targets: tuple[Target, ...]
    settings: Settings

    def look(self) -> Mapping[str, str]:
        return self.kind.look(self.targets, self.settings)


class OnHosts:
    """One actor on test hosts."""

    def __init__(self, bench: Bench, kind: ActsOnHosts, sandbox: Sandbox) -> None:
        self._at = bench
        self._kind = kind
        self._sandbox = sandbox
        self._cuts: tuple[int, ...] = ()
        self._undo_cuts: tuple[int, ...] = ()
        self._traces: tuple[str, ...] = ()
        self.surprises: list[str] = []

    def promises_broken(self, cases: Cases) -> Iterator[str]:
        """Yield what is not kept; of each case the first, for what follows it means nothing."""
        self._traces = tuple(f":{one.what}" for one in cases.traces)
        for case in cases.cases:
            problem = misfitting(self._spec, case) or self._round(case)
            if problem:
                yield f"{self._spec.name}, case {case.name}: {problem}"
        for provoked in cases.failures:
            problem = misfitting(self._spec, provoked.case) or self._provoked(provoked)
            if problem:
                yield f"{self._spec.name}, failure {provoked.mode}: {problem}"

    @property
    def _spec(self) -> ActorSpec:
        return self._at.spec

    # --- one whole round --------------------------------------------------------------------------

    def _round(self, case: Case) -> str | None:
        with self._sandbox.hosts(case.hosts + case.others) as hosts:
            at = self._on(hosts, case)
            problem = self._prepared(case, hosts) or self._checked(at, case, hosts)
            if problem:
                return problem
            for step in (self._applied, self._applied_again, self._undone):
                problem = step(at, case)
                if problem:
                    return problem
            if case.cut and self._spec.undo == "full":
                return self._cut_off(case, hosts)
        return None

    def _checked(self, at: Bench, case: Case, hosts: SandboxHosts) -> str | None:
        before = hosts.look()
        found = at.ask("verify", case)
        if not isinstance(found, Found):
            return f"verify reported {said(found)}"
        if found.state != "not_applied" and self._spec.effect != "read":
            return f"verify reported {said(found)} before anything was applied"
        predicted = at.ask("check", case)
        if not isinstance(predicted, Predicted):
            return f"check reported {said(predicted)}, not a prediction"
        written = _differing(before, hosts.look(), self._traces)
        if written:
            return f"verify and check left traces: {', '.join(written[:8])}"
        if GRADES[predicted.grade] != GRADES[self._spec.dry_run]:
            says = f": {predicted.message}" if predicted.message else ""
            return f"check has the grade {predicted.grade}, the manifest {self._spec.dry_run}{says}"
        return None

    def _applied(self, at: Bench, case: Case) -> str | None:
        checked = at.last
        outcome = at.ask("apply", case)
        problem = _misreported(self._spec, outcome)
        if problem:
            return problem
        if checked is not None and at.last is not None:
            self._cuts = self._kind.cuts(self._at.folder, at.last, "apply")
            wrong = self._kind.surprises(checked, at.last)
            self.surprises += [f"{case.name}: {one}" for one in wrong]
            if wrong and self._spec.dry_run == "predicted":
                return f"the dry run was wrong, and is graded predicted: {'; '.join(wrong[:4])}"
        if isinstance(outcome, Done) and self._spec.effect != "read" and not outcome.changed:
            return "apply changed nothing: the case proves nothing"
        return at.not_found(case, "applied")

    def _applied_again(self, at: Bench, case: Case) -> str | None:
        if not self._spec.idempotent:
            return None
        outcome = at.ask("apply", case)
        if not isinstance(outcome, Done):
            return f"a second apply reported {said(outcome)}, yet the manifest says idempotent"
        if outcome.changed and self._spec.effect != "read":
            return "a second apply changed something, yet the manifest says idempotent"
        return _misreported(self._spec, outcome) or at.not_found(case, "applied")

    def _undone(self, at: Bench, case: Case, step: str | None = None) -> str | None:
        if self._spec.undo == "none":
            return None
        outcome = at.ask("undo", case, step)
        if not isinstance(outcome, Done):
            return f"undo reported {said(outcome)}"
        if step is None and at.last is not None:
            self._undo_cuts = self._kind.cuts(self._at.folder, at.last, "undo")
        return at.not_found(case, "not_applied", step) if self._spec.undo == "full" else None

    # --- cut off, and provoked --------------------------------------------------------------------

    def _cut_off(self, case: Case, hosts: SandboxHosts) -> str | None:
        """Cut an apply off at several places, on hosts that undo has just brought back."""
        whole = self._on(hosts, case)
        for turn, after in enumerate(_chosen(self._cuts)):
            step = f"{case.name}-cut-{after}"
            problem = (
                self._torn("apply", after, case, hosts, step)
                or self._gone_on(whole, case, step)
                or self._torn_undo(turn, case, hosts, step)
                or self._undone(whole, case, step)
            )
            if problem:
                return f"cut off after {after} tasks: {problem}"
        return None

    def _torn(
        self, verb: Verb, after: int, case: Case, hosts: SandboxHosts, step: str
    ) -> str | None:
        copy = self._at.workdir / f"{step}-{verb}"
        self._kind.cut(self._at.folder, copy, after, verb)
        outcome = self._on(hosts, case, copy).ask(verb, case, step)
        done = isinstance(outcome, Done)
        return f"{verb} was done, although it was cut off" if done else None

    def _torn_undo(self, turn: int, case: Case, hosts: SandboxHosts, step: str) -> str | None:
        """Cut the undo off as well, each time at another place, the first of them first."""
        if not self._undo_cuts:
            return None
        after = self._undo_cuts[turn % len(self._undo_cuts)]
        problem = self._torn("undo", after, case, hosts, step)
        return f"undo after {after} tasks: {problem}" if problem else None

    def _gone_on(self, at: Bench, case: Case, step: str) -> str | None:
        """Apply again what was cut off; what is not idempotent is not applied twice."""
        if not self._spec.idempotent:
            return None
        found = at.ask("verify", case, step)
        if not isinstance(found, Found) or found.state == "not_applied":
            return f"verify reported {said(found)}, yet something was changed"
        outcome = at.ask("apply", case, step)
        problem = _misreported(self._spec, outcome)
        if problem:
            return f"asked again, {problem}"
        if found.state == "applied" and isinstance(outcome, Done) and outcome.changed:
            return "verify reported applied, yet the next apply changed something"
        return at.not_found(case, "applied", step)

    def _provoked(self, provoked: Provoked) -> str | None:
        case = provoked.case
        mode = self._spec.failure(provoked.mode)
        if mode is None:
            return "the manifest does not declare it"
        with self._sandbox.hosts(case.hosts + case.others) as hosts:
            at = self._on(hosts, case)
            problem = self._prepared(case, hosts)
            if problem:
                return problem
            before = at.ask("verify", case)
            outcome = at.ask(provoked.verb, case)
            if not isinstance(outcome, Failed) or outcome.mode != provoked.mode:
                return f"{provoked.verb} reported {_named(outcome)}"
            after = at.ask("verify", case)
        if mode.leaves == "nothing" and _state(before) != _state(after):
            return f"it leaves nothing, yet verify found {said(before)}, then {said(after)}"
        return None

    def _prepared(self, case: Case, hosts: SandboxHosts) -> str | None:
        for name in case.prepare:
            at = self._on(hosts, case, self._at.folder / "tests" / name)
            at.targets = _labelled(hosts.targets, case)
            at.spec = self._spec.model_copy(update={"outputs": {}, "failure_modes": ()})
            outcome = at.ask("apply", case, f"prepare-{name}")
            if not isinstance(outcome, Done):
                return f"tests/{name} reported {said(outcome)}"
        return None

    def _on(self, hosts: SandboxHosts, case: Case, folder: Path | None = None) -> Bench:
        return Bench(
            self._at.kind,
            {**self._at.settings, **hosts.settings},
            folder or self._at.folder,
            self._at.workdir,
            self._spec,
            _labelled(hosts.targets[: case.hosts], case),
            attempts=self._at.attempts,
        )


def _labelled(targets: tuple[Target, ...], case: Case) -> tuple[Target, ...]:
    return tuple(
        target.model_copy(update={"labels": {**target.labels, **case.labels}}) for target in targets
    )


def _misreported(spec: ActorSpec, outcome: Outcome) -> str | None:
    """Say what an apply should have reported and did not."""
    if not isinstance(outcome, Done):
        return f"apply reported {_named(outcome)}"
    for name, declared in spec.outputs.items():
        if name not in outcome.outputs:
            return f"apply did not put out {name}, which the manifest declares"
        problem = problem_with(declared, outcome.outputs[name])
        if problem:
            return f"the output {name} {problem}"
    return None


def _state(outcome: Outcome) -> str:
    return outcome.state if isinstance(outcome, Found) else outcome.kind


def _named(outcome: Outcome) -> str:
    mode = f" as {outcome.mode}" if isinstance(outcome, Failed) else ""
    return f"{outcome.kind}{mode}: {getattr(outcome, 'message', '')}"


def _differing(
    before: Mapping[str, str], after: Mapping[str, str], allowed: tuple[str, ...]
) -> list[str]:
    differing = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
    return [key for key in differing if not key.endswith(allowed)]


def _chosen(places: tuple[int, ...]) -> tuple[int, ...]:
    wanted = min(len(places), int(os.environ.get(CUTS, "1000")))
    return tuple(places[-1 - at * len(places) // wanted] for at in range(wanted))
