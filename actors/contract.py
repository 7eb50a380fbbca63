"""Tests an actor against what its manifest promises; the result is its evidence.

The cases stand in the actor's own folder (`tests/contract.yaml`): params and targets to try it on.
For each case, and on whatever its targets are (a sandbox, or the rehearsal's world):

1. `check` predicts no better than the manifest's grade, and `verify` then still finds nothing done.
2. `apply` is done, and puts out every declared output with a fitting value.
3. `verify` finds it applied; an idempotent actor may apply again, and it still is.
4. `undo`, where there is one, is done; after a full one `verify` finds nothing applied.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, SecretStr

from actors.catalog import Evidence, read_actor
from actors.fitting import fit
from actors.kinds import ActorsError, load_kind
from actors.reading import read_yaml
from actors.spec import (
    ActorSpec,
    Brief,
    Done,
    Found,
    Model,
    Name,
    Outcome,
    Predicted,
    Target,
    Value,
    Verb,
    problem_with,
)
from actors.strict import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actors.kinds import Kind, KindOf, Settings

__all__ = ["CASES", "Case", "Cases", "Proof", "prove"]

CASES: Final = "tests/contract.yaml"
MAX_CASES_BYTES: Final = 200_000
GRADES: Final = {"none": 0, "partial": 1, "predicted": 2}


class Case(Model):
    """One set of params and targets to try an actor on."""

    name: Name
    params: dict[Name, Value] = Field(default_factory=dict)
    secrets: dict[Name, SecretStr] = Field(default_factory=dict)
    """Made-up values: whoever reads the actor's folder reads them."""
    targets: tuple[Target, ...] = ()


class Cases(Model):
    """An actor's `tests/contract.yaml`."""

    format: Literal[1]
    cases: Annotated[tuple[Case, ...], Field(min_length=1, max_length=100)]


@dataclass(frozen=True, slots=True)
class Proof:
    """What the tests of one actor came to: evidence, or every promise that was not kept."""

    evidence: Evidence | None
    broken: tuple[str, ...]


def prove(
    folder: Path, *, settings: Settings, workdir: Path, tool: str, kind_of: KindOf = load_kind
) -> Proof:
    """Try every case of an actor in turn; `workdir` is empty and the tests' own."""
    read = read_actor(folder, kind_of=kind_of)
    if read.spec is None or read.digest is None or read.findings:
        return Proof(None, tuple(str(finding) for finding in read.findings))
    try:
        cases = _read_cases(folder)
        bench = _Bench(kind_of(read.spec.kind), settings, folder, workdir, read.spec)
        broken = tuple(says for case in cases.cases for says in bench.promises_broken(case))
    except ActorsError as error:
        return Proof(None, (f"{error.what}; {error.next_step}",))
    if broken:
        return Proof(None, broken)
    evidence = Evidence(
        actor=read.spec.name, digest=read.digest, passed=len(cases.cases), tool=tool
    )
    return Proof(evidence, ())


def _read_cases(folder: Path) -> Cases:
    path = folder / CASES
    try:
        cases = fit(Cases, read_yaml(path.read_bytes(), max_bytes=MAX_CASES_BYTES))
    except OSError as error:
        raise ActorsError(
            f"{path}: cannot be read: {error.strerror}",
            next_step="write the cases on which the actor is to be tried",
        ) from None
    except UnreadableError as error:
        raise ActorsError(
            f"{path}:{error.line or 1}: {error.reason}", next_step="mend the cases"
        ) from None
    if isinstance(cases, tuple):
        raise ActorsError(f"{path}:{cases[0].line}: {cases[0].message}", next_step="mend the cases")
    return cases


class _Bench:
    """Where one actor is tried."""

    def __init__(
        self, kind: Kind, settings: Settings, folder: Path, workdir: Path, spec: ActorSpec
    ) -> None:
        self._kind = kind
        self._settings = settings
        self._folder = folder
        self._workdir = workdir
        self._spec = spec
        self._attempts = count(1)

    def promises_broken(self, case: Case) -> Iterator[str]:
        """Yield the first promise that is not kept: what follows it would mean nothing."""
        for step in (self._checked, self._applied, self._applied_again, self._undone):
            problem = step(case)
            if problem:
                yield f"{self._spec.name}, case {case.name}: {problem}"
                return

    def _checked(self, case: Case) -> str | None:
        problem = _misfitting(self._spec, case)
        if problem:
            return problem
        before = self._ask("verify", case)
        predicted = self._ask("check", case)
        if not isinstance(predicted, Predicted):
            return f"check reported {_said(predicted)}, not a prediction"
        if GRADES[predicted.grade] > GRADES[self._spec.dry_run]:
            return f"check claims the grade {predicted.grade}; the manifest {self._spec.dry_run}"
        after = self._ask("verify", case)
        if after != before:
            return f"check changed what verify finds, from {_said(before)} to {_said(after)}"
        if isinstance(before, Found) and before.state == "applied" and self._spec.effect != "read":
            return "verify finds it applied before anything was: the case proves nothing"
        return None

    def _applied(self, case: Case) -> str | None:
        outcome = self._ask("apply", case)
        if not isinstance(outcome, Done):
            return f"apply reported {_said(outcome)}"
        for name, declared in self._spec.outputs.items():
            if name not in outcome.outputs:
                return f"apply did not put out {name}, which the manifest declares"
            problem = problem_with(declared, outcome.outputs[name])
            if problem:
                return f"the output {name} {problem}"
        undeclared = sorted(set(outcome.outputs) - set(self._spec.outputs))
        if undeclared:
            return f"apply put out {undeclared[0]}, which the manifest does not declare"
        return self._found(case, "applied")

    def _applied_again(self, case: Case) -> str | None:
        if not self._spec.idempotent:
            return None
        outcome = self._ask("apply", case)
        if not isinstance(outcome, Done):
            return f"a second apply reported {_said(outcome)}, yet the manifest says idempotent"
        return self._found(case, "applied")

    def _undone(self, case: Case) -> str | None:
        if self._spec.undo == "none":
            return None
        outcome = self._ask("undo", case)
        if not isinstance(outcome, Done):
            return f"undo reported {_said(outcome)}"
        return self._found(case, "not_applied") if self._spec.undo == "full" else None

    def _found(self, case: Case, state: str) -> str | None:
        found = self._ask("verify", case)
        if isinstance(found, Found) and found.state == state:
            return None
        return f"verify reported {_said(found)}, not {state}"

    def _ask(self, verb: Verb, case: Case) -> Outcome:
        attempt = next(self._attempts)
        workdir = self._workdir / f"{case.name}-{attempt}"
        workdir.mkdir(parents=True)
        brief = Brief(
            key=f"contract/{case.name}/{verb}/{attempt}",
            verb=verb,
            attempt=attempt,
            folder=str(self._folder),
            spec=self._spec,
            params=case.params,
            secrets=case.secrets,
            targets=case.targets,
            timeout_s=getattr(self._spec.timeouts, f"{verb}_s"),
            workdir=str(workdir),
        )
        return self._kind.perform(brief, self._settings)


def _misfitting(spec: ActorSpec, case: Case) -> str | None:
    for name, value in case.params.items():
        declared = spec.params.get(name)
        if declared is None or declared.type in ("targets", "secret"):
            return f"there is no param {name} to give a value to"
        problem = problem_with(declared, value)
        if problem:
            return f"the param {name} {problem}"
    if (spec.target_param is None) != (not case.targets):
        return "it must name targets exactly when the actor takes them"
    return _misfitting_secrets(spec, case)


def _misfitting_secrets(spec: ActorSpec, case: Case) -> str | None:
    declared = {name: param for name, param in spec.params.items() if param.type == "secret"}
    for name, param in declared.items():
        if param.required and name not in case.secrets:
            return f"it needs a made-up value for the secret {name}"
    foreign = [name for name in case.secrets if name not in declared]
    return f"there is no secret {foreign[0]} to give a value to" if foreign else None


def _said(outcome: Outcome) -> str:
    match outcome:
        case Found():
            return outcome.state
        case Done() | Predicted():
            return outcome.kind
        case _:
            return f"{outcome.kind}: {outcome.message}"
