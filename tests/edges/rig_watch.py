"""Waiting for an act to be in the middle of its work, and reading what became of it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edges import rig
from orchestrator.pure.events import ActFinished, ActStarted

if TYPE_CHECKING:
    from actors.spec import Outcome
    from edges.rig import Process
    from orchestrator.pure.events import Event

__all__ = [
    "CLAIM",
    "SLOW",
    "acting",
    "catches",
    "claimed",
    "let_go",
    "noted",
    "outcomes",
    "status",
    "types",
]

SLOW: Final = "{step: a, takes_ms: 3000, do: work}"
CLAIM: Final = 3
"""The append with which a driver that starts a run claims the first act."""


def outcomes(root: Path, run: str, name: str) -> list[tuple[str, int, Outcome]]:
    return [
        (fact.verb, fact.attempt, fact.outcome)
        for fact in rig.events(root, run)
        if isinstance(fact, ActFinished) and fact.step == name
    ]


def types(facts: list[Event]) -> list[str]:
    return [fact.type for fact in facts]


def claimed(root: Path, run: str) -> list[str]:
    return [f.step for f in rig.events(root, run) if isinstance(f, ActStarted)]


def catches(pid: int, number: signal.Signals) -> bool:
    """Say whether a process has a handler of its own for a signal."""
    text = Path(f"/proc/{pid}/status").read_text()
    mask = next(line for line in text.splitlines() if line.startswith("SigCgt:")).split()[1]
    return bool(int(mask, 16) >> (number - 1) & 1)


def acting(root: Path, run: str, act: str) -> int:
    """Wait until an act is in the middle of its work."""
    pid: int = rig.until(lambda: rig.children(root, run).get(act), f"{act} is under way")
    rig.until(lambda: catches(pid, signal.SIGTERM), f"{act} listens")
    return pid


def noted(root: Path, run: str, act: str) -> int:
    """Wait until a hostile act says that it is in the middle of its work."""
    file = root / ".interlock" / "acts" / run / act / "noted"
    return int(rig.until(lambda: file.exists() and file.read_text(), f"{act} is under way"))


def let_go(root: Path, run: str) -> None:
    (root / ".interlock" / "acts" / run / "go").touch()


def status(driver: Process) -> str:
    """Read what the kernel says of a driver's process."""
    return Path(f"/proc/{driver.process.pid}/status").read_text()
