"""Ansible module: reads and sets the administrative state of members of a HAProxy backend.

1. It speaks with HAProxy over its admin socket; the configuration file is not touched, so a restart
   of HAProxy forgets what was set here.
2. Before anything is set, every member is looked for, and those that would be left are counted.
3. A state that is there already is not set again.
"""

from __future__ import annotations

import csv
import io
import socket
import time

from ansible.module_utils.basic import AnsibleModule

SOCKET = "/run/haproxy/admin.sock"
WORDS = {"ready": "ready", "drain": "drain", "maint": "maint"}


class Silent(Exception):
    """HAProxy does not answer."""


def main() -> None:
    """Do what is asked."""
    module = AnsibleModule(
        argument_spec={
            "backend": {"type": "str", "required": True},
            "members": {"type": "list", "elements": "str"},
            "states": {"type": "dict"},
            "state": {"type": "str", "choices": sorted(WORDS)},
            "keep_at_least": {"type": "int", "default": 0},
            "idle_within_s": {"type": "int", "default": 0},
            "well_within_s": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    try:
        _done(module)
    except Silent as error:
        module.fail_json(msg=f"{SOCKET}: {error}", reason="balancer_silent")


def _done(module: AnsibleModule) -> None:
    asked = module.params
    rows = _rows(asked["backend"])
    wanted = dict(asked["states"] or dict.fromkeys(asked["members"], asked["state"]))
    missing = sorted(set(wanted) - set(rows))
    if missing:
        module.fail_json(
            msg=f"{asked['backend']} has no member {missing[0]}", reason="no_such_member"
        )
    now = {name: _state(rows[name]) for name in wanted}
    to_set = {name: state for name, state in wanted.items() if state and state != now[name]}
    left = [n for n, row in rows.items() if _serves(row) and n not in to_set]
    if asked["keep_at_least"] and to_set and len(left) < asked["keep_at_least"]:
        module.fail_json(
            msg=f"{len(left)} members would be left, at least {asked['keep_at_least']} are wanted",
            reason="pool_too_small",
        )
    if not module.check_mode:
        for name, state in sorted(to_set.items()):
            _ask(f"set server {asked['backend']}/{name} state {WORDS[state]}")
        _wait(asked["backend"], wanted, asked["idle_within_s"])
        rows = _well(module, wanted)
        now = {name: _state(rows[name]) for name in wanted}
    before = "".join(f"{name}: {_state(rows[name])}\n" for name in sorted(wanted))
    after = "".join(f"{name}: {state or now[name]}\n" for name, state in sorted(wanted.items()))
    module.exit_json(
        changed=bool(to_set),
        states=now,
        serving=sum(_serves(row) for row in rows.values()),
        sessions=sum(int(rows[name]["scur"] or 0) for name in wanted),
        diff={"before": before, "after": after} if to_set else {},
    )


def _wait(backend: str, members: dict[str, str], limit_s: int) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        rows = _rows(backend)
        if not any(int(rows[name]["scur"] or 0) for name in members):
            return
        time.sleep(0.2)


def _well(module: AnsibleModule, members: dict[str, str]) -> dict[str, dict[str, str]]:
    """Read the members, once they pass the balancer's checks if that is wanted."""
    limit_s = module.params["well_within_s"]
    deadline = time.monotonic() + limit_s
    while True:
        rows = _rows(module.params["backend"])
        ill = sorted(name for name in members if not _serves(rows[name]))
        if not ill or not limit_s:
            return rows
        if time.monotonic() > deadline:
            module.fail_json(
                msg=f"{ill[0]} does not pass the checks: {rows[ill[0]]['status']}",
                reason="not_well",
            )
        time.sleep(0.2)


def _state(row: dict[str, str]) -> str:
    if row["status"].startswith("MAINT"):
        return "maint"
    return "drain" if row["status"].startswith("DRAIN") else "ready"


def _serves(row: dict[str, str]) -> bool:
    return row["status"].startswith(("UP", "no check"))


def _rows(backend: str) -> dict[str, dict[str, str]]:
    said = _ask("show stat -1 4 -1").lstrip("# ")
    rows = csv.DictReader(io.StringIO(said))
    return {row["svname"]: row for row in rows if row["pxname"] == backend}


def _ask(command: str) -> str:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(SOCKET)
            connection.sendall(f"{command}\n".encode())
            said = b""
            while chunk := connection.recv(65536):
                said += chunk
    except OSError as error:
        raise Silent(error.strerror or str(error)) from None
    text = said.decode(errors="replace").strip()
    if command.startswith("set ") and text:
        raise Silent(text)
    return text


if __name__ == "__main__":
    main()
