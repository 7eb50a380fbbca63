"""Every actor of this workspace keeps its contract, and its evidence is for what is there now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actors.catalog import read_catalog
from actors.contract import prove
from actors.kinds import ActorsError, kind_names, load_kind
from actors.rehearsal import Rehearsal
from actors.spec import Done, Predicted

if TYPE_CHECKING:
    from actors.contract import Proof
    from actors.kinds import Kind, Settings
    from actors.spec import ActorSpec, Brief, Outcome

PLAYBOOKS = Path(__file__).parent.parent.parent / "playbooks"
ACTORS = sorted(path.name for path in PLAYBOOKS.iterdir() if path.is_dir())


def proven(folder: Path, tmp_path: Path, kind: Kind | None = None) -> Proof:
    return prove(
        folder,
        settings={"world": str(tmp_path / "world")},
        workdir=tmp_path / "work",
        tool="test",
        kind_of=lambda _: kind or Rehearsal(),
    )


@pytest.mark.parametrize("name", ACTORS)
def test_an_actor_keeps_every_promise_of_its_manifest(name: str, tmp_path: Path) -> None:
    found = read_catalog(PLAYBOOKS).actors[name]
    if found.spec.kind != "rehearsal":
        pytest.skip(f"the kind {found.spec.kind} is tried on hosts by test_catalog.py")
    assert proven(PLAYBOOKS / name, tmp_path).broken == ()


@pytest.mark.parametrize("name", ACTORS)
def test_the_evidence_of_an_actor_is_for_its_folder_as_it_is(name: str) -> None:
    actor = read_catalog(PLAYBOOKS).actors[name]
    assert actor.evidence == actor.digest


def test_no_actor_of_this_workspace_has_a_finding() -> None:
    assert read_catalog(PLAYBOOKS).findings == ()


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
  grace_s: {type: integer, summary: x, minimum: 0, maximum: 9}
outputs:
  cut: {type: integer, summary: x, minimum: 0, maximum: 9}
writes: [pool]
idempotent: true
undo: full
dry_run: partial
"""
CASES = "format: 1\ncases:\n  - {name: one, params: {grace_s: 1}, targets: [{name: web-1}]}\n"


def laid(tmp_path: Path, *, script: str = "outputs: {cut: 1}", cases: str = CASES) -> Path:
    folder = tmp_path / "web.member_drain"
    (folder / "tests").mkdir(parents=True)
    (folder / "actor.yaml").write_text(MANIFEST)
    (folder / "rehearsal.yaml").write_text(f"format: 1\n{script}\n")
    (folder / "tests" / "contract.yaml").write_text(cases)
    return folder


def test_a_kept_contract_is_evidence_for_this_digest(tmp_path: Path) -> None:
    proof = proven(laid(tmp_path), tmp_path)
    assert proof.broken == ()
    assert proof.evidence is not None
    assert (proof.evidence.actor, proof.evidence.passed) == ("web.member_drain", 1)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("outputs: {}", "did not put out cut"),
        ("outputs: {cut: 10}", "the output cut must be between"),
        ("outputs: {cut: 1}\non: [{do: break}]", "apply reported unexpected"),
        ("outputs: {cut: 1}\non: [{attempt: 6, do: doubt}]", "a second apply reported in_doubt"),
        ("outputs: {cut: 1}\non: [{verb: undo, do: break}]", "undo reported unexpected"),
        ("outputs: {cut: 1}\non: [{verb: check, do: break}]", "check reported unexpected"),
        ("outputs: {cut: 1}\non: [{verb: verify, do: find, state: applied}]", "proves nothing"),
        ("outputs: {cut: 1}\non: [{verb: verify, do: find, state: unknown}]", "not applied"),
        ("outputs: {cut: 1}\non: [{do: explode}]", "on.1.do is"),
    ],
)  # fmt: skip
def test_a_broken_promise_is_named_and_leaves_no_evidence(
    tmp_path: Path, script: str, says: str
) -> None:
    proof = proven(laid(tmp_path, script=script), tmp_path)
    assert proof.evidence is None
    assert says in proof.broken[0]


@pytest.mark.parametrize(
    ("cases", "says"),
    [
        ("format: 1\ncases: []\n", "cases is"),
        ("format: 1\ncases: [{name: a\n", "not YAML"),
        (CASES.replace("grace_s: 1", "grace_s: 10"), "the param grace_s must be"),
        (CASES.replace("grace_s: 1", "grace: 1"), "there is no param grace"),
        (CASES.replace("[{name: web-1}]", "[]"), "must name targets"),
    ],
)
def test_cases_that_cannot_be_used_prove_nothing(tmp_path: Path, cases: str, says: str) -> None:
    proof = proven(laid(tmp_path, cases=cases), tmp_path)
    assert proof.evidence is None
    assert says in proof.broken[0]


def test_an_actor_without_cases_has_no_evidence(tmp_path: Path) -> None:
    folder = laid(tmp_path)
    (folder / "tests" / "contract.yaml").unlink()
    assert "write the cases" in proven(folder, tmp_path).broken[0]


def test_an_actor_with_findings_is_not_tried(tmp_path: Path) -> None:
    folder = laid(tmp_path)
    (folder / "rehearsal.yaml").unlink()
    assert "M-missing-file" in proven(folder, tmp_path).broken[0]


class Careless:
    """A kind whose check writes, overstates its grade, or whose apply says too much."""

    name = "rehearsal"
    inline = True

    def __init__(self, flaw: str) -> None:
        self._flaw = flaw

    def needs(self, spec: ActorSpec) -> tuple[str, ...]:
        return Rehearsal().needs(spec)

    def perform(self, brief: Brief, settings: Settings) -> Outcome:
        honest = Rehearsal().perform(brief, settings)
        if self._flaw == "grade" and isinstance(honest, Predicted):
            return Predicted(grade="predicted")
        if self._flaw == "writes" and isinstance(honest, Predicted):
            Rehearsal().perform(brief.model_copy(update={"verb": "apply"}), settings)
        if self._flaw == "extra" and isinstance(honest, Done):
            return Done(outputs={**honest.outputs, "more": 1})
        return honest


@pytest.mark.parametrize(
    ("flaw", "says"),
    [
        ("grade", "claims the grade predicted"),
        ("writes", "check changed what verify finds"),
        ("extra", "put out more, which the manifest does not declare"),
    ],
)
def test_a_careless_kind_is_found_out(tmp_path: Path, flaw: str, says: str) -> None:
    assert says in proven(laid(tmp_path), tmp_path, Careless(flaw)).broken[0]


# --- kinds --------------------------------------------------------------------------------------


def test_our_own_kind_is_found_like_anybody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    _registered(monkeypatch, "rehearsal = actors.rehearsal:Rehearsal")
    assert isinstance(load_kind("rehearsal"), Rehearsal)
    assert kind_names() == ("rehearsal",)


@pytest.mark.parametrize(
    ("points", "says"),
    [
        ((), "no kind named rehearsal is installed"),
        (("rehearsel = a:b",), "did you mean rehearsel?"),
        (("rehearsal = a:b", "rehearsal = c:d"), "installed twice: a:b and c:d"),
        (("rehearsal = no_such_module:Kind",), "cannot be loaded"),
        (("rehearsal = actors.effects:World",), "cannot be loaded"),
        (("rehearsal = builtins:dict",), "is not a kind of that name"),
    ],
)
def test_a_kind_that_cannot_be_used_says_why(
    monkeypatch: pytest.MonkeyPatch, points: tuple[str, ...], says: str
) -> None:
    _registered(monkeypatch, *points)
    with pytest.raises(ActorsError) as caught:
        load_kind("rehearsal")
    assert says in caught.value.what
    assert caught.value.next_step


def test_an_actor_of_a_kind_that_cannot_be_loaded_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _registered(monkeypatch, "rehearsal = no_such_module:Kind")
    laid(tmp_path)
    (finding,) = read_catalog(tmp_path).findings
    assert (finding.code, finding.line) == ("M-kind", 3)


def _registered(monkeypatch: pytest.MonkeyPatch, *points: str) -> None:
    from importlib.metadata import EntryPoint, EntryPoints  # noqa: PLC0415 - only here

    found = EntryPoints(
        EntryPoint(name=name.strip(), value=value.strip(), group="interlock.kinds")
        for name, _, value in (point.partition("=") for point in points)
    )

    def entry_points(**_: Any) -> EntryPoints:
        return found

    monkeypatch.setattr("actors.kinds.entry_points", entry_points)
