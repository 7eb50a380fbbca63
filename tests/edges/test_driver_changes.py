"""Clocks that jump, disks that fill, folders that change: nothing begins on a wrong footing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from edges import rig
from edges.rig import Mishap, Process
from edges.rig_watch import (
    CLAIM,
    claimed,
)
from orchestrator.pure.events import (
    WindowClosed,
)
from orchestrator.session import clock_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


# --- clocks ---------------------------------------------------------------------------------------


def test_a_clock_before_the_last_event_stops_the_driver_before_it_writes(ws: Path) -> None:
    rig.build(ws)
    run = rig.opened(ws, rig.chain("a", "b"))
    before = rig.events(ws, run)
    behind = Process(ws, run, Mishap(ahead_ms=-3_600_000))
    assert behind.wait() == 7
    assert behind.said.splitlines()[-1] == "Unavailable"
    assert rig.events(ws, run) == before
    assert Process(ws, run, Mishap(kill_after=CLAIM)).wait() == -signal.SIGKILL
    before = rig.events(ws, run)
    assert Process(ws, run, Mishap(ahead_ms=-3_600_000)).wait() == 7
    assert rig.events(ws, run) == before
    Process(ws, run).ends("succeeded")


def test_a_clock_that_jumps_back_while_driving_does_not_turn_the_ledger_back(ws: Path) -> None:
    rig.build(ws)
    run = rig.opened(ws, rig.chain("a", "b"))
    Process(ws, run, Mishap(jump_after=CLAIM, jump_ms=-3_600_000)).ends("succeeded")
    instants = [fact.at_ms for fact in rig.events(ws, run)]
    assert instants == sorted(instants)


def test_a_clock_that_jumps_over_the_windows_end_takes_the_run_back(ws: Path) -> None:
    rig.build(ws, rules=["{step: a, takes_ms: 300, do: work}"])
    hour_ms = 3_600_000
    now_ms = clock_ms()
    window = f"window: {{start: {now_ms - hour_ms}, end: {now_ms + hour_ms}}}\n"
    run = rig.opened(ws, rig.chain("a", "b"), window=window)
    Process(ws, run, Mishap(jump_after=CLAIM, jump_ms=2 * hour_ms)).ends("rolled_back")
    facts = rig.events(ws, run)
    assert [f for f in facts if isinstance(f, WindowClosed)]
    assert claimed(ws, run) == ["a", "a"]
    assert rig.net(rig.effects(ws)) == set()


# --- a full disk ----------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not allow a mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _quiet(root: Path) -> bool:
    return not rig.act_processes(root)


def test_a_full_disk_stops_the_driver_and_room_lets_the_run_go_on(
    small_disk: Path, tmp_path: Path
) -> None:
    template = rig.build(tmp_path / "template", rules=["{step: a, takes_ms: 200, do: work}"])
    run = rig.opened(template, rig.chain("a", "b"))
    stopped = 0
    for fill_after in range(1, 7):
        root = rig.copied(template, small_disk / f"ws{fill_after}")
        driver = Process(root, run, Mishap(fill_after=fill_after))
        code = driver.wait()
        assert code in (0, 7), driver.said
        assert driver.said.splitlines()[-1] == ("Unavailable" if code else "succeeded")
        stopped += code == 7
        (small_disk / "filler").unlink(missing_ok=True)
        rig.until(partial(_quiet, root), "acts ended")
        if code:
            Process(root, run).ends("succeeded")
        rig.judge(root, run)
        assert rig.net(rig.effects(root)) == {("a", "h01"), ("b", "h02")}
        shutil.rmtree(root)
    assert stopped >= 3


# --- changed between plan and start ---------------------------------------------------------------


def _actor(ws: Path) -> None:
    (ws / "playbooks" / "lab.change" / "extra.yaml").write_text("x: 1\n")


def _no_actor(ws: Path) -> None:
    shutil.rmtree(ws / "playbooks" / "lab.change")


def _broken_actor(ws: Path) -> None:
    (ws / "playbooks" / "lab.change" / "actor.yaml").write_text("name: [\n")


def _inventory(ws: Path) -> None:
    path = ws / "inventory" / "lab.yaml"
    path.write_text(path.read_text().replace("{name: h01,", "{name: h01, connection: {port: 9},"))


def _no_host(ws: Path) -> None:
    path = ws / "inventory" / "lab.yaml"
    path.write_text("".join(t for t in path.read_text().splitlines(True) if "h02" not in t))


def _no_kind(ws: Path) -> None:
    path = ws / "playbooks" / "lab.change" / "actor.yaml"
    path.write_text(path.read_text().replace("kind: rehearsal", "kind: vanished"))


CHANGES: Final[dict[str, tuple[Callable[[Path], None], str]]] = {
    "an actor": (_actor, "Corrupted"),
    "no actor": (_no_actor, "Corrupted"),
    "a broken actor": (_broken_actor, "InvalidInput"),
    "the inventory": (_inventory, "Corrupted"),
    "a host less": (_no_host, "Corrupted"),
    "no such kind": (_no_kind, "InvalidInput"),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("begun", [False, True], ids=["before the start", "after a kill"])
def test_what_changed_since_it_was_planned_is_refused_before_anything(
    ws: Path, tmp_path: Path, what: str, begun: bool
) -> None:
    change, error = CHANGES[what]
    rig.build(ws)
    run = rig.opened(ws, rig.chain("a", "b"))
    if begun:
        assert Process(ws, run, Mishap(kill_after=CLAIM)).wait() == -signal.SIGKILL
    for folder in ("playbooks", "inventory"):
        shutil.copytree(ws / folder, tmp_path / "kept" / folder)
    change(ws)
    before = rig.events(ws, run)
    refused = Process(ws, run)
    assert refused.wait() == (2 if error == "InvalidInput" else 8)
    assert refused.said.splitlines()[-1] == error
    assert rig.effects(ws) == []
    assert rig.events(ws, run) == before
    for folder in ("playbooks", "inventory"):
        shutil.rmtree(ws / folder)
        shutil.copytree(tmp_path / "kept" / folder, ws / folder)
    Process(ws, run).ends("succeeded")
    rig.judge(ws, run)
