"""Values that somebody would like to be more than data; whoever runs one leaves a file CANARY."""

from __future__ import annotations

from typing import Final

__all__ = ["ALL"]

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
