"""What has happened in a rig: read from the rehearsal's world and from the ledger, then judged."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actors.spec import Failed, Found
from orchestrator.ledger import Ledger
from orchestrator.pure.events import ActFinished, ActStarted
from orchestrator.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orchestrator.pure.events import Event
    from orchestrator.pure.state import Run

__all__ = [
    "PATIENCE_S",
    "act_processes",
    "children",
    "effects",
    "events",
    "folded",
    "judge",
    "net",
    "side_of",
    "until",
]

PATIENCE_S: Final = 120
READER: Final = "lab.look"
"""It changes nothing, so that its effects do not count and it may be begun again."""


def side_of(root: Path) -> Path:
    """Name the file in which the drivers of a rig note what was acknowledged to them."""
    return root.with_name(f"{root.name}.acked")


def effects(root: Path) -> list[dict[str, Any]]:
    """Read the world: one effect a line."""
    path = root / ".interlock" / "rehearsal" / "effects.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def events(root: Path, run: str) -> list[Event]:
    """Read a run's events, verifying its chain on the way."""
    with Ledger.open(root / ".interlock" / "ledger.db") as ledger:
        return [recorded.event for recorded in ledger.read(run)]


def folded(root: Path, run: str) -> Run:
    """Fold a run from the ledger."""
    with Session.open(root) as session:
        return session.load(run)


def net(world: Iterable[dict[str, Any]]) -> set[tuple[str, str]]:
    """Say what the world holds in the end: step and target of each apply that was not undone."""
    held: set[tuple[str, str]] = set()
    for effect in world:
        if effect["actor"] == READER:
            continue
        touched = {(effect["step"], target) for target in effect["targets"]}
        held = held | touched if effect["verb"] == "apply" else held - touched
    return held


def judge(root: Path, run: str) -> None:
    """Hold the world against the ledger: what must be true after any mishap."""
    facts, world = events(root, run), effects(root)
    keys = [(e["run"], e["step"], e["verb"], e["attempt"]) for e in world]
    assert len(keys) == len(set(keys)), f"an effect happened twice: {keys}"
    claims = {(f.step, f.verb, f.attempt): f for f in facts if isinstance(f, ActStarted)}
    for effect in world:
        claim = claims.get((effect["step"], effect["verb"], effect["attempt"]))
        assert claim is not None, f"{effect['key']} was never claimed"
        assert claim.at_ms <= effect["at_ms"], f"{effect['key']} came before its claim"
        again = effect["verb"] == "apply" and effect["attempt"] > 1
        if again and effect["actor"] != READER:
            _judge_again(facts, effect["step"], effect["attempt"])
    _judge_acknowledged(root)


def _judge_again(facts: list[Event], name: str, attempt: int) -> None:
    """A second apply needs a word, recorded before it, that the first did nothing."""
    known = False
    for fact in facts:
        if isinstance(fact, ActStarted) and (fact.step, fact.verb) == (name, "apply"):
            if fact.attempt == attempt:
                assert known, f"apply {attempt} of {name} began, and nobody knew of the one before"
                return
            known = False
        elif isinstance(fact, ActFinished) and fact.step == name:
            outcome = fact.outcome
            clean = fact.verb == "apply" and isinstance(outcome, Failed)
            gone = isinstance(outcome, Found) and outcome.state == "not_applied"
            known = known or clean or gone
    raise AssertionError(f"apply {attempt} of {name} was never claimed")


def _judge_acknowledged(root: Path) -> None:
    """All that was acknowledged is there, in chains that verify."""
    with Ledger.open(root / ".interlock" / "ledger.db") as ledger:
        ledger.verify()
        there = {
            (recorded.run, recorded.seq): recorded.hash
            for row in ledger.rows()
            for recorded in ledger.read(row.run)
        }
    side = side_of(root)
    for line in side.read_text().splitlines() if side.exists() else ():
        name, seq, digest = line.split()
        assert there.get((name, int(seq))) == digest, f"record {seq} of {name} was lost"


# --- processes ------------------------------------------------------------------------------------


def act_processes(root: Path) -> list[int]:
    """List the living processes of acts in a workspace, zombies not counted."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            inside = any(word.startswith(f"{root}/".encode()) for word in words)
            if inside and b"orchestrator.act" in words and state != "Z":
                found.append(int(entry.name))
    return found


def children(root: Path, run: str) -> dict[str, int]:
    """Name the acts that have no outcome yet, with the processes that hold their directories."""
    found = {}
    for directory in (root / ".interlock" / "acts" / run).glob("*"):
        with suppress(OSError, ValueError):
            pid = int((directory / "lock").read_text())
            if not (directory / "outcome.json").exists() and Path(f"/proc/{pid}").exists():
                found[directory.name] = pid
    return found


def until(holds: Callable[[], object], what: str) -> Any:
    """Wait until something holds."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        if answer := holds():
            return answer
        time.sleep(0.005)
    raise AssertionError(f"it never came true: {what}")
