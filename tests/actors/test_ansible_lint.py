"""The lint of actors: each fault is found where it stands, and what is sound is let through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from actors.catalog import read_actor
from ansible_rig import VERIFY, Actor

if TYPE_CHECKING:
    from pathlib import Path

PARAMS: Final = """\
word: {type: text, summary: W., pattern: '^.*$', required: false}
password: {type: text, summary: P., pattern: '^.*$', required: false}
"""
OUTPUTS: Final = "size: {type: integer, summary: S., minimum: 0, maximum: 9, required: false}"
MODES: Final = "failure_modes:\n  - {name: broken, summary: Broken.}\n"
SOUND: Final = """\
- name: Use all there is
  ansible.builtin.command:
    argv: [echo, "{{ interlock.params.word }}", "{{ interlock.params.password }}"]
    expand_argument_vars: false
  changed_when: false
  check_mode: false
  register: said
- name: Publish it
  ansible.builtin.set_stats: {aggregate: false, data: {size: "{{ said.stdout | length }}"}}
- name: Say so
  ansible.builtin.set_stats: {aggregate: false, data: {interlock_failure: broken}}
  when: said.rc != 0
"""
PLACE: Final = 16
"""The line of apply.yml on which a task that is added begins."""

TASKS: Final = {
    "A-check-mode": "- ansible.builtin.copy: {content: x, dest: /x}\n  check_mode: false",
    "A-shell-param": '- ansible.builtin.shell: "echo {{ interlock.params.word }}"',
    "A-shell-param, by way of a fact": (
        '- ansible.builtin.set_fact: {a: "{{ interlock.params.word }}"}\n'
        '- ansible.builtin.shell: "echo {{ a }}"'
    ),
    "A-shell-param, by way of a loop": (
        '- ansible.builtin.shell: "echo {{ item }}"\n  loop: ["{{ interlock.params.word }}"]'
    ),
    "A-shell-param, by way of vars": (
        '- ansible.builtin.shell: "echo {{ b }}"\n  vars: {b: "{{ interlock.params.word }}"}'
    ),
    "A-command-param": '- ansible.builtin.command: "echo {{ interlock.params.word }}"',
    "A-command-param, as cmd": (
        '- ansible.builtin.command: {cmd: "echo {{ interlock.params.word }}"}'
    ),
    "A-expand": '- ansible.builtin.command: {argv: [echo, "{{ interlock.params.word }}"]}',
    "A-lookup": "- ansible.builtin.debug: {msg: \"{{ lookup('pipe', 'id') }}\"}",
    "A-lookup, by q": "- ansible.builtin.debug: {msg: \"{{ q('env', 'HOME') }}\"}",
    "A-lookup, of a computed name": "- ansible.builtin.debug: {msg: \"{{ lookup(said, 'x') }}\"}",
    "A-lookup, as a loop": "- ansible.builtin.debug: {msg: x}\n  with_fileglob: /etc/*",
    "A-lookup, of a param's choice": (
        "- ansible.builtin.debug: {msg: \"{{ lookup('file', interlock.params.word) }}\"}"
    ),
    "A-template-path": '- ansible.builtin.include_tasks: "{{ said.stdout }}.yml"',
    "A-template-path, of a source": (
        '- ansible.builtin.copy: {src: "{{ interlock.params.word }}", dest: /x}'
    ),
    "A-register": (
        "- {ansible.builtin.command: {argv: [id]}, register: who}\n"
        '- ansible.builtin.debug: {msg: "{{ who.stdout }}"}'
    ),
    "A-aggregate": "- ansible.builtin.set_stats: {data: {size: 1}}",
    "A-aggregate, said": "- ansible.builtin.set_stats: {aggregate: yes, data: {size: 1}}",
    "A-stats": '- ansible.builtin.set_stats: {aggregate: false, data: "{{ said }}"}',
    "A-unknown-output": "- ansible.builtin.set_stats: {aggregate: false, data: {colour: 1}}",
    "A-unknown-param": '- ansible.builtin.debug: {msg: "{{ interlock.params.wrod }}"}',
    "A-unknown-param, by key": (
        "- ansible.builtin.debug: {msg: \"{{ interlock.params['wrod'] }}\"}"
    ),
    "A-no-log": '- ansible.builtin.debug: {msg: "{{ interlock.secrets.password }}"}',
    "A-reserved-var": "- ansible.builtin.set_fact: {ansible_host: elsewhere}",
    "A-reserved-var, by template": '- ansible.builtin.set_fact: {"{{ said.stdout }}": 1}',
    "A-reserved-var, in vars": "- ansible.builtin.ping:\n  vars: {ansible_port: 23}",
    "A-reserved-var, of a block": (
        "- block:\n    - ansible.builtin.ping:\n  vars: {ansible_host: elsewhere}"
    ),
    "A-reserved-var, by register": "- {ansible.builtin.ping: {}, register: interlock}",
    "A-module": "- command: id",
    "A-module, of a stranger": "- acme.tools.thing: {}",
    "A-module, raw": "- ansible.builtin.raw: id",
    "A-module, add_host": "- ansible.builtin.add_host: {name: x}",
    "A-module, fetch": "- ansible.builtin.fetch: {src: /x, dest: /y}",
    "A-module, two of them": "- {ansible.builtin.ping: {}, ansible.builtin.debug: {}}",
    "A-module, by action": "- action: ansible.builtin.ping",
    "A-delegate": "- {ansible.builtin.ping: {}, delegate_to: other}",
    "A-delegate, of a block": "- {delegate_to: other, block: [{ansible.builtin.ping: {}}]}",
    "A-delegate, to the controller": "- {ansible.builtin.ping: {}, delegate_to: localhost}",
    "A-become": "- {ansible.builtin.ping: {}, become: yes}",
    "A-reach": "- {ansible.builtin.ping: {}, connection: local}",
    "A-reach, user": "- {ansible.builtin.ping: {}, remote_user: me}",
}


@pytest.fixture
def actor(tmp_path: Path) -> Actor:
    return Actor(tmp_path)


def found(actor: Actor) -> set[tuple[str, str, int | None]]:
    findings = read_actor(actor.folder).findings
    return {(f.code, f.file.removeprefix(f"{actor.folder}/"), f.line) for f in findings}


def write(actor: Actor, more: str = "", **other: str) -> None:
    said = {"params": PARAMS, "outputs": OUTPUTS, "modes": MODES, **other}
    actor.write(SOUND + more, **said)  # type: ignore[arg-type]  # only texts are given


def test_a_sound_actor_is_let_through(actor: Actor) -> None:
    write(actor)
    assert found(actor) == set()


@pytest.mark.parametrize("case", TASKS)
def test_a_task_with_a_fault_is_found_where_it_stands(actor: Actor, case: str) -> None:
    write(actor, TASKS[case])
    code = case.partition(",")[0]
    named = {(c, f) for c, f, _ in found(actor)}
    assert (code, "apply.yml") in named, found(actor)
    assert {line for c, _, line in found(actor) if c == code} <= {PLACE, PLACE + 1, PLACE + 2}


GUARDED: Final = (
    '- {ansible.builtin.debug: {msg: "{{ who.stdout }}"}, when: not ansible_check_mode}',
    "- {ansible.builtin.debug: {msg: \"{{ who.stdout | default('') }}\"}}",
    '- {ansible.builtin.debug: {msg: "{{ who.stdout }}"}, when: who is not skipped}',
    '- {when: not ansible_check_mode, block: [{ansible.builtin.debug: {msg: "{{ who.rc }}"}}]}',
)


@pytest.mark.parametrize("guarded", GUARDED)
def test_a_guarded_register_is_let_through(actor: Actor, guarded: str) -> None:
    write(actor, f"- {{ansible.builtin.command: {{argv: [id]}}, register: who}}\n{guarded}")
    assert found(actor) == set()


@pytest.mark.parametrize(
    "task",
    [
        "- {ansible.builtin.uri: {url: 'http://x/'}, delegate_to: localhost}",
        "- {ansible.builtin.command: {argv: [id]}, become: true, become_user: postgres}",
        '- {ansible.builtin.debug: {msg: "{{ interlock.secrets.password }}"}, no_log: true}',
        "- ansible.builtin.copy: {src: one.conf, dest: '{{ interlock.params.word }}'}",
        "- ansible.builtin.shell: 'echo it | cat'",
    ],
)
def test_what_is_sound_is_let_through(actor: Actor, task: str) -> None:
    write(actor, task)
    (actor.folder / "files").mkdir()
    (actor.folder / "files" / "one.conf").write_text("one\n")
    assert found(actor) == set()


PLAYS: Final = {
    "A-hosts": ("  gather_facts: false", "- hosts: all", "- hosts: targets"),
    "A-play": ("  connection: local", "", ""),
    "A-play, user": ("  remote_user: me", "", ""),
    "A-become": ("  become: true", "", ""),
    "A-reserved-var": ("  vars: {ansible_host: x}", "", ""),
    "A-template-path": ("  vars_files: ['{{ x }}.yml']", "", ""),
}


@pytest.mark.parametrize("case", PLAYS)
def test_a_play_with_a_fault_is_found(actor: Actor, case: str) -> None:
    head, new, old = PLAYS[case]
    write(actor, head=head.strip())
    book = actor.folder / "apply.yml"
    book.write_text(book.read_text().replace(old, new, 1) if old else book.read_text())
    assert (case.partition(",")[0], "apply.yml", 1) in found(actor)


def test_a_verify_that_writes_is_found(actor: Actor) -> None:
    tasks = "    - ansible.builtin.copy: {content: x, dest: /x}\n"
    write(actor, verify=VERIFY.replace("  tasks:\n", f"  tasks:\n{tasks}"))
    assert found(actor) == {("A-verify-writes", "verify.yml", 3)}


def test_what_verify_includes_is_judged_as_verify(actor: Actor) -> None:
    write(
        actor,
        verify=VERIFY.replace(
            "  tasks:\n", "  tasks:\n    - ansible.builtin.import_tasks: tasks/look.yml\n"
        ),
    )
    (actor.folder / "tasks").mkdir()
    (actor.folder / "tasks" / "look.yml").write_text(
        "- ansible.builtin.copy: {content: x, dest: /x}\n"
    )
    assert found(actor) == {("A-verify-writes", "tasks/look.yml", 1)}


def test_a_verify_that_says_nothing_is_found(actor: Actor) -> None:
    write(actor, verify="- hosts: targets\n  tasks:\n    - ansible.builtin.ping:\n")
    assert found(actor) == {("A-no-state", "verify.yml", 1)}


def test_a_verify_that_looks_at_nothing_is_found(actor: Actor) -> None:
    write(actor, verify=VERIFY.replace("    - ansible.builtin.ping:\n", ""))
    assert found(actor) == {("A-blind", "verify.yml", 1)}


def test_manifest_sheet_and_playbooks_have_to_agree(actor: Actor) -> None:
    write(
        actor,
        params=PARAMS + "idle: {type: boolean, summary: I., required: false}\n",
        outputs=OUTPUTS + "\nquiet: {type: boolean, summary: Q., required: false}",
        modes=MODES + "  - {name: never, summary: Never.}\n",
        sheet="format: 1\nfailures:\n  - {mode: other, when: {task: x}}\noutputs: {nosuch: any}\n",
    )
    assert {code for code, _, _ in found(actor)} == {
        "A-unused-param",
        "A-unpublished",
        "A-unused-mode",
        "A-unknown-mode",
        "A-unknown-output",
    }


@pytest.mark.parametrize(
    "name", ["ansible.cfg", "group_vars/all.yml", "filter_plugins/x.py", "callback_plugins/x.py"]
)
def test_a_file_that_ansible_would_load_unseen_is_found(actor: Actor, name: str) -> None:
    write(actor)
    path = actor.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("x: 1\n")
    assert ("A-stray-file", name, 1) in found(actor)


def test_a_role_says_what_it_takes(actor: Actor) -> None:
    write(actor)
    tasks = actor.folder / "roles" / "one" / "tasks"
    tasks.mkdir(parents=True)
    (tasks / "main.yml").write_text("- ansible.builtin.ping:\n")
    assert found(actor) == {("A-argument-specs", "roles/one", 1)}
    (tasks.parent / "meta").mkdir()
    (tasks.parent / "meta" / "argument_specs.yml").write_text("argument_specs: {}\n")
    assert found(actor) == set()


def test_a_module_of_the_folder_may_be_used(actor: Actor) -> None:
    write(actor, "- own_module: {a: 1}")
    assert ("A-module", "apply.yml", PLACE) in found(actor)
    (actor.folder / "library").mkdir()
    (actor.folder / "library" / "own_module.py").write_text("# a module\n")
    assert found(actor) == set()


@pytest.mark.parametrize("text", ["- hosts: targets\n  tasks: [*a]\n", "{}\n", "- hosts: {\n"])
def test_a_playbook_that_cannot_be_read_is_found(actor: Actor, text: str) -> None:
    write(actor)
    (actor.folder / "apply.yml").write_text(text)
    assert "A-unreadable" in {code for code, _, _ in found(actor)}
