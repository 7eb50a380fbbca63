"""Data stays data: whatever a param holds, the host gets these bytes and nothing else runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from actors.kinds import ActorsError
from actors.spec import Done
from ansible_rig import Actor

if TYPE_CHECKING:
    from collections.abc import Iterator

BOOM: Final = "touch CANARY"

JINJA: Final = (
    "{{ lookup('pipe', 'touch CANARY') }}",
    "{{ lookup('ansible.builtin.pipe', 'touch CANARY') }}",
    "{{ query('pipe', 'touch CANARY') | first }}",
    "{% for x in [1] %}{{ lookup('pipe', 'touch CANARY') }}{% endfor %}",
    "{%- set x = lookup('pipe', 'touch CANARY') -%}",
    "{{ cycler.__init__.__globals__.os.popen('touch CANARY').read() }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ hostvars }}",
    "{{ interlock }}",
    "{{ vars['interlock'] }}",
    "{{ 7 * 7 }}",
    "{# a comment #}",
    "{{ '{{' }} lookup('pipe','touch CANARY') {{ '}}' }}",
    "{{{{ x }}}}",
    "}}{{ lookup('pipe', 'touch CANARY') }}{{",
    "{{ undefined_name }}",
    "{{ 1 / 0 }}",
    "{{",
    "{%",
    "#jinja2: variable_start_string:'[[', variable_end_string:']]'\n[[ 1 ]]",
    "{{ lookup('file', '/etc/shadow') }}",
    "{{ lookup('env', 'HOME') }}",
    "{% include '/etc/passwd' %}",
    "{% raw %}{{ x }}{% endraw %}",
)
YAML: Final = (
    "!unsafe x",
    "!vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162",
    "!!python/object/apply:os.system ['touch CANARY']",
    "&a [*a]",
    "*alias",
    "- ansible.builtin.command: touch CANARY",
    "key: value",
    "[1, 2, 3]",
    "{a: 1}",
    "yes",
    "no",
    "null",
    "~",
    "0x1F",
    "1e3",
    "1_000",
    "2026-11-21",
    "--- \n...",
    "%YAML 1.1",
    '{"__ansible_unsafe": "x"}',
    '{"__ansible_vault": "x"}',
    '{"__ansible_type": "x"}',
)
SHELL: Final = (
    "; touch CANARY",
    "$(touch CANARY)",
    "`touch CANARY`",
    "| touch CANARY",
    "&& touch CANARY",
    "> CANARY",
    "'; touch CANARY; '",
    '"; touch CANARY; "',
    "\\'; touch CANARY #",
    "$HOME",
    "~root",
    "*",
    "$IFS",
    "a\ntouch CANARY\n",
    "\\n\\t\\x00",
)
ARGV: Final = (
    "-e",
    "--version",
    "-oProxyCommand=touch CANARY",
    "--",
    "-",
    "@/etc/passwd",
    "a=b c=d",
)
CONTROL: Final = (
    "\x00",
    "a\x00b",
    "\x01\x02\x03\x1b[31mred\x1b[0m",
    "\x7f",
    "\r\n",
    "\t",
    " lead and trail ",
    "\n",
    "\x0b\x0c",
    "\x85",
)
UNICODE: Final = (
    "ünïcödé",
    "日本語",
    "\U0001f4a5",
    "\u202eright to left",
    "\u2028\u2029",
    "\ufeffmark",
    "\u200bnothing",
    "e\u0301 is not \xe9",
    "\ufffd\ufffe",
)
LONG: Final = ("x" * 4096, "{{ x }}" * 585, "\u65e5" * 4096, "'\"" * 2048)
ALL: Final = (*JINJA, *YAML, *SHELL, *ARGV, *CONTROL, *UNICODE, *LONG, "")

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
