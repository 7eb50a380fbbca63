"""Data stays data: whatever a param holds, the host gets these bytes and nothing else runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from actors.kinds import ActorsError
from actors.spec import Done
from ansible_rig import Actor
from hostile_values import ALL

if TYPE_CHECKING:
    from collections.abc import Iterator

PARAMS: Final = """\
values:
  type: list
  summary: All.
  maximum: 500
  items: {type: text, summary: One., pattern: '^[\\s\\S]*$', max_length: 4096}
out: {type: text, summary: Where., pattern: '^/.*$', max_length: 400}
"""
TASKS: Final = """\
- name: Write all of them as one file
  ansible.builtin.copy:
    content: "{{ interlock.params['values'] | to_json }}"
    dest: "{{ interlock.params.out }}/all"
- name: Hand each over as it is, on a command line and on its input
  ansible.builtin.command:
    argv:
      - python3
      - "{{ playbook_dir }}/files/write.py"
      - "{{ interlock.params.out }}"
      - "{{ number }}"
      - "{{ '' if nul else value }}"
    stdin: "{{ value | b64encode }}"
    expand_argument_vars: false
  vars:
    value: "{{ interlock.params['values'][number] }}"
    nul: "{{ '\\x00' in value }}"
  loop: "{{ range(0, interlock.params['values'] | length, 4) | list }}"
  loop_control: {loop_var: number}
"""
WRITE: Final = """\
import base64, os, sys
out, number, word = sys.argv[1:]
with open(os.path.join(out, number), "wb") as file:
    file.write(base64.b64decode(sys.stdin.read()))
with open(os.path.join(out, number + ".argv"), "wb") as file:
    file.write(os.fsencode(word))
"""


@pytest.fixture
def actor(tmp_path: Path) -> Iterator[Actor]:
    actor = Actor(tmp_path).write(TASKS, params=PARAMS, timeout_s=120)
    (actor.folder / "files").mkdir()
    (actor.folder / "files" / "write.py").write_text(WRITE)
    yield actor
    assert not list(Path.home().glob("CANARY"))
    assert not list(Path.cwd().glob("CANARY"))


def test_hostile_values_arrive_byte_for_byte_and_run_nothing(actor: Actor, tmp_path: Path) -> None:
    assert len(set(ALL)) >= 60
    out = tmp_path / "out"
    out.mkdir()
    canary = tmp_path / "canary"
    values = tuple(value.replace("CANARY", str(canary))[:4096] for value in ALL)
    outcome = actor.ask("apply", values=values, out=str(out))
    assert isinstance(outcome, Done), outcome
    assert tuple(json.loads((out / "all").read_bytes())) == values
    for number in range(0, len(values), 4):
        assert (out / str(number)).read_bytes() == values[number].encode(), repr(values[number])
        if "\x00" not in values[number]:
            seen = (out / f"{number}.argv").read_bytes()
            assert seen == values[number].encode(), repr(values[number])
    assert not canary.exists(), "a value was run"
    assert list(tmp_path.rglob("canary*")) == []


def test_half_a_character_is_refused(actor: Actor, tmp_path: Path) -> None:
    with pytest.raises(ActorsError, match="half a character"):
        actor.ask("apply", values=("\ud800",), out=str(tmp_path))
