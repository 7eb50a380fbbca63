"""A playbook that tells its secret in every way: it reaches the host, and is written nowhere."""

from __future__ import annotations

import json
import secrets
import sys
from typing import TYPE_CHECKING, Final

import pytest

from actors.spec import Done, Failed, Predicted
from desk import Desk
from edges import rig
from edges.rig import Mishap, Process
from edges.rig_watch import outcomes
from edges.teller import found_in, needles

if TYPE_CHECKING:
    from pathlib import Path

CHANGE: Final = """\
name: lab.change
version: 1.0.0
kind: ansible
summary: Change a thing.
when_to_use: In tests.
when_not_to_use: Elsewhere.
effect: change
params:
  targets: {type: targets, summary: What to change.}
  path: {type: text, summary: Where., pattern: '^/.*$', max_length: 400}
  fails: {type: boolean, summary: Whether to fail., required: false, default: false}
  password: {type: secret, summary: The new password.}
writes: [thing]
idempotent: true
undo: full
dry_run: partial
failure_modes:
  - {name: refused, summary: It said no and did nothing.}
timeouts: {apply_s: 60, verify_s: 60, undo_s: 60, check_s: 60, expected_s: 1}
"""
SHEET: Final = """\
format: 1
failures:
  - {mode: refused, when: {task: Say no}}
"""
APPLY: Final = """\
- hosts: targets
  vars: {word: "{{ answer.word }}"}
  tasks:
    - name: Get it past the lint
      tell_back: {word: "{{ interlock.secrets.password }}"}
      no_log: true
      register: answer
    - name: Tell it
      ansible.builtin.debug:
        msg:
          - "{{ word }}"
          - "{{ word | b64encode }}"
          - "{{ ('u:' ~ word) | b64encode }}"
          - "{{ ('us:' ~ word) | b64encode }}"
          - "{{ word | urlencode }}"
          - "{{ word | to_json }}"
          - "{{ {'nested': word | to_json} | to_json }}"
          - "{{ word | quote }}"
          - "{{ word | to_nice_yaml }}"
    - name: Say no
      ansible.builtin.fail: {msg: "not with {{ word }}"}
      when: interlock.params.fails
    - name: Write it down
      ansible.builtin.copy:
        content: "{{ word }}"
        dest: "{{ interlock.params.path }}"
"""
TELL_BACK: Final = """\
from ansible.module_utils.basic import AnsibleModule

module = AnsibleModule({"word": {"type": "str"}}, supports_check_mode=True)
module.exit_json(word=module.params["word"])
"""
VERIFY: Final = """\
- hosts: targets
  tasks:
    - ansible.builtin.stat: {path: "{{ interlock.params.path }}"}
      register: found
    - ansible.builtin.set_stats:
        aggregate: false
        data:
          interlock_state: "{{ 'applied' if found.stat.exists else 'not_applied' }}"
"""
UNDO: Final = """\
- hosts: targets
  tasks:
    - ansible.builtin.file: {path: "{{ interlock.params.path }}", state: absent}
"""


def built(ws: Path, there: Path, *, fails: bool) -> str:
    settings = "secrets:\n  word: {env: CANARY}\n" + rig.SETTINGS + "  ansible: {warm: 'off'}\n"
    rig.build(ws, settings=settings, change=CHANGE)
    folder = ws / "playbooks" / "lab.change"
    (folder / "rehearsal.yaml").unlink()
    for name, text in (
        ("apply.yml", APPLY),
        ("verify.yml", VERIFY),
        ("undo.yml", UNDO),
        ("ansible.yaml", SHEET),
        ("library/tell_back.py", TELL_BACK),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    inventory = ws / "inventory" / "lab.yaml"
    here = json.dumps({"transport": "local", "python": sys.executable})
    inventory.write_text(inventory.read_text().replace("lab\n", f"lab\nconnection: {here}\n", 1))
    params = {
        "targets": ["h01"],
        "path": str(there),
        "fails": fails,
        "password": {"secret": "word"},
    }
    step = {"id": "a", "actor": "lab.change", "params": params}
    return rig.opened(ws, json.dumps({"decision": "plan", "steps": [step]}))


@pytest.mark.parametrize("how", ["done", "failed", "check"])
def test_what_a_playbook_tells_of_its_secret_is_written_on_the_host_alone(
    ws: Path, tmp_path: Path, how: str
) -> None:
    canary = f"Ca/+{secrets.token_urlsafe(12)}'\"\\ {{{{ 1 }}}}&<é{secrets.token_hex(3)}"
    there = tmp_path / "there"
    run = built(ws, there, fails=how == "failed")
    mishap = Mishap(preview=True) if how == "check" else Mishap()
    driver = Process(ws, run, mishap, None, CANARY=canary)
    driver.ends({"done": "succeeded", "failed": "rolled_back", "check": "approved"}[how])
    first = outcomes(ws, run, "a")[0][2]
    if how == "done":
        assert isinstance(first, Done)
        assert there.read_text() == canary, "it arrived as it is: nothing in it was a template"
    elif how == "failed":
        assert isinstance(first, Failed)
    else:
        assert isinstance(first, Predicted)
        assert "<secret word>" in first.model_dump_json()
    there.unlink(missing_ok=True)
    desk = Desk(ws)
    typed = [
        desk.type_inside("show", run, "--json"),
        desk.type_inside("audit", "replay", run),
        desk.type_inside("audit", "export", run, "--output", str(ws / "evidence.jsonl")),
    ]
    assert list(found_in(ws, [canary])) == []
    said = "".join([driver.said, *(one.out + one.err for one in typed)]).encode()
    assert not [needle for needle in needles(canary) if needle in said]
    plays = list((ws / ".interlock" / "acts" / run).glob("a.*/ansible-*/events.jsonl"))
    assert plays
    assert any("<secret word>" in play.read_text() for play in plays)
