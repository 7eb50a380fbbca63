"""Ways around the promises of the lint of actors: each is a finding of the code it begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CASES", "PING", "ROLE", "SECRET", "SHELL", "WORD", "Case", "command", "uri"]

PIPE: Final = "{{ lookup('pipe', interlock.params.word) }}"
WORD: Final = "{{ interlock.params.word }}"
SECRET: Final = "{{ interlock.secrets.password }}"
PING: Final = "- ansible.builtin.ping:\n"
SHELL: Final = "- ansible.builtin.shell: echo it\n"
SPECS: Final = {"roles/r/meta/argument_specs.yml": "argument_specs: {}\n"}
ROLE: Final = {"roles/r/tasks/main.yml": PING, **SPECS}


class Case(NamedTuple):
    """What is added to a sound actor, and the file in which a finding is due."""

    tasks: str = ""
    files: Mapping[str, str] = {}
    head: str = ""
    verify: str = ""
    there: str = "apply.yml"


def uri(more: str) -> str:
    return f"- {{ansible.builtin.uri: {{url: 'http://x/', {more}}}, delegate_to: localhost}}"


def command(argv: str, more: str = "") -> str:
    return f"- {{ansible.builtin.command: {{argv: {argv}, expand_argument_vars: false{more}}}}}"


WRITES: Final = {
    "A-check-mode, as a number": Case(
        "- {ansible.builtin.copy: {content: x, dest: /x}, check_mode: 0}"
    ),
    "A-check-mode, as a letter": Case(
        "- {ansible.builtin.copy: {content: x, dest: /x}, check_mode: 'n'}"
    ),
    "A-check-mode, by a template": Case(
        '- {ansible.builtin.copy: {content: x, dest: /x}, check_mode: "{{ false }}"}'
    ),
    "A-check-mode, as another number": Case(
        "- {ansible.builtin.file: {path: /x}, check_mode: 0x0}"
    ),
    "A-check-mode, behind nothing": Case(
        "- {check_mode: false, block: [{ansible.builtin.file: {path: /x}, check_mode: null}]}"
    ),
    "A-check-mode, of a block that imports": Case(
        "- {check_mode: false, block: [{ansible.builtin.import_tasks: tasks/a.yml}]}",
        {"tasks/a.yml": PING},
    ),
    "A-brought-in, by import": Case(
        "- {ansible.builtin.import_tasks: tasks/a.yml, check_mode: false}", {"tasks/a.yml": PING}
    ),
    "A-brought-in, by include and apply": Case(
        "- ansible.builtin.include_tasks: {file: tasks/a.yml, apply: {check_mode: false}}",
        {"tasks/a.yml": PING},
    ),
    "A-brought-in, by a role and apply": Case(
        "- ansible.builtin.include_role: {name: r, apply: {check_mode: false}}", ROLE
    ),
    "A-check-mode, of uri with dest": Case(
        "- {ansible.builtin.uri: {url: 'http://x/', dest: /x}, check_mode: false}"
    ),
    "A-check-mode, of uri that posts": Case(
        "- {ansible.builtin.uri: {url: 'http://x/', method: POST}, check_mode: false}"
    ),
    "A-check-mode, of a command that removes": Case(
        "- {ansible.builtin.command: {argv: [rm, -rf, /x]}, changed_when: false, check_mode: false}"
    ),
    "A-check-mode, of a command of its own place": Case(
        "- {ansible.builtin.command: {argv: [/tmp/cat, /x]}, check_mode: false}"
    ),
    "A-check-mode, of a command in another environment": Case(
        "- ansible.builtin.command: {argv: [cat, /x]}\n"
        "  environment: {LD_PRELOAD: /tmp/x}\n  check_mode: false"
    ),
    "A-check-mode, of a shell": Case(f"{SHELL}  changed_when: false\n  check_mode: false"),
    "A-check-mode, of an own module": Case(
        "- {own: {a: 1}, check_mode: false}", {"library/own.py": ""}
    ),
}
TEMPLATES: Final = {
    "A-lookup, in a template": Case(
        files={"templates/x.j2": f"a\n{PIPE}\n"}, there="templates/x.j2"
    ),
    "A-lookup, in a template by other marks": Case(
        files={
            "templates/x.j2": "#jinja2: variable_start_string:'[['\n[[ lookup('pipe', 'id') ]]\n"
        },
        there="templates/x.j2",
    ),
    "A-lookup, in a template that takes another in": Case(
        files={"templates/x.j2": "{% include 'files/y.j2' %}\n"}, there="templates/x.j2"
    ),
    "A-lookup, behind braces in quotes": Case(
        "- ansible.builtin.debug: {msg: \"{{ '}}' ~ lookup('pipe', 'id') }}\"}"
    ),
    "A-lookup, behind a mapping": Case(
        "- ansible.builtin.debug: {msg: \"{{ {'a': {'b': 1}} ~ lookup('pipe', 'id') }}\"}"
    ),
    "A-lookup, under another name": Case(
        "- ansible.builtin.debug: {msg: \"{% set l = lookup %}{{ l('pipe', 'id') }}\"}"
    ),
    "A-lookup, in a condition": Case(
        "- {ansible.builtin.ping: {}, when: \"(lookup)('pipe', 'id')\"}"
    ),
    "A-lookup, of one variable": Case("- ansible.builtin.debug: {var: \"lookup('pipe', 'id')\"}"),
    "A-lookup, in a key": Case(f'- ansible.builtin.set_fact: {{"{PIPE}": 1}}'),
    "A-lookup, of a variable's name": Case(
        "- ansible.builtin.debug: {msg: \"{{ lookup('vars', 'x') }}\"}"
    ),
    "A-lookup, of what lies on the controller": Case(
        "- ansible.builtin.debug: {msg: \"{{ '/etc/*' | fileglob }}\"}"
    ),
    "A-lookup, in vars of a play": Case(head=f'vars: {{a: "{PIPE}"}}'),
    "A-lookup, in vars of a block": Case(
        f'- vars: {{a: "{PIPE}"}}\n  block: [{{ansible.builtin.ping: }}]'
    ),
    "A-lookup, in vars_files": Case(
        head="vars_files: [vars/a.yml]", files={"vars/a.yml": f'a: "{PIPE}"\n'}, there="vars/a.yml"
    ),
    "A-lookup, in vars of a role": Case(
        files={**ROLE, "roles/r/defaults/main.yml": f'a: "{PIPE}"\n'},
        there="roles/r/defaults/main.yml",
    ),
    "A-lookup, in a role that is played": Case(
        head=f'roles: [{{role: r, vars: {{a: "{PIPE}"}}}}]', files=ROLE
    ),
    "A-args, by other marks": Case(
        "- ansible.builtin.template: {src: x.j2, dest: /x, variable_start_string: '[['}",
        {"templates/x.j2": "x"},
    ),
    "A-outside, by lookup": Case(
        "- ansible.builtin.debug: {msg: \"{{ lookup('file', '/etc/shadow') }}\"}"
    ),
    "A-outside, by lookup upwards": Case(
        "- ansible.builtin.debug: {msg: \"{{ lookup('template', '../x.j2') }}\"}"
    ),
}
COMMANDS: Final = {
    "A-args, of a shell": Case(f'- {{ansible.builtin.shell: , args: {{cmd: "echo {WORD}"}}}}'),
    "A-args, as one text": Case('- ansible.builtin.copy: "src={{ a }} dest=/x"'),
    "A-args, Ansible's own": Case(f'- ansible.builtin.command: {{_raw_params: "echo {WORD}"}}'),
    "A-args, a shell of a command": Case(
        "- ansible.builtin.command: {argv: [echo], _uses_shell: true}"
    ),
    "A-args, from module_defaults": Case(
        SHELL, head=f'module_defaults: {{ansible.builtin.shell: {{cmd: "echo {WORD}"}}}}'
    ),
    "A-args, from a group's defaults": Case(SHELL, head="module_defaults: {group/all: {a: 1}}"),
    "A-args, from a block's defaults": Case(
        "- module_defaults: {ansible.builtin.copy: {src: /x}}\n  block: [{ansible.builtin.ping: }]"
    ),
    "A-environment": Case(f'{SHELL}  environment: {{A: "{WORD}"}}'),
    "A-environment, of a block": Case(
        f'- environment: {{A: "{WORD}"}}\n  block: [{{ansible.builtin.shell: echo $A}}]'
    ),
    "A-environment, of a play": Case(SHELL, head=f'environment: {{A: "{WORD}"}}'),
    "A-shell-param, by way of vars_files": Case(
        '- ansible.builtin.shell: "echo {{ a }}"',
        {"vars/a.yml": f'a: "{WORD}"\n'},
        head="vars_files: [vars/a.yml]",
    ),
    "A-shell-param, by way of a role": Case(
        f'- {{ansible.builtin.include_role: {{name: r}}, vars: {{a: "{WORD}"}}}}',
        {"roles/r/tasks/main.yml": '- ansible.builtin.shell: "echo {{ a }}"\n', **SPECS},
        there="roles/r/tasks/main.yml",
    ),
    "A-shell-param, by way of a register": Case(
        f'- {{ansible.builtin.debug: {{msg: "{WORD}"}}, register: a}}\n'
        '- ansible.builtin.shell: "echo {{ a.msg }}"'
    ),
    "A-shell-param, as its input": Case(f'- ansible.builtin.shell: {{cmd: sh, stdin: "{WORD}"}}'),
    "A-shell-param, of cron": Case(f'- ansible.builtin.cron: {{name: x, job: "{WORD}"}}'),
    "A-shell-param, of cron's name": Case(f'- ansible.builtin.cron: {{name: "{WORD}", job: id}}'),
    "A-command-param, of a validator": Case(
        f'- ansible.builtin.copy: {{content: x, dest: /x, validate: "{WORD} %s"}}'
    ),
    "A-command-param, of a reboot": Case(f'- ansible.builtin.reboot: {{reboot_command: "{WORD}"}}'),
    "A-command-param, chosen from what a param is in": Case(
        '- ansible.builtin.copy: {content: x, dest: /x, validate: "{{ checks[0] }}"}',
        head=f'vars: {{checks: {{a: "{WORD}"}}}}',
    ),
    "A-argv, of a shell": Case(command(f'[sh, -c, "{WORD}"]')),
    "A-argv, of a shell elsewhere": Case(command(f'[/bin/bash, -euxc, "{WORD}"]')),
    "A-argv, of a shell behind another option": Case(command(f'[sh, -c, -x, "{WORD}"]')),
    "A-argv, of python": Case(command(f'[python3.11, -c, "{WORD}"]')),
    "A-argv, of a script": Case(command(f'[sh, "{WORD}"]')),
    "A-argv, of perl": Case(command(f'[perl, -e, "1", "{WORD}"]')),
    "A-argv, of what runs others": Case(command(f'[env, sh, "{WORD}"]')),
    "A-argv, of another program's code": Case(command(f'[acme, --eval, "{WORD}"]')),
    "A-argv, within a word": Case(command(f'[acme, "--eval=1;{WORD}"]')),
    "A-argv, a program by template": Case(command(f'["{WORD}", x]')),
    "A-argv, all by template": Case(command('"{{ interlock.params.word }}"')),
    "A-argv, by a fact over a variable": Case(
        f'- ansible.builtin.set_fact: {{checks: {{a: [sh, -c, "{WORD}"]}}}}\n'
        + command('"{{ checks[interlock.params.word] }}"'),
        head="vars: {checks: {a: [id]}}",
    ),
    "A-argv, code by its input": Case(command("[sh]", f', stdin: "{WORD}"')),
}
FILES: Final = {
    "A-outside, tasks among files": Case(
        "- ansible.builtin.import_tasks: files/evil.yml", {"files/evil.yml": PING}
    ),
    "A-outside, tasks beside": Case("- ansible.builtin.import_tasks: ../shared/w.yml"),
    "A-outside, tasks by way of a folder": Case(
        "- ansible.builtin.import_tasks: tasks/../../w.yml", {"tasks/a.yml": PING}
    ),
    "A-outside, tasks of the machine": Case("- ansible.builtin.include_tasks: /etc/w.yml"),
    "A-outside, tasks of the tests": Case(
        "- ansible.builtin.import_tasks: tests/a.yml", {"tests/a.yml": PING}
    ),
    "A-outside, a source": Case("- ansible.builtin.copy: {src: /etc/shadow, dest: /x}"),
    "A-outside, a source upwards": Case("- ansible.builtin.copy: {src: ../x, dest: /x}"),
    "A-outside, a source at home": Case("- ansible.builtin.copy: {src: ~/x, dest: /x}"),
    "A-outside, a template": Case("- ansible.builtin.template: {src: /etc/x.j2, dest: /x}"),
    "A-outside, a template among files": Case(
        "- ansible.builtin.template: {src: files/x.j2, dest: /x}", {"files/x.j2": "x"}
    ),
    "A-outside, an archive": Case("- ansible.builtin.unarchive: {src: /x.tar, dest: /x}"),
    "A-template-path, by remote_src": Case(
        f'- ansible.builtin.copy: {{src: "{WORD}", dest: /x, remote_src: "{{{{ false }}}}"}}'
    ),
    "A-outside, vars_files": Case(head="vars_files: [/etc/x.yml]"),
    "A-outside, vars_files upwards": Case(head="vars_files: ['vars/../../x.yml']"),
    "A-outside, vars_files the first of some": Case(head="vars_files: [[vars/a.yml]]"),
    "A-outside, roles": Case(head="roles: [elsewhere]"),
    "A-outside, roles of a collection": Case(head="roles: [acme.tools.r]"),
    "A-outside, roles by a path": Case(head="roles: [../r]", files=ROLE),
    "A-outside, roles with more": Case(head="roles: [{role: r, check_mode: false}]", files=ROLE),
    "A-outside, a role in a task": Case("- ansible.builtin.include_role: {name: ../../r}"),
    "A-outside, a start of a role": Case(
        "- ansible.builtin.import_role: {name: r, tasks_from: ../files/x}", ROLE
    ),
    "A-role": Case(
        files={**ROLE, "roles/r/meta/main.yml": "dependencies: [elsewhere]\n"},
        there="roles/r/meta/main.yml",
    ),
    **{
        f"A-stray-file, {name}": Case(files={**ROLE, name: "x: 1\n"}, there=name)
        for name in (
            "roles/r/tasks/main",
            "roles/r/tasks/main.json",
            "roles/r/action_plugins/x.py",
            "roles/r/library/x.py",
            "roles/r/lookup_plugins/x.py",
            "tasks/x.json",
            "tasks/templates/x.j2",
            "vars/x",
            "library/action_plugins/x.py",
            "library/interlock_keep.py",
        )
    },
    "A-unreadable": Case("- just a text\n"),
    "A-unreadable, a block": Case("- block: '{{ said }}'\n"),
    "A-unreadable, vars": Case(files={"vars/a.yml": "[1]\n"}, there="vars/a.yml"),
}
REACH: Final = {
    "A-reserved-var, in vars_files": Case(
        head="vars_files: [a.yml]",
        files={"vars/a.yml": "ansible_connection: local\n"},
        there="vars/a.yml",
    ),
    "A-reserved-var, of a role": Case(
        files={**ROLE, "roles/r/defaults/main.yml": "ansible_host: x\n"},
        there="roles/r/defaults/main.yml",
    ),
    "A-reserved-var, of a role that is played": Case(
        head="roles: [{role: r, vars: {ansible_host: x}}]", files=ROLE
    ),
    "A-reserved-var, by a loop": Case(
        "- {ansible.builtin.ping: , loop: [a], loop_control: {loop_var: ansible_host}}"
    ),
    "A-reserved-var, as a list": Case("- {ansible.builtin.ping: , vars: [{ansible_host: x}]}"),
    "A-reserved-var, of the inventory": Case(
        "- {ansible.builtin.ping: , vars: {inventory_hostname: x}}"
    ),
    "A-module, add_host": Case("- ansible.builtin.add_host: {name: x, ansible_connection: local}"),
    "A-module, not listed": Case("- ansible.builtin.group_by: {key: x}"),
    "A-module, moved to a collection": Case("- ansible.builtin.synchronize: {src: x, dest: y}"),
    "A-delegate, that posts": Case(uri("method: POST")),
    "A-delegate, by a template": Case(uri('method: "{{ said }}"')),
    "A-delegate, that writes": Case(uri("dest: /x")),
    "A-delegate, that sends a file": Case(uri("src: /etc/shadow, remote_src: true")),
    "A-delegate, to a socket": Case(uri("unix_socket: /run/docker.sock")),
    "A-delegate, to a file": Case(
        "- {ansible.builtin.uri: {url: 'file:///etc/shadow'}, delegate_to: localhost}"
    ),
    "A-delegate, of facts": Case("- {ansible.builtin.ping: , delegate_facts: true}"),
    "A-become, by a template": Case('- {ansible.builtin.ping: , become: "{{ true }}"}'),
    "A-become, of a block": Case("- {become: yes, block: [{ansible.builtin.ping: }]}"),
    "A-become, of a param's choice": Case(
        f'- {{ansible.builtin.ping: , become: true, become_user: "{WORD}"}}'
    ),
    "A-become, root by name": Case("- {ansible.builtin.ping: , become: true, become_user: root}"),
    "A-keyword": Case("- {register: x, block: [{ansible.builtin.ping: }]}"),
    "A-keyword, of a debugger": Case("- {ansible.builtin.ping: , debugger: always}"),
    "A-play, a strategy": Case(head="strategy: debug"),
}
SAYS: Final = '- ansible.builtin.debug: {msg: "{{ a }}"}'
SECRETS: Final = {
    "A-no-log, by way of a play": Case(SAYS, head=f'vars: {{a: "{SECRET}"}}'),
    "A-no-log, by way of a play and a block": Case(
        '- vars: {a: "{{ b }}"}\n  block: [{ansible.builtin.debug: {msg: "{{ a }}"}}]',
        head=f'vars: {{b: "{SECRET}"}}',
    ),
    "A-no-log, by way of a fact": Case(
        f'- {{ansible.builtin.set_fact: {{a: "{SECRET}"}}, no_log: true}}\n{SAYS}'
    ),
    "A-no-log, by way of a register": Case(
        f'- {{ansible.builtin.debug: {{msg: "{SECRET}"}}, no_log: true, register: a}}\n{SAYS}'
    ),
    "A-no-log, by way of a host": Case(
        f'- {{ansible.builtin.set_fact: {{a: "{SECRET}"}}, no_log: true}}\n'
        '- ansible.builtin.debug: {msg: "{{ hostvars[inventory_hostname].a }}"}'
    ),
    "A-no-log, by way of vars_files": Case(
        SAYS, {"vars/a.yml": f'a: "{SECRET}"\n'}, head="vars_files: [a.yml]"
    ),
    "A-no-log, by way of a template": Case(
        "- ansible.builtin.template: {src: x.j2, dest: /x}", {"templates/x.j2": f"{SECRET}\n"}
    ),
    "A-no-log, by way of a lookup": Case(
        SAYS,
        {"templates/x.j2": f"{SECRET}\n"},
        head="vars: {a: \"{{ lookup('template', 'x.j2') }}\"}",
    ),
    "A-no-log, by way of module_defaults": Case(
        "- own: {a: 1}",
        {"library/own.py": ""},
        head=f'module_defaults: {{own: {{password: "{SECRET}"}}}}',
    ),
    **{
        f"A-no-log, as {said}": Case(f'- ansible.builtin.debug: {{msg: "{{{{ {said} }}}}"}}')
        for said in (
            "interlock['secrets'].password",
            "interlock[interlock.params.word]",
            "interlock",
            "vars",
            "vars.interlock",
            "hostvars",
            "hostvars[inventory_hostname]",
            "hostvars[inventory_hostname]['interlock']",
        )
    },
    "A-no-log, without braces": Case("- ansible.builtin.debug: {var: interlock.secrets.password}"),
    "A-no-log, said by a template": Case(
        f'- {{ansible.builtin.debug: {{msg: "{SECRET}"}}, no_log: "{{{{ true }}}}"}}'
    ),
}
VERIFIES: Final = {
    f"A-verify-writes, {number}": Case(
        verify=task, files={"library/own.py": "", "tasks/a.yml": PING}, there="verify.yml"
    )
    for number, task in enumerate(
        (
            "- {ansible.builtin.copy: {content: x, dest: /x}, changed_when: false}",
            "- {ansible.builtin.command: {argv: [rm, /x]}, changed_when: false}",
            "- {ansible.builtin.command: {argv: [chronyc, -n, -c, burst]}, changed_when: false}",
            "- {ansible.builtin.command: cat /x, changed_when: false}",
            f"{SHELL}  changed_when: false",
            "- {ansible.builtin.uri: {url: 'http://x/', dest: /x}}",
            "- {ansible.builtin.uri: {url: 'http://x/', method: POST}}",
            "- {ansible.builtin.service: {name: x, state: restarted}, changed_when: false}",
            "- {interlock_keep: {keep: '{{ interlock.keep }}', name: x, value: 1}}",
            "- {interlock_keep: {keep: '{{ interlock.keep }}', name: x, state: '{{ said }}'}}",
            "- {own: {a: 1}, changed_when: false}",
        )
    )
}
CASES: Final = (
    WRITES | TEMPLATES | COMMANDS | FILES | REACH | SECRETS | VERIFIES
)  # fmt: skip
