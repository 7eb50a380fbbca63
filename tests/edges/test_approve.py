"""`interlock approve` on the command line: what it asks, what it signs, and how it says no."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from edges import rig
from edges.keys import agent, key, line
from orchestrator.consenting import view_digest
from orchestrator.pure.events import Approved, Opened
from orchestrator.pure.run import evolve, opened
from orchestrator.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = Path(__file__).parent.parent.parent
SETTINGS: Final = """\
format: 1
environments:
  lab:
    approvals: [{role: boss, count: 1}]
    max_targets: 100
    require_evidence: false
    allow_undo_none: true
    require_signatures: true
policy: {engine: builtin}
roles: {boss: [bea, amy]}
allowed_signers: signers
kinds: {rehearsal: {world: .interlock/rehearsal}}
"""
FINAL: Final = rig.CHANGE.replace("undo: full", "undo: none\npoint_of_no_return: true")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("bea", "amy"):
        key(folder, name)
    return folder


def desk(tmp_path: Path, keys: Path, *hosts: str, change: str = rig.CHANGE) -> Path:
    """A workspace with a run that waits for a boss."""
    root = rig.build(tmp_path / "ws", settings=SETTINGS, change=change)
    (root / "signers").write_text(line("bea", keys / "bea"))
    (root / "ticket.yaml").write_text(rig.TICKET.format(id="CHG-1"))
    (root / "draft.yaml").write_text(rig.chain(*hosts).replace("after: []}", _accept(change)))
    done = typed(root, "plan", "ticket.yaml", "--draft", "draft.yaml")
    assert done.returncode == 4, done.stdout + done.stderr
    return root


def _accept(change: str) -> str:
    return "after: [], accept_no_undo: true}" if "undo: none" in change else "after: []}"


def typed(root: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", *words],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def asked(root: Path, answer: str, *words: str) -> tuple[int, str]:
    """Type a command at a terminal, and answer what it asks."""
    terminal, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli", *words],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "TERM": "dumb"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    said = b""
    answered = False
    # The terminal ends with an error when the last who had it open is gone.
    with contextlib.suppress(OSError):
        while heard := os.read(terminal, 65536):
            said += heard
            if b"To approve, type" in said and not answered and said.rstrip().endswith(b":"):
                os.write(terminal, answer.encode() + b"\n")
                answered = True
    os.close(terminal)
    return child.wait(timeout=60), said.decode()


def digest(root: Path) -> str:
    document: dict[str, Any] = json.loads(typed(root, "show", "CHG-1.1", "--json").stdout)
    return str(document["plan_digest"])


def approvals(root: Path) -> Sequence[Any]:
    with Session.open(root) as session:
        return session.load("CHG-1.1").approvals


def sign(root: Path, keys: Path, *words: str, who: str = "bea") -> subprocess.CompletedProcess[str]:
    return typed(root, "approve", "CHG-1.1", "--as", who, "--key", str(keys / who), *words)


def test_a_key_signs_what_is_then_acted_on(tmp_path: Path, keys: Path) -> None:
    root = desk(tmp_path, keys, "a", "b")
    done = sign(root, keys, "--digest", digest(root)[:16])
    assert done.returncode == 0, done.stderr
    (given,) = approvals(root)
    assert (given.principal, given.role, given.method) == ("bea", "boss", "sshsig")
    assert typed(root, "run", "CHG-1.1").returncode == 0
    assert rig.net(rig.effects(root)) == {("a", "h01"), ("b", "h02")}


def test_the_agent_signs_without_a_key_file(tmp_path: Path, keys: Path) -> None:
    root = desk(tmp_path, keys, "a")
    words = ("approve", "CHG-1.1", "--as", "bea", "--agent", "--digest", digest(root))
    with agent(keys / "bea", keys / "amy") as environ:
        assert typed(root, *words, **environ).returncode == 0
    assert typed(root, *words).returncode == 2
    assert len(approvals(root)) == 1


def test_the_diffs_of_a_dry_run_are_part_of_what_is_seen(tmp_path: Path, keys: Path) -> None:
    root = desk(tmp_path, keys, "a")
    with Session.open(root) as session:
        before = view_digest(session.load("CHG-1.1"))
    assert typed(root, "dry-run", "CHG-1.1").returncode in (0, 4)
    words = ("approve", "CHG-1.1", "--as", "bea", "--key", str(keys / "bea"))
    code, said = asked(root, "1", *words)
    assert code == 0, said
    assert "would act" in said
    assert approvals(root)[0].seen.view_digest != before


def test_what_was_seen_can_be_shown_again_from_the_ledger(tmp_path: Path, keys: Path) -> None:
    root = desk(tmp_path, keys, "a")
    assert sign(root, keys, "--digest", digest(root)).returncode == 0
    with Session.open(root) as session:
        first, *rest = session.ledger.read("CHG-1.1")
        assert isinstance(first.event, Opened)
        run = opened("CHG-1.1", first.event)
        hashes = {first.seq: first.hash}
        for recorded in rest:
            if isinstance(recorded.event, Approved):
                break
            run = evolve(run, recorded.event)
            hashes[recorded.seq] = recorded.hash
    assert isinstance(recorded.event, Approved)
    seen = recorded.event.approval.seen
    assert seen is not None
    assert seen.view_digest == view_digest(run)
    head, _, seq = seen.ledger_head.partition("@")
    assert hashes[int(seq)] == head
    assert typed(root, "audit", "verify", "CHG-1.1", "--anchor", seen.ledger_head).returncode == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--digest", "0" * 16), "is not the digest of the plan"),
        (("--digest", "0" * 4), "too short"),
        ((), "no terminal here"),
    ],
)
def test_a_plan_that_was_not_read_is_not_approved(
    tmp_path: Path, keys: Path, words: tuple[str, ...], says: str
) -> None:
    root = desk(tmp_path, keys, "a")
    done = sign(root, keys, *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert "next:" in done.stderr
    assert approvals(root) == ()


def test_bad_keys_end_in_words(tmp_path: Path, keys: Path) -> None:
    root = desk(tmp_path, keys, "a")
    unsigned = typed(root, "approve", "CHG-1.1", "--as", "bea", "--digest", digest(root))
    assert (unsigned.returncode, "counts only signed approvals" in unsigned.stderr) == (2, True)
    foreign = sign(root, keys, "--digest", digest(root), who="amy")
    assert (foreign.returncode, "no line is for amy" in foreign.stderr) == (2, True)
    (root / "signers").write_text(line("*", keys / "bea"))
    loose = sign(root, keys, "--digest", digest(root))
    assert loose.returncode == 2
    assert "signers:1: has the pattern '*'" in loose.stderr
    assert approvals(root) == ()


@pytest.mark.parametrize(
    ("hosts", "right", "wrong", "question"),
    [
        (("a",), "h01", "1", "the name of the only target"),
        (("a",), "h01", "y", "there is no way back"),
    ],
)
def test_a_point_of_no_return_is_approved_by_a_name(
    tmp_path: Path, keys: Path, hosts: tuple[str, ...], right: str, wrong: str, question: str
) -> None:
    root = desk(tmp_path, keys, *hosts, change=FINAL)
    words = ("approve", "CHG-1.1", "--as", "bea", "--key", str(keys / "bea"))
    code, said = asked(root, wrong, *words)
    assert (code, approvals(root)) == (2, ()), said
    assert question in " ".join(said.split())
    assert said.index("RISK") < said.index("STEPS") < said.index("To approve"), "risk comes first"
    code, said = asked(root, right, *words)
    assert code == 0, said
    assert len(approvals(root)) == 1


def test_where_nobody_can_be_asked_a_point_of_no_return_needs_its_answer(
    tmp_path: Path, keys: Path
) -> None:
    root = desk(tmp_path, keys, "a", change=FINAL)
    bare = sign(root, keys, "--digest", digest(root))
    assert (bare.returncode, "point of no return" in bare.stderr) == (2, True)
    assert sign(root, keys, "--digest", digest(root), "--answer", "2").returncode == 2
    assert approvals(root) == ()
    assert sign(root, keys, "--digest", digest(root), "--answer", "h01").returncode == 0


def test_a_number_of_targets_is_asked_where_there_is_a_way_back(tmp_path: Path, keys: Path) -> None:
    root = desk(tmp_path, keys, "a", "b")
    words = ("approve", "CHG-1.1", "--as", "bea", "--key", str(keys / "bea"))
    assert asked(root, "yes", *words)[0] == 2
    assert asked(root, "2", *words)[0] == 0


def test_a_local_identity_is_made_and_labelled(tmp_path: Path, keys: Path) -> None:
    root = desk(tmp_path, keys, "a")
    made = typed(root, "identity", "init", "--as", "amy")
    assert made.returncode == 0, made.stderr
    assert "for trying out only" in made.stdout
    path = root / ".interlock" / "identity" / "amy"
    assert path.stat().st_mode & 0o077 == 0
    words = ("approve", "CHG-1.1", "--as", "amy", "--key", str(path), "--digest", digest(root))
    done = typed(root, *words)
    assert done.returncode == 0, done.stderr
    assert "amy signs with a local identity" in " ".join(done.stdout.split())
    again = typed(root, "identity", "init", "--as", "amy")
    assert (again.returncode, "is there already" in again.stderr) == (2, True)


def test_the_doctor_looks_at_who_may_consent(tmp_path: Path, keys: Path) -> None:
    root = desk(tmp_path, keys, "a")
    typed(root, "identity", "init", "--as", "amy")
    looked = typed(root, "doctor")
    assert "2 keys may sign, 1 of them for trying out; no list of revoked keys" in looked.stdout
    (root / "signers").write_text(line("*", keys / "bea"))
    looked = typed(root, "doctor")
    assert (looked.returncode, "has the pattern '*'" in looked.stdout) == (2, True)


def test_no_identity_is_made_where_none_could_count(tmp_path: Path) -> None:
    root = rig.build(tmp_path / "ws")
    done = typed(root, "identity", "init", "--as", "amy")
    assert (done.returncode, "names no allowed_signers" in done.stderr) == (2, True)
    assert not (root / ".interlock").exists()
