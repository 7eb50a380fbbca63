"""An actor on hosts that breaks a promise is found out: each promise, by a kind that breaks it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actors.catalog import read_catalog, record_evidence
from actors.contract import prove
from actors.spec import Done, Failed, Found, Predicted, Target, Unexpected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actors.contract import Proof
    from actors.kinds import Kind, Settings
    from actors.spec import ActorSpec, Brief, Outcome, Verb

MANIFEST = """\
name: web.member_drain
version: 1.0.0
kind: rehearsal
summary: x
when_to_use: x
when_not_to_use: x
effect: change
params:
  targets: {type: targets, summary: x}
outputs:
  cut: {type: integer, summary: x, minimum: 0, maximum: 9}
writes: [pool]
idempotent: true
undo: full
dry_run: predicted
failure_modes:
  - {name: busy, summary: x}
  - {name: unreachable, summary: x}
"""
CASES = """\
format: 1
cases:
  - {name: one, hosts: 2, others: 1, prepare: [ready], labels: {site: lab}}
failures:
  - {mode: busy, prepare: [occupied]}
"""


@dataclass
class Model:
    """What stands on the hosts."""

    applied: bool = False
    half: bool = False
    lost: bool = False
    occupied: bool = False
    trace: int = 0
    prepared: list[str] = field(default_factory=list)
    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)


class OnModel:
    """A kind that acts on a model, and breaks one promise."""

    name = "rehearsal"
    inline = True

    def __init__(self, flaw: str) -> None:
        self.flaw = flaw
        self.model = Model()

    def needs(self, spec: ActorSpec) -> tuple[str, ...]:
        del spec
        return ()

    def cuts(self, folder: Path, acted: Path, verb: Verb) -> tuple[int, ...]:
        assert (folder / "actor.yaml").is_file()
        assert acted.is_dir()
        return (1, 3) if verb == "apply" else (2,)

    def cut(self, folder: Path, copy: Path, after: int, verb: Verb) -> None:
        assert folder != copy
        copy.mkdir()
        (copy / verb).write_text(str(after))

    def surprises(self, checked: Path, applied: Path) -> tuple[str, ...]:
        assert checked != applied
        return ("h1: 'x' changed something unforeseen",) if self.flaw == "surprise" else ()

    def look(self, targets: tuple[Target, ...], settings: Settings) -> Mapping[str, str]:
        assert targets
        assert not settings
        return {"h1:/log": str(self.model.trace), "h1:/x": str(self.model.applied)}

    def perform(self, brief: Brief, settings: Settings) -> Outcome:
        assert not settings
        self.model.asked.append((brief.verb, tuple(target.name for target in brief.targets)))
        folder = Path(brief.folder)
        if folder.parent.name == "tests":
            return self._prepare(folder.name, brief)
        assert all(target.labels in ({"site": "lab"}, {}) for target in brief.targets)
        if brief.verb == "check":
            return self._check()
        if brief.verb == "verify":
            return self._verify()
        if brief.verb == "undo":
            return self._undo(torn=(folder / "undo").exists())
        return self._apply(torn=(folder / "apply").exists())

    def _prepare(self, name: str, brief: Brief) -> Outcome:
        self.model.prepared.append(name)
        self.model.occupied = name == "occupied"
        assert brief.spec.outputs == {}
        return Unexpected(message="no room") if self.flaw == "prepare" else Done()

    def _check(self) -> Outcome:
        self.model.trace += self.flaw in ("trace", "allowed trace")
        if self.flaw == "check fails":
            return Unexpected(message="no")
        return Predicted(grade="partial" if self.flaw == "grade" else "predicted")

    def _verify(self) -> Outcome:
        self.model.trace += self.flaw == "verify writes"
        if self.flaw == "verify fails":
            return Unexpected(message="no")
        if self.flaw == "already" or self.model.applied:
            return Found(state="partial" if self.model.lost else "applied")
        if self.model.half and self.flaw == "applied too early":
            return Found(state="applied")
        half = self.model.half and self.flaw != "touched unseen"
        return Found(state="partial" if half else "not_applied")

    def _undo(self, *, torn: bool) -> Outcome:
        if self.flaw == "undo fails":
            return Unexpected(message="no")
        if torn and self.flaw != "undo not cut":
            self.model.applied = False
            self.model.half = self.flaw in ("undo half", "undo lost")
            self.model.lost = self.flaw == "undo lost"
            return Unexpected(message="cut off")
        if self.model.lost:
            return Done()
        if self.flaw != "undo idle" and not (self.flaw == "undo half" and self.model.half):
            self.model.applied = self.model.half = False
        return Done()

    def _apply(self, *, torn: bool) -> Outcome:
        if self.model.occupied:
            self.model.half = self.flaw == "leaves"
            return Unexpected(message="no") if self.flaw == "unnamed" else Failed(mode="busy")
        if torn and self.flaw != "not cut":
            self.model.half = True
            self.model.lost = self.flaw == "lost"
            return Unexpected(message="cut off")
        if self.model.half and self.flaw == "no way on":
            return Unexpected(message="no")
        changed = not self.model.applied or self.flaw == "again"
        self.model.applied = self.flaw != "nothing done"
        if self.flaw == "output":
            return Done()
        if self.flaw == "apply fails":
            return Unexpected(message="no")
        return Done(changed=changed and self.flaw != "idle", outputs={"cut": 1})


@dataclass
class Pen:
    """Hosts that are a model, made anew for each case."""

    kind: OnModel
    what: str = "a model"
    targets: tuple[Target, ...] = ()
    settings: Settings = field(default_factory=dict)

    @contextlib.contextmanager
    def hosts(self, count: int) -> Iterator[Pen]:
        self.kind.model = Model()
        self.targets = tuple(Target(name=f"h{at}") for at in range(1, count + 1))
        yield self

    def look(self) -> Mapping[str, str]:
        return self.kind.look(self.targets, self.settings)


def laid(tmp_path: Path, *, cases: str = CASES, manifest: str = MANIFEST) -> Path:
    folder = tmp_path / "actors" / "web.member_drain"
    (folder / "tests").mkdir(parents=True)
    (folder / "actor.yaml").write_text(manifest)
    (folder / "tests" / "contract.yaml").write_text(cases)
    return folder


def tried(folder: Path, flaw: str, *, with_hosts: bool = True) -> tuple[Proof, OnModel]:
    kind = OnModel(flaw)
    made: Kind = kind
    proof = prove(
        folder,
        settings={},
        workdir=folder.parent.parent / "work",
        tool="test",
        kind_of=lambda _: made,
        sandbox=Pen(kind) if with_hosts else None,
        today="2026-11-21",
    )
    return proof, kind


def test_what_is_kept_on_hosts_is_dated_evidence(tmp_path: Path) -> None:
    cases = CASES + "not_exercised: [{what: a fire, because: there is none}]\n"
    folder = laid(tmp_path, cases=cases)
    proof, kind = tried(folder, "")
    assert proof.broken == ()
    evidence = proof.evidence
    assert evidence is not None
    assert (evidence.passed, evidence.date, evidence.hosts) == (2, "2026-11-21", "a model")
    assert evidence.not_exercised[0].what == "a fire"
    assert kind.model.prepared == ["occupied"]
    record_evidence(folder, evidence)
    said = json.loads((folder / "evidence.json").read_text())
    assert said["format"] == 1
    (actor,) = read_catalog(folder.parent, kind_of=lambda _: kind).actors.values()
    assert actor.tested == evidence
    (folder / "more").write_text("x")
    (actor,) = read_catalog(folder.parent, kind_of=lambda _: kind).actors.values()
    assert actor.tested is None


@pytest.mark.parametrize(
    ("flaw", "says"),
    [
        ("prepare", "tests/ready reported unexpected: no room"),
        ("verify fails", "verify reported unexpected"),
        ("already", "verify reported applied before anything was applied"),
        ("check fails", "check reported unexpected"),
        ("trace", "verify and check left traces: h1:/log"),
        ("verify writes", "verify and check left traces: h1:/log"),
        ("grade", "check has the grade partial, the manifest predicted"),
        ("surprise", "the dry run was wrong, and is graded predicted"),
        ("apply fails", "apply reported unexpected: no"),
        ("output", "apply did not put out cut"),
        ("idle", "apply changed nothing"),
        ("nothing done", "verify reported not_applied, not applied"),
        ("again", "a second apply changed something"),
        ("undo fails", "undo reported unexpected"),
        ("undo idle", "verify reported applied, not not_applied"),
        ("not cut", "cut off after 3 tasks: apply was done"),
        ("touched unseen", "cut off after 3 tasks: verify reported not_applied, yet something was"),
        ("no way on", "cut off after 3 tasks: asked again, apply reported unexpected: no"),
        ("applied too early", "verify reported applied, yet the next apply changed something"),
        ("lost", "cut off after 3 tasks: verify reported partial, not applied"),
        ("undo not cut", "undo after 2 tasks: undo was done, although it was cut off"),
        ("undo lost", "cut off after 3 tasks: verify reported partial, not not_applied"),
        ("undo half", "cut off after 3 tasks: verify reported partial, not not_applied"),
        ("unnamed", "failure busy: apply reported unexpected: no"),
        ("leaves", "it leaves nothing, yet verify found not_applied, then partial"),
    ],
)
def test_a_promise_that_is_broken_on_hosts_is_named(tmp_path: Path, flaw: str, says: str) -> None:
    proof, _ = tried(laid(tmp_path), flaw)
    assert proof.evidence is None
    assert says in proof.broken[0]


def test_a_surprise_is_listed_where_the_dry_run_does_not_claim_to_be_exact(tmp_path: Path) -> None:
    manifest = MANIFEST.replace("dry_run: predicted", "dry_run: partial")
    kind = OnModel("surprise")
    kind._check = lambda: Predicted(grade="partial")  # type: ignore[method-assign]  # as declared
    folder = laid(tmp_path, manifest=manifest)
    proof = prove(
        folder, settings={}, workdir=tmp_path / "work", tool="test", kind_of=lambda _: kind,
        sandbox=Pen(kind),
    )  # fmt: skip
    assert proof.evidence is not None
    assert proof.evidence.surprises == ("one: h1: 'x' changed something unforeseen",)


def test_a_trace_that_is_owned_up_to_is_evidence_too(tmp_path: Path) -> None:
    cases = CASES + "traces: [{what: /log, because: a tool logs}]\n"
    proof, _ = tried(laid(tmp_path, cases=cases), "allowed trace")
    assert proof.evidence is not None
    assert proof.evidence.traces[0].because == "a tool logs"


@pytest.mark.parametrize(
    ("cases", "says"),
    [
        (CASES.replace("busy", "late"), "failure mode busy is declared, but neither provoked"),
        (CASES.replace("hosts: 2, ", ""), "it must name targets exactly"),
        (CASES.replace("labels", "params"), "there is no param site"),
        (
            CASES + "  - {mode: late}\n",
            "failure late: the manifest does not declare it",
        ),
    ],
)
def test_cases_that_leave_something_out_prove_nothing(
    tmp_path: Path, cases: str, says: str
) -> None:
    proof, _ = tried(laid(tmp_path, cases=cases), "")
    assert proof.evidence is None
    assert says in proof.broken[0]


def test_an_actor_that_acts_on_hosts_is_not_proven_without_any(tmp_path: Path) -> None:
    proof, kind = tried(laid(tmp_path), "", with_hosts=False)
    assert "there are none to try it on" in proof.broken[0]
    assert kind.model.asked == []


def test_ci_cuts_at_fewer_places_and_always_at_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLOCK_CUTS", "1")
    proof, _ = tried(laid(tmp_path), "not cut")
    assert "cut off after 3 tasks" in proof.broken[0]
