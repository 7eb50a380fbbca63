"""How targets are reached: what an inventory may say of a connection, in Ansible's words.

1. The list is closed, and every value has a form that cannot be a template or an option.
2. Host keys are always checked.
3. Each target has one connection, for one play, through a socket in that play's private folder. It
   is made while Ansible still reads the playbook (`dials`); Ansible's own sessions go through it.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, ValidationError

from actors.kinds import ActorsError
from actors.spec import Model, TargetName

if TYPE_CHECKING:
    from actors.kinds import Settings
    from actors.spec import Target

__all__ = ["CONTROLLER", "REACHED", "Options", "dials", "inventory", "login", "read_options"]

CONTROLLER: Final = "localhost"
KEEP: Final = "/var/lib/interlock"
PLUGINS: Final = {"ssh": "interlock_ssh", "local": "local"}
"""What Ansible calls a transport; of ssh there is one of ours, in `connections`."""
REACHED: Final = "reached."
"""What the mark of a host that was reached begins with."""
DIALLING: Final = ".dial"
"""What the file ends with that stands for a connection that is being made."""
PYTHON: Final = "/usr/bin/python3"
"""Named, not discovered: that costs a round trip to each host, and finds what it likes."""

Address = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:_%-]{0,252}$")]
User = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_.-]{0,63}$")]
File = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./@+,=~-]{0,400}$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class Connection(Model):
    """What an inventory may say under `connection`."""

    transport: Literal["ssh", "local"] = "ssh"
    address: Address | None = None
    port: Port | None = None
    user: User | None = None
    host_key_alias: TargetName | None = None
    identity_file: File | None = None
    become: bool = False
    python: File = PYTHON


class Options(Model):
    """What `interlock.yaml` may say under `kinds: ansible:`."""

    known_hosts_path: File | None = None
    identity_path: File | None = None
    config_path: File | None = None
    collections_path: File | None = None
    user: User | None = None
    keep_dir: File = KEEP
    forks: Annotated[int, Field(ge=1, le=100)] = 10
    connect_timeout_s: Annotated[int, Field(ge=1, le=120)] = 10
    pipelining: bool = True
    events_mb: Annotated[int, Field(ge=1, le=4096)] = 256
    warm: Literal["auto", "off"] = "auto"
    warm_path: File | None = None


def read_options(settings: Settings) -> Options:
    """Read the kind's section of `interlock.yaml`."""
    try:
        return Options.model_validate(dict(settings))
    except ValidationError as error:
        raise ActorsError(
            f"kinds: ansible: {_first(error)}", next_step="mend it in interlock.yaml"
        ) from None


def inventory(targets: tuple[Target, ...], options: Options, sockets: str) -> dict[str, Any]:
    """Write the one group there is; `sockets` is where ssh may keep its own."""
    hosts = {
        target.name: _host(target, options, sockets, f"{sockets}/{number}")
        for number, target in enumerate(targets)
    }
    if not targets:
        hosts = {CONTROLLER: {"ansible_connection": "local", "ansible_python_interpreter": PYTHON}}
    return {"targets": {"hosts": hosts}}


def login(host: dict[str, Any], *first: str) -> list[str]:
    """Say how ssh reaches a host of the inventory; of two options that differ, the first counts."""
    words = ["ssh", *first, *shlex.split(host["ansible_ssh_common_args"])]
    words += ["-o", f"ConnectTimeout={host['ansible_ssh_timeout']}"]
    for option, name in (("-p", "port"), ("-l", "user"), ("-i", "ssh_private_key_file")):
        if f"ansible_{name}" in host:
            words += [option, str(host[f"ansible_{name}"])]
    return [*words, "--", host["ansible_host"]]


def dials(hosts: dict[str, dict[str, Any]], options: Options, sockets: str) -> dict[str, list[str]]:
    """Say how to connect to those with which Ansible begins, and which file stands for doing so.

    The file is there while ssh connects, and is the mark of a host that was reached when it has.
    """
    near = [(name, host) for name, host in hosts.items() if "ansible_control_path" in host]
    found = {}
    for name, host in near[: options.forks]:
        at = host["ansible_control_path"]
        done = f"LocalCommand=/bin/mv {at}{DIALLING} {sockets}/{REACHED}{name}"
        said = ("ControlMaster=yes", "ControlPersist=no", f"ControlPath={at}", done)
        found[f"{at}{DIALLING}"] = login(host, "-N", *(f"-o{one}" for one in said))
    return found


def _host(target: Target, options: Options, sockets: str, at: str) -> dict[str, Any]:
    try:
        wanted = Connection.model_validate(dict(target.connection))
    except ValidationError as error:
        raise ActorsError(
            f"the connection of {target.name}: {_first(error)}", next_step="mend the inventory"
        ) from None
    said: dict[str, Any] = {
        "ansible_connection": PLUGINS[wanted.transport],
        "ansible_python_interpreter": wanted.python,
    }
    if wanted.become:
        # Said as false it would bind more than a playbook's become_user, which would then be root.
        said["ansible_become"] = True
    if wanted.transport == "local":
        # There is no terminal to hang up: what runs here is below the keeper.
        return said | {"ansible_pipelining": True}
    said |= {
        "ansible_host": wanted.address or target.name,
        "ansible_port": wanted.port,
        "ansible_user": wanted.user or options.user,
        "ansible_ssh_private_key_file": wanted.identity_file or options.identity_path,
        "ansible_ssh_common_args": _ssh_options(
            wanted, options, f"{sockets}/{REACHED}{target.name}"
        ),
        "ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=60",
        "ansible_control_path_dir": sockets,
        "ansible_control_path": at,
        "ansible_ssh_timeout": options.connect_timeout_s,
        "ansible_ssh_pipelining": options.pipelining,
    }
    return {name: value for name, value in said.items() if value is not None}


def _ssh_options(wanted: Connection, options: Options, reached: str) -> str:
    said = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "ServerAliveInterval": "3",
        "ServerAliveCountMax": "2",
        "ForwardAgent": "no",
        "HostKeyAlias": wanted.host_key_alias,
        "UserKnownHostsFile": options.known_hosts_path,
        # Done here when a session was made: only so is it known that a host was never reached.
        # What Ansible says of a lost host may come from its clearing up, long after.
        "PermitLocalCommand": "yes",
        "LocalCommand": f"/usr/bin/touch {reached}",
    }
    words = [f"-F {options.config_path}"] if options.config_path else []
    words += [f"-o '{name}={value}'" for name, value in said.items() if value is not None]
    return " ".join(words)


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {re.sub(r'^Value error, ', '', first['msg'])}"
