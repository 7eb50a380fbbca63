"""A driver and its playbooks: killed in the middle, followed by the next, applied once."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Final

import pytest

from ansible_rig import marked, until
from edges import rig
from edges.rig import Process
from orchestrator.pure.events import RollbackRequested
from orchestrator.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETTINGS: Final = """\
format: 1
environments:
  lab: {approvals: [], max_targets: 100, require_evidence: false, allow_undo_none: true}
policy: {engine: builtin}
parallelism: 3
kinds:
  ansible: {keep_dir: KEEP}
"""
MANIFEST: Final = """\
name: lab.write
version: 1.0.0
kind: ansible
summary: Write a line.
when_to_use: In tests.
when_not_to_use: Elsewhere.
effect: change
params:
  targets: {type: targets, summary: Where.}
  there: {type: text, summary: A folder., pattern: '^/.*$', max_length: 400}
writes: [line]
idempotent: false
undo: full
dry_run: predicted
failure_modes:
  - {name: stopped, summary: Stopped before it began.}
timeouts: {apply_s: 60, verify_s: 30, undo_s: 30, check_s: 30, expected_s: 1}
"""
APPLY: Final = """\
- hosts: targets
  tasks:
    - name: Say that it has begun
      ansible.builtin.command:
        argv: [touch, "{{ interlock.params.there }}/begun"]
        expand_argument_vars: false
      changed_when: false
    - name: Wait for leave
      ansible.builtin.wait_for: {path: "{{ interlock.params.there }}/go", sleep: 1}
    - name: Write the line
      ansible.builtin.command:
        argv:
          - sh
          - -c
          - echo "$1" >>"$0"/lines
          - "{{ interlock.params.there }}"
          - "{{ interlock.key }}"
        expand_argument_vars: false
"""
VERIFY: Final = """\
- hosts: targets
  tasks:
    - name: Look for the line
      ansible.builtin.stat: {path: "{{ interlock.params.there }}/lines"}
      register: lines
    - name: Say what was found
      ansible.builtin.set_stats:
        aggregate: false
        data: {interlock_state: "{{ 'applied' if lines.stat.exists else 'not_applied' }}"}
"""
UNDO: Final = """\
- hosts: targets
  tasks:
    - name: Take the line away
      ansible.builtin.file: {path: "{{ interlock.params.there }}/lines", state: absent}
"""


PLACE: Final = """\
- hosts: targets
  vars: {path: "{{ interlock.params.there }}/{{ inventory_hostname }}"}
  tasks:
"""
PUT: Final = f"""{PLACE}\
    - name: Keep the file that is there
      interlock_keep: {{keep: "{{{{ interlock.keep }}}}", path: "{{{{ path }}}}"}}
    - name: Write the file
      ansible.builtin.copy: {{content: new, dest: "{{{{ path }}}}", mode: "0644"}}
"""
PUT_BACK: Final = f"""{PLACE}\
    - name: Put back what was there
      interlock_keep: {{keep: "{{{{ interlock.keep }}}}", path: "{{{{ path }}}}", state: restored}}
"""
IS_PUT: Final = f"""{PLACE}\
    - name: Look at the file
      ansible.builtin.stat: {{path: "{{{{ path }}}}"}}
      register: file
    - name: Say what was found
      ansible.builtin.set_stats:
        aggregate: false
        data: {{interlock_state: "{{{{ ['not_applied', 'applied'][file.stat.exists | int] }}}}"}}
"""


class Lab:
    """A workspace with one actor that writes one line, once it is given leave."""

    def __init__(
        self,
        tmp_path: Path,
        *,
        apply: str = APPLY,
        verify: str = VERIFY,
        undo: str = UNDO,
        targets: tuple[str, ...] = ("here",),
    ) -> None:
        self.root = tmp_path / "ws"
        self.there = tmp_path / "there"
        self.there.mkdir()
        folder = self.root / "playbooks" / "lab.write"
        folder.mkdir(parents=True)
        texts = {"actor.yaml": MANIFEST, "apply.yml": apply, "verify.yml": verify, "undo.yml": undo}
        for name, text in texts.items():
            (folder / name).write_text(text)
        (self.root / "policies").mkdir()
        (self.root / "inventory").mkdir()
        (self.root / "interlock.yaml").write_text(SETTINGS.replace("KEEP", str(tmp_path / "keep")))
        connection = f"{{transport: local, python: {sys.executable}}}"
        objects = [f"  - {{name: {name}, connection: {connection}}}\n" for name in targets]
        (self.root / "inventory" / "lab.yaml").write_text(
            f"format: 1\nenvironment: lab\nobjects:\n{''.join(objects)}"
        )
        draft = (
            "decision: plan\nsteps:\n"
            "  - {id: a, actor: lab.write, "
            f"params: {{targets: [{', '.join(targets)}], there: {self.there}}}}}\n"
        )
        self.run = rig.opened(self.root, draft)
        self.drivers: list[Process] = []

    def driver(self) -> Process:
        """Start another driver."""
        self.drivers.append(Process(self.root, self.run))
        return self.drivers[-1]

    def begun(self) -> None:
        """Wait until the play waits for leave."""
        until((self.there / "begun").exists, "the play has begun")

    def lines(self) -> list[str]:
        """Read what was applied."""
        file = self.there / "lines"
        return file.read_text().splitlines() if file.exists() else []

    def acts(self) -> list[int]:
        """List the processes of acts."""
        return marked(f"orchestrator.act\0{self.root}")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    (lab.there / "go").touch()
    for driver in lab.drivers:
        driver.bury()
    until(lambda: not marked(str(tmp_path)), "nothing of it is left")


def test_a_play_whose_driver_was_killed_is_followed_by_the_next(lab: Lab) -> None:
    first = lab.driver()
    lab.begun()
    first.send(signal.SIGKILL)
    first.process.wait()
    (act,) = lab.acts()
    second = lab.driver()
    (lab.there / "go").touch()
    second.ends("succeeded")
    assert lab.lines() == [f"{lab.run}/a/apply/1"], "it was applied once, by the act that was there"
    until(lambda: act not in lab.acts(), "the act has ended")


def test_a_play_that_ended_while_nobody_drove_is_taken_at_its_word(lab: Lab) -> None:
    first = lab.driver()
    lab.begun()
    first.send(signal.SIGKILL)
    first.process.wait()
    (lab.there / "go").touch()
    until(lambda: not lab.acts(), "the act has ended by itself")
    lab.driver().ends("succeeded")
    assert lab.lines() == [f"{lab.run}/a/apply/1"]


def test_a_play_that_was_killed_with_its_driver_is_verified_and_begun_again(lab: Lab) -> None:
    first = lab.driver()
    lab.begun()
    first.send(signal.SIGKILL)
    first.process.wait()
    (act,) = lab.acts()
    os.killpg(act, signal.SIGKILL)
    until(lambda: not marked(str(lab.there)), "what it had begun on the host is gone")
    (lab.there / "go").touch()
    lab.driver().ends("succeeded")
    assert lab.lines() == [f"{lab.run}/a/apply/2"], "the first attempt wrote nothing"


def test_what_was_so_before_is_left_so_when_a_run_goes_back(tmp_path: Path) -> None:
    lab = Lab(tmp_path, apply=PUT, verify=IS_PUT, undo=PUT_BACK, targets=("one", "two"))
    (lab.there / "two").write_text("new")
    lab.driver().ends("succeeded")
    assert [(lab.there / name).read_text() for name in ("one", "two")] == ["new", "new"]
    with Session.open(lab.root) as session, session.driver(lab.run, lambda *_: None) as driver:
        back = RollbackRequested(at_ms=driver.run.at_ms, by="olga", reason="not wanted")
        driver.record([back])
        run = driver.drive()
    assert (run.phase, run.incidents) == ("rolled_back", ())
    assert not (lab.there / "one").exists()
    assert (lab.there / "two").read_text() == "new"
