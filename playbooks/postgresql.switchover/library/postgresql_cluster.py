"""Ansible module: looks at one PostgreSQL cluster of a Debian host; may wait until it streams.

1. It only reads. It runs as the cluster's owner and asks over the local socket.
2. How far a replica is behind is asked of the server that it streams from, by the replica's own
   connection settings: what the replica was last told may be old.
3. A replica that has replayed all there is lags 0 s, however long ago the last commit was.
4. Passwords in those settings reach libpq by the environment, and nobody else.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

BINARIES = "/usr/lib/postgresql/{}/bin"
LOOK = """SELECT json_build_object(
  'recovery', pg_is_in_recovery(),
  'version', current_setting('server_version'),
  'slot', current_setting('primary_slot_name'),
  'conninfo', current_setting('primary_conninfo'),
  'replayed', pg_last_wal_replay_lsn(),
  'behind_s', ceil(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())),
  'receiver', (SELECT json_build_object('status', status, 'timeline', received_tli)
    FROM pg_stat_wal_receiver),
  'senders', (SELECT coalesce(json_agg(json_build_object('address', host(client_addr),
    'state', state, 'user', usename)), '[]') FROM pg_stat_replication))"""


class Unfit(Exception):
    """Why the cluster is not as it was waited for; with the reason's name."""

    def __init__(self, reason: str, says: str) -> None:
        super().__init__(says)
        self.reason = reason


def main() -> None:
    """Look, and wait if that is wanted."""
    module = AnsibleModule(
        argument_spec={
            "cluster": {"type": "str", "required": True},
            "streaming_within_s": {"type": "int"},
            "max_lag_bytes": {"type": "int"},
            "max_lag_s": {"type": "int"},
        },
        supports_check_mode=True,
    )
    limit_s = module.params["streaming_within_s"]
    deadline = time.monotonic() + (limit_s or 0)
    while True:
        try:
            found = _looked(module)
            if limit_s is not None:
                found |= _within(module, found)
            break
        except Unfit as unfit:
            late = time.monotonic() >= deadline
            if late or unfit.reason in ("no_such_cluster", "is_primary"):
                module.fail_json(msg=str(unfit), reason=unfit.reason)
        time.sleep(0.3)
    # What may hold a password stays on the host.
    found["way"] = bool(found.pop("conninfo", ""))
    module.exit_json(changed=False, **found)


def _looked(module: AnsibleModule) -> dict[str, Any]:
    cluster = module.params["cluster"]
    version, name = cluster.split("/")
    _, said, _ = module.run_command(["pg_lsclusters", "-h"])
    rows = {(row[0], row[1]): row for line in said.splitlines() if len(row := line.split()) > 5}
    if (version, name) not in rows:
        raise Unfit("no_such_cluster", f"there is no cluster {cluster}")
    port, data = rows[version, name][2], Path(rows[version, name][5])
    code, said, wrong = module.run_command(
        [f"{BINARIES.format(version)}/pg_controldata", str(data)], environ_update={"LC_ALL": "C"}
    )
    if code:
        raise Unfit("no_such_cluster", f"{cluster}: {wrong.strip()}")
    told = dict(re.findall(r"^(.+?):\s+(.*)$", said, re.MULTILINE))
    found = {
        "role": "stopped",
        "port": int(port),
        "neighbours": [f"{a}/{b}" for a, b in rows if a == version and b != name],
        "fenced": (data / "standby.signal").exists(),
        "state": told["Database cluster state"],
        "system": told["Database system identifier"],
        "checkpoint": told["Latest checkpoint location"],
        "addresses": module.run_command(["hostname", "-I"])[1].split(),
        "version": "",
        "slot": "",
        "receiver": None,
        "senders": [],
    }
    code, said, _ = _psql(module, f"port={port} dbname=postgres", LOOK)
    if code == 0:
        found |= json.loads(said)
        found["role"] = "replica" if found["recovery"] else "primary"
    elif (data / "postmaster.pid").exists():
        found["role"] = "unknown"
    found["receiver"] = found["receiver"] or {"status": "none", "timeline": 0}
    return found


def _within(module: AnsibleModule, found: dict[str, Any]) -> dict[str, int]:
    """Measure a replica's lag; it is unfit unless it streams, within the bounds that are given."""
    cluster, most, longest_s = (
        module.params[key] for key in ("cluster", "max_lag_bytes", "max_lag_s")
    )
    if found["role"] == "primary":
        raise Unfit("is_primary", f"{cluster} is a primary")
    if found["role"] != "replica":
        raise Unfit("not_streaming", f"{cluster} does not answer: {found['state']}")
    if found["receiver"]["status"] != "streaming":
        raise Unfit("not_streaming", f"{cluster} does not stream from a primary")
    if most is None:
        return {}
    behind = max(0, _upstream(module, found["conninfo"]) - _number(found["replayed"] or "0/0"))
    since_s = found["behind_s"] if behind else 0
    if behind > most:
        raise Unfit("lag_too_large", f"{cluster} is {behind} bytes behind")
    if longest_s is not None and (since_s is None or since_s > longest_s):
        how = "nobody knows how many" if since_s is None else since_s
        raise Unfit("lag_too_large", f"{cluster} is {behind} bytes and {how} seconds behind")
    return {"lag_bytes": behind, "lag_s": max(0, int(since_s or 0))}


def _upstream(module: AnsibleModule, conninfo: str) -> int:
    """Ask the server that the replica streams from how far it is."""
    way = _parsed(conninfo)
    if not {"host", "hostaddr", "service"} & set(way):
        raise Unfit("upstream_silent", "primary_conninfo names no host in the form host=...")
    password = way.pop("password", None)
    way |= {"dbname": "postgres", "replication": "true", "connect_timeout": "5"}
    text = " ".join(f"{key}={_quoted(value)}" for key, value in way.items())
    environ = {"PGPASSWORD": password} if password else {}
    code, said, wrong = _psql(module, text, "IDENTIFY_SYSTEM", environ)
    if code:
        raise Unfit("upstream_silent", f"the upstream does not say how far it is: {wrong.strip()}")
    return _number(said.split("|")[2])


def _psql(
    module: AnsibleModule, way: str, sql: str, environ: dict[str, str] | None = None
) -> tuple[int, str, str]:
    version = module.params["cluster"].split("/")[0]
    argv = [f"{BINARIES.format(version)}/psql", "-XAtqw", "-d", way, "-c", sql]
    code, said, wrong = module.run_command(
        argv, environ_update=environ or {}, expand_user_and_vars=False
    )
    return code, said, wrong


def _number(lsn: str) -> int:
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def _parsed(conninfo: str) -> dict[str, str]:
    """Read a libpq connection string of the form key=value."""
    pairs = re.findall(r"(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))", conninfo)
    return {key: re.sub(r"\\(.)", r"\1", quoted or bare) for key, quoted, bare in pairs}


def _quoted(value: str) -> str:
    text = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"


if __name__ == "__main__":
    main()
