"""A rolling change over five real hosts: power cuts, partitions, and SIGKILL of its drivers.

The judge is what stands on the hosts: each effect is one line in a file there, written by the act
itself, with its key. Nothing may be there twice, and nothing may still run, here or there.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from edges import rig
from edges.rig import Mishap, Process
from orchestrator.pure.run import offered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hosts import Host, Lab

pytestmark = pytest.mark.xdist_group("rolling")

KILLS: Final = int(os.environ.get("INTERLOCK_HOST_KILLS", "40"))
MOST_IN_ONE: Final = 6
EFFECTS: Final = "/srv/effects"
SHIPPED: Final = Path(__file__).parent.parent.parent / "playbooks"

SETTINGS: Final = """\
format: 1
environments:
  lab: {approvals: [], max_targets: 100, require_evidence: false, allow_undo_none: true}
policy: {engine: builtin}
parallelism: 3
kinds:
  rehearsal: {world: .interlock/rehearsal}
  ansible: {known_hosts_path: known_hosts, connect_timeout_s: 3}
"""
MANIFEST: Final = """\
name: lab.mark
version: 1.0.0
kind: ansible
summary: Leave a mark on a host, once.
when_to_use: In tests.
when_not_to_use: Elsewhere.
effect: change
params:
  targets: {type: targets, summary: What to mark.}
writes: [marks]
idempotent: false
undo: full
dry_run: none
failure_modes:
  - {name: broken, summary: It is broken and nothing was touched.}
  - {name: unreachable, summary: It could not be reached.}
  - {name: stopped, summary: Asked to stop before anything was touched.}
timeouts: {apply_s: 60, verify_s: 30, undo_s: 60, check_s: 30, expected_s: 2}
"""
# The effect happens in one instant, with time before and after it in which the act can be cut off.
MARK: Final = """\
- name: {name}
  hosts: targets
  gather_facts: false
  tasks:
    - name: Fail where it is wanted
      ansible.builtin.command:
        argv: [test, "!", -e, /srv/broken]
      changed_when: false
    - name: {name}
      ansible.builtin.command:
        argv:
          - sh
          - -c
          - sleep 0.2; echo "$1" >> /srv/effects; sleep {after_s}
          - sh
          - "{{{{ interlock.key }}}}"
        expand_argument_vars: false
"""
VERIFY: Final = """\
- name: Look for the mark
  hosts: targets
  gather_facts: false
  tasks:
    - name: Read what happened
      ansible.builtin.command:
        argv: [cat, /srv/effects]
      changed_when: false
      failed_when: false
      register: effects
    - name: Say what was found
      ansible.builtin.set_stats:
        aggregate: false
        data:
          interlock_state: "{{ 'applied' if applied > undone else 'not_applied' }}"
      vars:
        applied: "{{ effects.stdout_lines | select('search', '/apply/') | length }}"
        undone: "{{ effects.stdout_lines | select('search', '/undo/') | length }}"
"""
SHEET: Final = """\
format: 1
failures: [{mode: broken, when: {task: Fail where it is wanted}}]
"""
DRAFT: Final = """\
decision: plan
max_parallel: 2
waves:
  - {id: roll, targets: ["@rolled"], size: 2, stop_after: 1}
steps:
  - {id: mark, actor: lab.mark, wave: roll}
"""


def workspace(root: Path, lab: Lab, *, after_s: str = "0.2") -> Path:
    (root / "inventory").mkdir(parents=True)
    (root / "policies").mkdir()
    (root / "interlock.yaml").write_text(SETTINGS)
    shutil.copy(lab.known_hosts, root / "known_hosts")
    objects = [
        {"name": host.name, "groups": ["rolled"], "connection": host.connection} for host in lab
    ]
    said = {"format": 1, "environment": "lab", "objects": objects}
    (root / "inventory" / "lab.yaml").write_text(json.dumps(said))
    folder = root / "playbooks" / "lab.mark"
    folder.mkdir(parents=True)
    (folder / "actor.yaml").write_text(MANIFEST)
    (folder / "apply.yml").write_text(MARK.format(name="Leave a mark", after_s=after_s))
    (folder / "undo.yml").write_text(MARK.format(name="Take the mark back", after_s="0.2"))
    (folder / "verify.yml").write_text(VERIFY)
    (folder / "ansible.yaml").write_text(SHEET)
    return root


def lines(host: Host) -> list[str]:
    """Read the effects on one host: `run/step/verb/attempt`, the oldest first."""
    code, out, _ = host.run("cat", EFFECTS)
    return out.splitlines() if code == 0 else []


def verbs(host: Host) -> list[str]:
    return [line.split("/")[-2] for line in lines(host)]


def until(holds: Callable[[], object], what: str) -> None:
    """Wait until something holds, without working too hard on it."""
    end_s = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end_s, f"it never came true: {what}"
        time.sleep(0.1)


def judge(lab: Lab, root: Path, end: str) -> None:
    """Nothing was done twice, what is left is what the end says, and nothing runs any more."""
    for host in lab:
        done = verbs(host)
        assert len(set(lines(host))) == len(done), lines(host)
        assert done in ([], ["apply"], ["apply", "undo"]), (host.name, lines(host))
        assert end != "succeeded" or done == ["apply"], (host.name, done)
        assert end != "rolled_back" or done != ["apply"], (host.name, done)
    until(lambda: not controller_processes(root), "nothing runs here any more")
    until(lambda: not any(host.processes() for host in lab), "nothing runs on the hosts")


def controller_processes(root: Path) -> list[str]:
    """List what works for this workspace here: keepers, plays, connections."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            where = str((entry / "cwd").readlink())
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z" and (str(root) in words or where.startswith(str(root))):
            found.append(words)
    return found


def told(root: Path, *words: str) -> int:
    """Type a command, and return its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", *words],
        cwd=root, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode in range(2, 8) or done.returncode == 0, done.stderr
    sys.stdout.write(done.stdout + done.stderr)  # shown where the test fails
    return done.returncode


def phase(root: Path, run: str) -> str:
    return str(rig.folded(root, run).phase)


# --- a host that goes away ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["power cut", "partition"])
def test_a_host_that_goes_away_in_mid_step_is_asked_before_anything_goes_on(
    lab: Lab, tmp_path: Path, how: str
) -> None:
    root = workspace(tmp_path / "ws", lab, after_s="8")
    run = rig.opened(root, DRAFT)
    driver = subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli", "run", run], cwd=root, stdout=subprocess.DEVNULL
    )
    first = lab[1]
    until(lambda: verbs(first) == ["apply"], "the first host is marked")
    if how == "power cut":
        first.power_cut()
    else:
        first.cut()
    assert driver.wait(240) == 6
    assert phase(root, run) == "held"
    assert [verbs(lab[at]) for at in (3, 4, 5)] == [[], [], []]
    if how == "power cut":
        first.power_on()
    else:
        first.heal()
    assert told(root, "recover", run, "resume:mark@1", "--reason", "it is back") == 0
    assert phase(root, run) == "succeeded"
    judge(lab, root, "succeeded")


# --- drivers that are killed ----------------------------------------------------------------------


def _killed_before_each(root: Path, run: str) -> int:
    """Kill driver after driver, each before the append that follows its first progress."""
    for hits in range(200):
        driver = Process(root, run, Mishap(kill_before=min(hits + 1, 3)))
        code = driver.wait()
        if code == 0:
            return hits
        assert code == -signal.SIGKILL, driver.said
    raise AssertionError("the run makes no progress")


def _killed_in_mid_act(root: Path, run: str, chance: random.Random) -> int:
    """Kill driver after driver, or acts, or both, each time while an act is under way on hosts."""
    hits = 0
    for _ in range(MOST_IN_ONE):
        hits += _killed_once(root, run, chance)
        if phase(root, run) not in ("running", "rolling_back"):
            break
    return hits


def _killed_once(root: Path, run: str, chance: random.Random) -> int:
    driver = Process(root, run)
    try:
        until(lambda: rig.act_processes(root) or driver.process.poll() is not None, "an act")
        time.sleep(chance.uniform(0.0, 2.0))
        hits = 0
        for victim in chance.choice((("driver",), ("act",), ("driver", "act"))):
            acts = rig.act_processes(root)
            if victim == "act" and acts:
                os.kill(chance.choice(acts), signal.SIGKILL)
                hits += 1
            elif victim == "driver" and driver.process.poll() is None:
                driver.send(signal.SIGKILL)
                hits += 1
        if driver.process.poll() is None and hits == 0:
            driver.send(signal.SIGKILL)
            hits = 1
        driver.wait()
        return hits
    finally:
        driver.bury()


def _cases(chance: random.Random) -> Iterator[tuple[str, Callable[[Path, str], int]]]:
    yield "succeeded", _killed_before_each
    yield "rolled_back", _killed_before_each
    for at in itertools.count():
        end = ("succeeded", "rolled_back")[at % 2]
        yield end, lambda root, run: _killed_in_mid_act(root, run, chance)


@pytest.mark.usefixtures("untraced")
def test_no_kill_of_a_driver_or_an_act_marks_a_host_twice(
    lab: Lab, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(20261121)
    killed, runs = 0, 0
    for end, kills in _cases(chance):
        if killed >= KILLS and runs >= 3:
            break
        runs += 1
        for host in lab:
            host.must("rm", "-f", EFFECTS, "/srv/broken")
        if end == "rolled_back":
            lab[5].write("/srv/broken", "")
        root = workspace(tmp_path / str(runs), lab)
        run = rig.opened(root, DRAFT)
        killed += kills(root, run)
        judge(lab, root, _to_the_end(root, run, end))
    record_property(
        "figure",
        f"real kills over five real hosts: {killed} of drivers and acts in {runs} rolling changes, "
        "also before every append; 0 effects twice, nothing left running",
    )


def _to_the_end(root: Path, run: str, end: str) -> str:
    """Drive a run on as a person would: verify what is in doubt, try again what is not there.

    A kill that left a mark on one host of a slice and not on the other is a failure, and the run
    goes back; else the run ends as it would have without any kill.
    """
    for _ in range(6):
        Process(root, run).wait()
        held = rig.folded(root, run)
        if held.phase != "held":
            break
        for incident in held.incidents:
            verbs = {remedy.kind for remedy in offered(held) if remedy.step == incident.step}
            verb = "resume" if "resume" in verbs else "retry"
            told(root, "recover", run, f"{verb}:{incident.step}", "--reason", "look again")
    ended = rig.folded(root, run)
    if "applied in part" in (ended.reason or ""):
        end = "rolled_back"
    assert ended.phase == end, ended.reason
    return end


# --- the command of an author ---------------------------------------------------------------------


def test_an_actor_is_tried_on_a_group_of_the_inventory(lab: Lab, tmp_path: Path) -> None:
    root = workspace(tmp_path / "ws", lab)
    folder = root / "playbooks" / "linux.file_prune"
    shutil.copytree(SHIPPED / "linux.file_prune", folder)
    (folder / "evidence.json").unlink()
    assert told(root, "actors", "test", "linux.file_prune", "--hosts", "nowhere") == 2
    assert not (folder / "evidence.json").exists()
    assert told(root, "actors", "test", "linux.file_prune", "--hosts", "rolled") == 0
    evidence = json.loads((folder / "evidence.json").read_text())
    assert evidence["hosts"] == "the 5 hosts of the group rolled"
    assert told(root, "actors", "check") == 0
    apply = folder / "apply.yml"
    apply.write_text(apply.read_text().replace("older_than_days", "no_such_param"))
    assert told(root, "actors", "test", "linux.file_prune", "--hosts", "rolled") == 2
