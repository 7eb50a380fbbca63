"""What an actor is tried on: `tests/contract.yaml` in its own folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, SecretStr, StringConstraints

from actors.fitting import fit
from actors.kinds import ActorsError
from actors.reading import read_yaml
from actors.spec import ActorSpec, Model, Name, Target, Value, problem_with
from actors.strict import UnreadableError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CASES", "Case", "Cases", "Provoked", "misfitting", "read_cases", "unprovoked"]

CASES: Final = "tests/contract.yaml"
MAX_CASES_BYTES: Final = 200_000
OF_THE_KIND: Final = ("unreachable", "stopped")
"""Failure modes that a kind itself brings about; its own tests provoke them."""

Words = Annotated[str, StringConstraints(min_length=1, max_length=300)]


class Case(Model):
    """One set of params and targets to try an actor on."""

    name: Name
    params: dict[Name, Value] = Field(default_factory=dict)
    secrets: dict[Name, SecretStr] = Field(default_factory=dict)
    """Made-up values: whoever reads the actor's folder reads them."""
    targets: tuple[Target, ...] = ()
    """Made-up targets, for a kind that acts on nothing."""
    hosts: Annotated[int, Field(ge=0, le=100)] = 0
    """How many test hosts are the targets."""
    others: Annotated[int, Field(ge=0, le=100)] = 0
    """How many more hosts `prepare` needs beside them; the actor never sees these."""
    labels: dict[Name, str] = Field(default_factory=dict)
    """Labels of the test hosts, as the inventory would have them."""
    prepare: tuple[Name, ...] = ()
    """Folders below `tests/`, whose `apply.yml` makes the hosts as the case needs them."""
    cut: bool = True
    """Apply and undo are also tried after an apply that was cut off in the middle."""


class Provoked(Model):
    """One declared failure, and what brings it about."""

    mode: Name
    params: dict[Name, Value] = Field(default_factory=dict)
    secrets: dict[Name, SecretStr] = Field(default_factory=dict)
    hosts: Annotated[int, Field(ge=0, le=100)] = 1
    others: Annotated[int, Field(ge=0, le=100)] = 0
    labels: dict[Name, str] = Field(default_factory=dict)
    prepare: tuple[Name, ...] = ()
    verb: Literal["apply", "undo"] = "apply"

    @property
    def case(self) -> Case:
        """See it as a case."""
        return Case(
            name=self.mode,
            params=self.params,
            secrets=self.secrets,
            hosts=self.hosts,
            others=self.others,
            labels=self.labels,
            prepare=self.prepare,
        )


class NotExercised(Model):
    """What these tests do not show, and why."""

    what: Words
    because: Words


class Cases(Model):
    """An actor's `tests/contract.yaml`."""

    format: Literal[1]
    cases: Annotated[tuple[Case, ...], Field(max_length=100)] = ()
    failures: Annotated[tuple[Provoked, ...], Field(max_length=100)] = ()
    traces: Annotated[tuple[NotExercised, ...], Field(max_length=20)] = ()
    """What a check may leave on a host for all that, by its path, and why: the log of a tool."""
    not_exercised: Annotated[tuple[NotExercised, ...], Field(max_length=100)] = ()


def read_cases(folder: Path) -> Cases:
    """Read an actor's cases, or say what is wrong with them."""
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
    if not cases.cases and not cases.not_exercised:
        raise ActorsError(f"{path}: cases is empty, and not_exercised does not say why",
                          next_step="mend the cases")  # fmt: skip
    return cases


def misfitting(spec: ActorSpec, case: Case) -> str | None:
    """Say why a case cannot be tried on this actor."""
    for name, value in case.params.items():
        declared = spec.params.get(name)
        if declared is None or declared.type in ("targets", "secret"):
            return f"there is no param {name} to give a value to"
        problem = problem_with(declared, value)
        if problem:
            return f"the param {name} {problem}"
    if (spec.target_param is None) != (not case.targets and not case.hosts):
        return "it must name targets exactly when the actor takes them"
    return _misfitting_secrets(spec, case)


def _misfitting_secrets(spec: ActorSpec, case: Case) -> str | None:
    declared = {name: param for name, param in spec.params.items() if param.type == "secret"}
    for name, param in declared.items():
        if param.required and name not in case.secrets:
            return f"it needs a made-up value for the secret {name}"
    foreign = [name for name in case.secrets if name not in declared]
    return f"there is no secret {foreign[0]} to give a value to" if foreign else None


def unprovoked(spec: ActorSpec, cases: Cases) -> str | None:
    """Name a failure mode that is neither provoked nor excused."""
    shown = {one.mode for one in cases.failures} | {one.what for one in cases.not_exercised}
    for mode in spec.failure_modes:
        if mode.name not in shown and mode.name not in OF_THE_KIND:
            return (
                f"the failure mode {mode.name} is declared, but neither provoked in `failures` "
                "nor named in `not_exercised`"
            )
    return None
