"""Tests an actor against what its manifest promises; the result is its evidence.

The cases stand in the actor's own folder (`tests/contract.yaml`): params and targets to try it on.
For each case, and on whatever its targets are (test hosts, or the rehearsal's world):

1. `check` predicts no better than the manifest's grade, and `verify` then still finds nothing done.
2. `apply` is done, and puts out every declared output with a fitting value.
3. `verify` finds it applied; an idempotent actor may apply again, and it still is.
4. `undo`, where there is one, is done; after a full one `verify` finds nothing applied.

On test hosts more is asked: see `actors/contract_hosts.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from actors.catalog import Evidence, Omission, read_actor
from actors.contract_bench import Bench, said
from actors.contract_cases import CASES, Case, Cases, misfitting, read_cases, unprovoked
from actors.contract_hosts import ActsOnHosts, OnHosts
from actors.kinds import ActorsError, load_kind
from actors.spec import Done, Found, Predicted, problem_with

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actors.contract_hosts import Sandbox
    from actors.kinds import KindOf, Settings

__all__ = ["CASES", "Case", "Cases", "Proof", "prove"]

GRADES: Final = {"none": 0, "partial": 1, "predicted": 2}


@dataclass(frozen=True, slots=True)
class Proof:
    """What the tests of one actor came to: evidence, or every promise that was not kept."""

    evidence: Evidence | None
    broken: tuple[str, ...]


def prove(
    folder: Path,
    *,
    settings: Settings,
    workdir: Path,
    tool: str,
    kind_of: KindOf = load_kind,
    sandbox: Sandbox | None = None,
    today: str | None = None,
) -> Proof:
    """Try every case of an actor in turn; `workdir` is empty and the tests' own."""
    read = read_actor(folder, kind_of=kind_of)
    if read.spec is None or read.digest is None or read.findings:
        return Proof(None, tuple(str(finding) for finding in read.findings))
    try:
        cases = read_cases(folder)
        bench = Bench(kind_of(read.spec.kind), settings, folder, workdir, read.spec)
        broken, surprises = _broken(bench, cases, sandbox)
    except ActorsError as error:
        return Proof(None, (f"{error.what}; {error.next_step}",))
    if broken:
        return Proof(None, broken)
    evidence = Evidence(
        actor=read.spec.name,
        digest=read.digest,
        passed=len(cases.cases) + len(cases.failures),
        tool=tool,
        date=today,
        hosts=sandbox.what if sandbox is not None and _acts_on_hosts(bench) else None,
        not_exercised=tuple(Omission(**one.model_dump()) for one in cases.not_exercised),
        traces=tuple(Omission(**one.model_dump()) for one in cases.traces),
        surprises=surprises,
    )
    return Proof(evidence, ())


def _broken(
    bench: Bench, cases: Cases, sandbox: Sandbox | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """List the promises that were not kept, and what a dry run got wrong."""
    kind = bench.kind
    if not isinstance(kind, ActsOnHosts):
        return tuple(says for case in cases.cases for says in _promises_broken(bench, case)), ()
    if sandbox is None:
        raise ActorsError(
            f"{bench.spec.name} acts on hosts, and there are none to try it on",
            next_step="name a group of the inventory whose hosts may be changed: --hosts GROUP",
        )
    forgotten = unprovoked(bench.spec, cases)
    if forgotten:
        return (f"{bench.spec.name}: {forgotten}",), ()
    tried = OnHosts(bench, kind, sandbox)
    return tuple(tried.promises_broken(cases)), tuple(tried.surprises)


def _acts_on_hosts(bench: Bench) -> bool:
    return isinstance(bench.kind, ActsOnHosts)


def _promises_broken(bench: Bench, case: Case) -> Iterator[str]:
    """Yield the first promise that is not kept: what follows it would mean nothing."""
    for step in (_checked, _applied, _applied_again, _undone):
        problem = step(bench, case)
        if problem:
            yield f"{bench.spec.name}, case {case.name}: {problem}"
            return


def _checked(at: Bench, case: Case) -> str | None:
    problem = misfitting(at.spec, case)
    if problem:
        return problem
    before = at.ask("verify", case)
    predicted = at.ask("check", case)
    if not isinstance(predicted, Predicted):
        return f"check reported {said(predicted)}, not a prediction"
    if GRADES[predicted.grade] > GRADES[at.spec.dry_run]:
        return f"check claims the grade {predicted.grade}; the manifest {at.spec.dry_run}"
    after = at.ask("verify", case)
    if after != before:
        return f"check changed what verify finds, from {said(before)} to {said(after)}"
    if isinstance(before, Found) and before.state == "applied" and at.spec.effect != "read":
        return "verify finds it applied before anything was: the case proves nothing"
    return None


def _applied(at: Bench, case: Case) -> str | None:
    outcome = at.ask("apply", case)
    if not isinstance(outcome, Done):
        return f"apply reported {said(outcome)}"
    for name, declared in at.spec.outputs.items():
        if name not in outcome.outputs:
            return f"apply did not put out {name}, which the manifest declares"
        problem = problem_with(declared, outcome.outputs[name])
        if problem:
            return f"the output {name} {problem}"
    undeclared = sorted(set(outcome.outputs) - set(at.spec.outputs))
    if undeclared:
        return f"apply put out {undeclared[0]}, which the manifest does not declare"
    return at.not_found(case, "applied")


def _applied_again(at: Bench, case: Case) -> str | None:
    if not at.spec.idempotent:
        return None
    outcome = at.ask("apply", case)
    if not isinstance(outcome, Done):
        return f"a second apply reported {said(outcome)}, yet the manifest says idempotent"
    return at.not_found(case, "applied")


def _undone(at: Bench, case: Case) -> str | None:
    if at.spec.undo == "none":
        return None
    outcome = at.ask("undo", case)
    if not isinstance(outcome, Done):
        return f"undo reported {said(outcome)}"
    return at.not_found(case, "not_applied") if at.spec.undo == "full" else None
