"""Ansible module: reads and sets the administrative state of members of a HAProxy backend.

1. It speaks with HAProxy over its admin socket; the configuration file is not touched, so a restart
   of HAProxy forgets what was set here.
2. The administrative state is what was ordered of a member; whether it is up is another matter. It
   stands in `show servers state` alone: `show stat` says DOWN of a drained member that is down.
3. Before anything is set, every member is looked for, and those that would be left are counted.
4. A state that is there already is not set again.
5. A member in maintenance is left alone, whatever is asked: somebody put it there, and any other
   state is nearer to traffic.
"""

from __future__ import annotations

import csv
import io
import socket
import time

from ansible.module_utils.basic import AnsibleModule

SOCKET = "/run/haproxy/admin.sock"
STATES = ("ready", "drain")
# Of the bits of `srv_admin_state` those that an order sets and takes away; the others are inherited
# from a tracked server, or come and go with the resolution of the member's name.
FORCED_MAINT = 0x01
FORCED_DRAIN = 0x08


class Silent(Exception):
    """HAProxy does not answer."""


def main() -> None:
    """Do what is asked."""
    module = AnsibleModule(
        argument_spec={
            "backend": {"type": "str", "required": True},
            "members": {"type": "list", "elements": "str"},
            "states": {"type": "dict"},
            "state": {"type": "str", "choices": list(STATES)},
            "maintained": {"type": "bool", "default": True},
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
    backend = asked["backend"]
    wanted = dict(asked["states"] or dict.fromkeys(asked["members"], asked["state"]))
    rows, now = _rows(backend), _states(backend)
    _refuse_members(module, wanted, now)
    to_set = {
        name: state
        for name, state in wanted.items()
        if state in STATES and now[name] not in (state, "maint")
    }
    _refuse_small_pool(module, rows, to_set)
    before = {name: now[name] for name in wanted}
    after = before | to_set
    if not module.check_mode:
        for name, state in sorted(to_set.items()):
            _ask(f"set server {backend}/{name} state {state}")
        _wait(backend, wanted, asked["idle_within_s"])
        rows, now = _well(module, wanted), _states(backend)
    module.exit_json(
        changed=bool(to_set),
        states={name: now[name] for name in wanted},
        serving=sum(_serves(row) for row in rows.values()),
        serve=sorted(name for name in wanted if _serves(rows[name])),
        sessions=sum(int(rows[name]["scur"] or 0) for name in wanted),
        diff={"before": _listed(before), "after": _listed(after)} if to_set else {},
    )


def _refuse_members(module: AnsibleModule, wanted: dict[str, str], now: dict[str, str]) -> None:
    backend = module.params["backend"]
    missing = sorted(set(wanted) - set(now))
    if missing:
        module.fail_json(msg=f"{backend} has no member {missing[0]}", reason="no_such_member")
    kept_out = sorted(name for name in wanted if now[name] == "maint")
    if kept_out and not module.params["maintained"]:
        module.fail_json(msg=f"{kept_out[0]} is in maintenance", reason="in_maintenance")


def _refuse_small_pool(
    module: AnsibleModule, rows: dict[str, dict[str, str]], to_set: dict[str, str]
) -> None:
    least = module.params["keep_at_least"]
    left = [name for name, row in rows.items() if _serves(row) and name not in to_set]
    if to_set and len(left) < least:
        module.fail_json(
            msg=f"{len(left)} members would be left, at least {least} are wanted",
            reason="pool_too_small",
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


def _states(backend: str) -> dict[str, str]:
    """Read what was ordered of each member."""
    # The first line is the version of the format; without a second there is no such backend.
    said = _ask(f"show servers state {backend}").partition("\n")[2].lstrip("# ")
    rows = csv.DictReader(io.StringIO(said), delimiter=" ")
    return {
        row["srv_name"]: _state(int(row["srv_admin_state"]))
        for row in rows
        if row["be_name"] == backend
    }


def _state(bits: int) -> str:
    if bits & FORCED_MAINT:
        return "maint"
    return "drain" if bits & FORCED_DRAIN else "ready"


def _serves(row: dict[str, str]) -> bool:
    return row["status"].startswith(("UP", "no check"))


def _rows(backend: str) -> dict[str, dict[str, str]]:
    said = _ask("show stat -1 4 -1").lstrip("# ")
    rows = csv.DictReader(io.StringIO(said))
    return {row["svname"]: row for row in rows if row["pxname"] == backend}


def _listed(states: dict[str, str]) -> str:
    return "".join(f"{name}: {state}\n" for name, state in sorted(states.items()))


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
