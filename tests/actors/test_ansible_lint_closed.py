"""The lint lets through what is listed: each way around a promise of the lint is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from actors.ansible.lint_reads import LOOKING_ARGS
from actors.ansible.lint_text import expressions, is_off, is_on
from actors.ansible.plugins import interlock_events
from actors.catalog import read_actor
from ansible_rig import VERIFY, Actor
from lint_ways import CASES, PING, ROLE, SECRET, SHELL, WORD, Case, command, uri

if TYPE_CHECKING:
    from pathlib import Path

PARAMS: Final = "word: {type: text, summary: W., pattern: '^.*$', required: false}\n"
MODES: Final = "failure_modes:\n  - {name: stopped, summary: Stopped before it began.}\n"


@pytest.fixture
def actor(tmp_path: Path) -> Actor:
    return Actor(tmp_path)


def findings(actor: Actor, case: Case, **more: Any) -> set[tuple[str, str]]:
    tasks = f'- ansible.builtin.debug: {{msg: "{WORD}"}}\n{case.tasks}'
    verify = VERIFY.replace(
        "  tasks:\n", f"  tasks:\n    {case.verify.replace(chr(10), chr(10) + '    ')}\n"
    )
    actor.write(tasks, params=PARAMS, modes=MODES, head=case.head, verify=verify, **more)
    for name, text in case.files.items():
        path = actor.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = read_actor(actor.folder).findings
    return {(f.code, f.file.removeprefix(f"{actor.folder}/")) for f in found}


@pytest.mark.parametrize("name", CASES)
def test_each_way_around_the_lint_is_found(actor: Actor, name: str) -> None:
    case = CASES[name]
    assert (name.partition(",")[0], case.there) in findings(actor, case)


SOUND: Final = {
    "nothing more": Case(),
    "reading in a dry run": Case(
        "- {ansible.builtin.command: {argv: [/usr/bin/cat, /x]}, check_mode: 'n'}\n"
        "- {ansible.builtin.uri: {url: 'http://x/', method: HEAD}, check_mode: no}\n"
        "- {ansible.builtin.copy: {content: x, dest: /x}, check_mode: true}"
    ),
    "params behind a literal text of a shell": Case(command(f'[sh, -c, echo "$1", sh, "{WORD}"]')),
    "a literal environment": Case(f"{SHELL}  environment: {{LC_ALL: C}}"),
    "a command chosen from literal ones": Case(
        command('"{{ checks[interlock.params.word] }}"')
        + "\n- ansible.builtin.copy: {content: x, dest: /x, "
        'validate: "{{ how[said] | default(omit) }}"}',
        head="vars: {checks: {a: [sh, -c, id], b: [id]}, how: {a: visudo -cf %s}}",
    ),
    "files of the folder": Case(
        "- ansible.builtin.import_tasks: tasks/a.yml\n"
        "- ansible.builtin.copy: {src: a.conf, dest: /x}\n"
        "- ansible.builtin.copy: {src: more/, dest: /x}\n"
        "- ansible.builtin.template: {src: templates/x.j2, dest: /x}\n"
        "- ansible.builtin.copy: {src: /etc/x, dest: /x, remote_src: yes}\n"
        "- ansible.builtin.debug: {msg: \"{{ lookup('ansible.builtin.file', 'more/b') }}\"}\n"
        "- ansible.builtin.include_role: {name: r, tasks_from: other}\n",
        {
            **ROLE,
            "tasks/a.yml": "- ansible.builtin.include_tasks: b.yml\n",
            "tasks/b.yml": PING,
            "files/a.conf": "a",
            "files/more/b": "b",
            "templates/x.j2": "{% raw %}{{ lookup }}{% endraw %}".replace("lookup", "x")
            + f"{WORD}\n",
            "vars/a.yml": "some: text\n",
            "roles/r/tasks/other.yml": "- ansible.builtin.template: {src: y.j2, dest: /y}\n",
            "roles/r/templates/y.j2": "y\n",
            "roles/r/meta/main.yml": "galaxy_info: {author: us}\n",
        },
        head="vars_files: [vars/a.yml]\nroles: [r, {role: r, when: false}]",
    ),
    "looking from the controller": Case(uri("method: HEAD, status_code: 200, timeout: 5")),
    "words that are none of Ansible's": Case(
        '- {ansible.builtin.debug: {msg: "query {{ said.query }} and lookup"}, name: Query q}'
    ),
    "a secret that is hidden": Case(
        f'- {{ansible.builtin.copy: {{content: "{SECRET}", dest: /x}}, no_log: y, register: key}}\n'
        "- {ansible.builtin.ping: , when: key is changed}\n"
        f'- {{own: {{password: "{SECRET}"}}, no_log: true, register: answer}}\n'
        '- ansible.builtin.debug: {msg: "{{ answer.size }} {{ interlock.keep }}"}',
        {"library/own.py": ""},
    ),
    "what reads, in verify": Case(
        verify="- {ansible.builtin.command: {argv: [systemctl, is-active, x]}}\n"
        "- {interlock_keep: {keep: '{{ interlock.keep }}', name: x, state: told}}\n"
        "- {ansible.builtin.slurp: {path: /x}}\n- {own: {a: 1}}",
        files={"library/own.py": ""},
    ),
}


@pytest.mark.parametrize("name", SOUND)
def test_what_is_written_plainly_is_let_through(actor: Actor, name: str) -> None:
    secret = {"password"} if "secret" in name else set()
    found = findings(actor, SOUND[name])
    assert found - {("A-unknown-param", "apply.yml") for _ in secret} == set()


def test_what_a_role_of_verify_does_is_judged_as_verify(actor: Actor) -> None:
    written = "- {ansible.builtin.file: {path: /x, state: absent}, changed_when: false}\n"
    files = {**ROLE, "roles/r/handlers/main.yml": written}
    case = Case(verify="- ansible.builtin.import_role: {name: r}", files=files)
    assert findings(actor, case) == {("A-verify-writes", "roles/r/handlers/main.yml")}


def test_the_apply_of_an_actor_that_reads_is_judged_as_verify(actor: Actor) -> None:
    case = Case("- {ansible.builtin.file: {path: /x, state: absent}, changed_when: false}")
    assert findings(actor, case, effect="read") >= {("A-verify-writes", "apply.yml")}


def test_the_lint_and_the_callback_let_the_same_be_told_on_the_controller() -> None:
    assert LOOKING_ARGS == interlock_events.LOOKING_ARGS


@pytest.mark.parametrize("value", [False, "n", "No", "off", " F ", "0", "false"])
def test_what_ansible_takes_as_false_is_off(value: object) -> None:
    assert is_off(value)
    assert is_off(0)
    assert not is_on(value)


@pytest.mark.parametrize("value", [None, "", "0x0", "00", "{{ false }}", [], {}, 2, "null"])
def test_what_is_no_boolean_of_ansible_is_neither(value: object) -> None:
    assert not is_off(value)
    assert not is_on(value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a {{ b }} c", ["{{ b }}"]),
        ("{{ '}}' }} x", ["{{ '}}' }}"]),
        ("{{ {'a': {'b': 1}}.a }} x", ["{{ {'a': {'b': 1}}.a }}"]),
        ('{{ "\\"}}" }} x', ['{{ "\\"}}" }}']),
        ("{%- if a -%} x {% endif %}", ["{%- if a -%}", "{% endif %}"]),
        ("{{ a", ["{{ a"]),
        ("{# {{ a }} #}", ["{{ a }}"]),
        ("no { % braces }}", []),
    ],
)
def test_a_template_ends_where_jinja_ends_it(text: str, found: list[str]) -> None:
    assert list(expressions(text)) == found
