"""The verbs of a workspace: its actors, a fresh start, and what is missing or unsafe."""

from __future__ import annotations

import datetime as dt
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from actors.catalog import read_actor, record_evidence
from actors.contract import prove
from actors.contract_hosts import ActsOnHosts, Group
from actors.fitting import nearest
from actors.kinds import kind_names
from actors.spec import Target
from orchestrator import show
from orchestrator.approvals import read_trust
from orchestrator.errors import Corrupted, InterlockError, InvalidInput
from orchestrator.ledger import Ledger
from orchestrator.policy_bundle import read_bundle
from orchestrator.policy_engines import engine_name
from orchestrator.session import folded
from orchestrator.show_text import clean
from orchestrator.workspace import open_workspace
from orchestrator.workspace_files import LEDGER, find_workspace, init

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors.catalog import Evidence
    from actors.contract import Proof
    from actors.contract_hosts import Sandbox
    from actors.spec import ActorSpec
    from orchestrator.view import View
    from orchestrator.workspace import Workspace

__all__ = ["actors_check", "actors_list", "actors_show", "actors_test", "doctor", "init_workspace"]

SHOWN_OF_EVIDENCE: Final = {
    "passed", "tool", "date", "hosts", "not_exercised", "traces", "surprises",
}  # fmt: skip
NO_ACTORS: Final = "no actors: write one into playbooks/"


def actors_list(view: View, where: Path | None) -> int:
    """List the actors."""
    catalog, _ = _workspace(where).catalog()
    specs = [pinned.spec for _, pinned in sorted(catalog.actors.items())]
    width = max((len(spec.name) for spec in specs), default=0)
    view.say(
        lambda: (
            "\n".join(
                f"{spec.name:<{width}}  {spec.effect:<7}  undo {spec.undo:<7}  {spec.summary}"
                for spec in specs
            )
            or NO_ACTORS
        ),
        lambda: {"format": 1, "actors": [spec.model_dump(mode="json") for spec in specs]},
    )
    return 0


def actors_show(view: View, where: Path | None, name: str) -> int:
    """Show one actor."""
    workspace = _workspace(where)
    actors = workspace.read_catalog().actors
    if name not in actors:
        workspace.catalog()  # what is wrong with the folders comes first: it may be among them
        raise _no_actor(name, actors)
    actor, tested = actors[name], actors[name].tested
    document = {
        **actor.spec.model_dump(mode="json"),
        "digest": actor.digest,
        "folder": str(actor.folder),
        "tested": tested is not None,
        "evidence": tested.model_dump(mode="json", include=SHOWN_OF_EVIDENCE) if tested else None,
    }
    view.say(
        lambda: "\n".join(clean(line) for line in _lines(document)),
        lambda: {"format": 1, **document},
    )
    return 0


def actors_check(view: View, where: Path | None) -> int:
    """List what is wrong with the actors' folders."""
    read = _workspace(where).read_catalog()
    findings = [str(finding) for finding in read.findings]
    view.say(
        lambda: "\n".join(map(clean, findings)) or f"{len(read.actors)} actors, nothing is wrong",
        lambda: {"format": 1, "actors": sorted(read.actors), "findings": findings},
    )
    return InvalidInput.exit_code if findings else 0


def actors_test(view: View, where: Path | None, name: str | None, hosts: str | None = None) -> int:
    """Try one actor or all on their own cases, and record the evidence of those that passed."""
    workspace = _workspace(where)
    folders = _actor_folders(workspace)
    if name is not None and name not in folders:
        raise _no_actor(name, folders)
    chosen = folders if name is None else {name: folders[name]}
    proofs = {actor: _proof(workspace, folder, hosts) for actor, folder in chosen.items()}
    for actor, proof in proofs.items():
        if proof.evidence is not None:
            _record(chosen[actor], proof.evidence)
    broken = [says for proof in proofs.values() for says in proof.broken]
    view.say(
        lambda: "\n".join(clean(line) for line in _proof_lines(proofs)) or NO_ACTORS,
        lambda: {
            "format": 1,
            "actors": {
                actor: {
                    "passed": proof.evidence.passed if proof.evidence else None,
                    "digest": proof.evidence.digest if proof.evidence else None,
                    "broken": list(proof.broken),
                }
                for actor, proof in proofs.items()
            },
        },
    )
    return InvalidInput.exit_code if broken else 0


def init_workspace(view: View, name: str) -> int:
    """Begin a workspace."""
    if not name.strip():  # a path would take it for the folder that one stands in
        raise InvalidInput(
            "the name of the folder is empty; nothing was written",
            next_step="name a folder: interlock init FOLDER (a dot is the one you stand in)",
        )
    directory = Path(name)
    written = [str(path) for path in init(directory)]
    view.say(
        lambda: (
            f"{directory}: {len(written)} files\n"
            f"  next: cd {directory} && interlock plan examples/basic-update/ticket.yaml "
            "--draft examples/basic-update/draft.yaml"
        ),
        lambda: {"format": 1, "written": written},
    )
    return 0


def doctor(view: View, where: Path | None) -> int:
    """Look at the machine and the workspace; every line is a check that was made."""
    lines = [
        _Line("ok", f"python {platform.python_version()} at {sys.executable}"),
        _Line("ok", f"orchestrator from {Path(show.__file__).parent}"),
        _Line("ok" if "rehearsal" in kind_names() else "bad", f"kinds: {', '.join(kind_names())}"),
    ]
    lines.append(_checked("workspace", lambda: str(_workspace(where).root)))
    if lines[-1].state == "ok":
        lines += _about(_workspace(where))
    view.say(
        lambda: "\n".join(f"{line.state:<8} {line.what}" for line in lines),
        lambda: {"format": 1, "checks": [{"state": one.state, "what": one.what} for one in lines]},
    )
    if any(line.corrupted for line in lines):
        return Corrupted.exit_code
    return InvalidInput.exit_code if any(line.state == "bad" for line in lines) else 0


class _Line(NamedTuple):
    """One check that was made."""

    state: str
    what: str
    corrupted: bool = False


def _checked(what: str, check: Callable[[], str]) -> _Line:
    try:
        return _Line("ok", f"{what}: {check()}")
    except InterlockError as error:
        said = f"{what}: {error.what}; {error.next_step}"
        return _Line("bad", said, corrupted=isinstance(error, Corrupted))


def _about(workspace: Workspace) -> list[_Line]:
    return [
        _checked("actors", lambda: f"{len(workspace.catalog()[0].actors)} actors"),
        _checked("inventory", lambda: f"{len(workspace.inventory().objects)} objects"),
        _checked("policy", lambda: _policy(workspace)),
        _checked("consent", lambda: _consent(workspace)),
        _checked("ledger", lambda: _ledger(workspace)),
        *(_Line("warning", text) for text in workspace.warnings()),
    ]


def _consent(workspace: Workspace) -> str:
    trust = read_trust(workspace.root, workspace.settings)
    if workspace.settings.allowed_signers is None:
        return f"unsigned; {trust.source}"
    local = sum(signer.local for signer in trust.signers)
    listed = "a list of revoked keys" if trust.revoked is not None else "no list of revoked keys"
    return f"{len(trust.signers)} keys may sign, {local} of them for trying out; {listed}"


def _policy(workspace: Workspace) -> str:
    engine = engine_name(workspace.settings.policy)
    if workspace.settings.policy.engine == "builtin":
        return f"{engine}: interlock.yaml alone; no rules are asked"
    bundle = read_bundle(workspace.policies)
    return f"{engine}; {len(bundle.rules)} rules, digest {bundle.digest}"


def _ledger(workspace: Workspace) -> str:
    path = workspace.root / LEDGER
    if not path.exists():
        return "none yet; the first plan makes it"
    with Ledger.open(path) as ledger:
        count = ledger.verify()
        for row in ledger.rows():
            folded(ledger, row.run)  # refuses a run that does not stand as it is listed
        return f"{count} events verify"


def _workspace(where: Path | None) -> Workspace:
    return open_workspace(find_workspace(Path.cwd(), where))


def _actor_folders(workspace: Workspace) -> dict[str, Path]:
    try:
        found = sorted(workspace.playbooks.iterdir())
    except OSError as error:
        raise InvalidInput(
            f"{workspace.playbooks}: cannot be read: {error.strerror}",
            next_step="make the folder, or correct paths in interlock.yaml",
        ) from None
    return {path.name: path for path in found if path.is_dir() and not path.name.startswith(".")}


def _no_actor(name: str, known: Iterable[str]) -> InvalidInput:
    return InvalidInput(
        f"there is no actor {name[:60]}; {nearest(name[:60], known)}",
        next_step="list them: interlock actors list",
    )


def _proof(workspace: Workspace, folder: Path, hosts: str | None) -> Proof:
    """Try an actor in a scratch folder; a kind that keeps a world is given an empty one."""
    spec = read_actor(folder, kind_of=workspace.kind_of).spec
    settings = workspace.kind_settings(spec.kind) if spec else {}
    with tempfile.TemporaryDirectory(prefix="interlock-test-") as scratch:
        if "world" in settings:
            settings["world"] = str(Path(scratch) / "world")
        return prove(
            folder,
            settings=settings,
            workdir=Path(scratch),
            tool=f"interlock {version('interlock')}",
            kind_of=workspace.kind_of,
            sandbox=_sandbox(workspace, spec, hosts),
            today=dt.datetime.now(tz=dt.UTC).date().isoformat(),
        )


def _sandbox(workspace: Workspace, spec: ActorSpec | None, group: str | None) -> Sandbox | None:
    """Take the hosts of a group for tests, if the actor's kind acts on hosts."""
    if group is None or spec is None:
        return None
    kind = workspace.kind_of(spec.kind)
    if not isinstance(kind, ActsOnHosts):
        return None
    found = workspace.inventory().objects
    chosen = [one for one in found if group in one.groups]
    if not chosen:
        known = sorted({name for one in found for name in one.groups})
        raise InvalidInput(
            f"no host of the inventory is in a group {group[:60]}; {nearest(group[:60], known)}",
            next_step="name a group whose hosts may be changed and broken by tests",
        )
    targets = tuple(
        Target(name=one.name, object=one.object, labels=one.labels, connection=one.connection)
        for one in chosen
    )
    what = f"the {len(targets)} hosts of the group {group}"
    return Group(what, kind, targets, workspace.kind_settings(spec.kind))


def _record(folder: Path, evidence: Evidence) -> None:
    try:
        record_evidence(folder, evidence)
    except OSError as error:
        raise InvalidInput(
            f"{folder}: passed, but its evidence cannot be written: {error.strerror}",
            next_step="check who may write there, and test it again",
        ) from None


def _proof_lines(proofs: dict[str, Proof]) -> list[str]:
    lines = []
    width = max((len(actor) for actor in proofs), default=0)
    for actor, proof in proofs.items():
        if proof.evidence is not None:
            cases = "case" if proof.evidence.passed == 1 else "cases"
            lines.append(f"passed  {actor:<{width}}  {proof.evidence.passed} {cases}")
        else:
            lines += [f"BROKEN  {actor}", *(f"  - {says}" for says in proof.broken)]
    unproven = sum(proof.evidence is None for proof in proofs.values())
    if unproven:
        lines.append(f"{unproven} of {len(proofs)} actors broke a promise; no evidence for these")
    return lines


def _lines(document: dict[str, Any], indent: str = "") -> list[str]:
    """Write plain values as a person reads them: what is not said is not shown."""
    lines = []
    for key, value in document.items():
        if value is None or value in ([], {}):
            continue
        name = f"{indent}{key.replace('_', ' ')}:"
        if isinstance(value, dict):
            lines += [name, *_lines(value, indent + "  ")]
        elif isinstance(value, list) and isinstance(value[0], dict):
            lines.append(name)
            lines += [
                f"{indent}  - {', '.join(f'{k} {_word(v)}' for k, v in entry.items())}"
                for entry in value
            ]
        elif isinstance(value, list):
            lines.append(f"{name} {', '.join(map(_word, value))}")
        else:
            lines.append(f"{name} {_word(value)}")
    return lines


def _word(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
