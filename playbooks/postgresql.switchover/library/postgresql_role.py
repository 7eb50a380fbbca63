"""Ansible module: gives one PostgreSQL cluster of a Debian host another role, a step at a time.

1. `way_back`: the primary could follow the replica. Its own `primary_conninfo` is tried, or, where
   it has none, one without a password is tried and then set; on a primary it is without effect.
2. `stopped`, `started`: as root, by Debian's own pg_ctlcluster, which knows of systemd.
3. `fenced`: a stopped primary that was shut down cleanly gets its `standby.signal`. Whoever starts
   it from then on, it is no primary. The place of its last checkpoint is returned.
4. `promoted`: only once the replica has replayed that checkpoint, which is the last that its
   primary wrote. To replay it is to have everything.
5. `unfenced`: takes the signal from a stopped cluster, so that it starts as the primary it was.
6. `way_forgotten`: what 1. has set is reset.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

BINARIES = "/usr/lib/postgresql/{}/bin"
STATES = ("way_back", "stopped", "started", "fenced", "unfenced", "promoted", "way_forgotten")


class Unfit(Exception):
    """Why the cluster does not take the role; with the reason's name."""

    def __init__(self, reason: str, says: str) -> None:
        super().__init__(says)
        self.reason = reason


def main() -> None:
    """Do what is asked."""
    module = AnsibleModule(
        argument_spec={
            "cluster": {"type": "str", "required": True},
            "state": {"type": "str", "choices": list(STATES), "required": True},
            "host": {"type": "str", "default": ""},
            "port": {"type": "int", "default": 5432},
            "user": {"type": "str", "default": ""},
            "replayed": {"type": "str", "default": ""},
            "within_s": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    try:
        changed, checkpoint = Cluster(module).asked()
    except Unfit as unfit:
        module.fail_json(msg=str(unfit), reason=unfit.reason)
    module.exit_json(changed=changed, checkpoint=checkpoint)


class Cluster:
    """One cluster of this host."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.params = module.params
        self.check: bool = module.check_mode
        self.version, self.name = self.params["cluster"].split("/")
        row = self._run(["pg_lsclusters", "-h", self.version, self.name])[1].split()
        if len(row) < 6:
            raise Unfit("no_such_cluster", f"there is no cluster {self.params['cluster']}")
        self.port, self.data = row[2], Path(row[5])
        self.signal = self.data / "standby.signal"

    def asked(self) -> tuple[bool, str]:
        """Do what is asked; say whether that changed something, and the last checkpoint."""
        state = self.params["state"]
        changed = getattr(self, f"_{state}")()
        return changed, self._told("Latest checkpoint location") if state == "fenced" else ""

    # --- the way back -----------------------------------------------------------------------------

    def _way_back(self) -> bool:
        own = self._must("SELECT current_setting('primary_conninfo')")
        host, port, user = (str(self.params[key]) for key in ("host", "port", "user"))
        way = _parsed(own) if own else {"host": host, "port": port, "user": user}
        if not {"host", "hostaddr", "service"} & set(way):
            raise Unfit("no_way_back", "primary_conninfo names no host in the form host=...")
        password = way.pop("password", None)
        trial = way | {"dbname": "postgres", "replication": "true", "connect_timeout": "5"}
        code, said, wrong = self._psql(
            _written(trial), "IDENTIFY_SYSTEM", "SHOW in_hot_standby", password=password
        )
        told = said.split()
        if code or len(told) < 2:
            raise Unfit("no_way_back", f"the replica does not let the primary in: {wrong.strip()}")
        if told[0].split("|")[0] != self._told("Database system identifier") or told[1] != "on":
            raise Unfit("no_way_back", "primary_conninfo leads to no replica of this primary")
        if own or self.check:
            return not own
        self._set(_written(way))
        return True

    def _way_forgotten(self) -> bool:
        if not self._must("SELECT current_setting('primary_conninfo')"):
            return False
        if not self.check:
            self._set("")
        return True

    def _set(self, conninfo: str) -> None:
        text = conninfo.replace("'", "''")
        self._must(f"ALTER SYSTEM SET primary_conninfo = '{text}'" if text
                   else "ALTER SYSTEM RESET primary_conninfo")  # fmt: skip
        self._must("SELECT pg_reload_conf()")

    # --- stopped and started ----------------------------------------------------------------------

    def _stopped(self) -> bool:
        if not self._runs():
            return False
        if not self.check:
            code, said, wrong = self._ctl("stop")
            if code or self._runs():
                raise Unfit("did_not_stop", f"pg_ctlcluster stop: {(wrong or said).strip()}")
        return True

    def _started(self) -> bool:
        if self.check:
            return True
        if self._runs():
            return False
        code, said, wrong = self._ctl("start")
        if code or not self._runs():
            raise Unfit("did_not_start", f"pg_ctlcluster start: {(wrong or said).strip()}")
        return True

    def _ctl(self, action: str) -> tuple[int, str, str]:
        return self._run(["pg_ctlcluster", self.version, self.name, action])

    def _runs(self) -> bool:
        return (self.data / "postmaster.pid").exists()

    # --- who may be primary -----------------------------------------------------------------------

    def _fenced(self) -> bool:
        if self.check:
            return not self.signal.exists()
        state = self._told("Database cluster state")
        if self._runs() or state != "shut down":
            raise Unfit("did_not_stop", f"the former primary was not shut down cleanly: {state}")
        if self.signal.exists():
            return False
        os.close(os.open(self.signal, os.O_CREAT | os.O_WRONLY, 0o600))
        _synced(self.signal)
        _synced(self.data)
        return True

    def _unfenced(self) -> bool:
        if not self.signal.exists():
            return False
        if self._runs() or self._told("Database cluster state") != "shut down":
            raise Unfit("did_not_stop", "the cluster has run since it was stopped as a primary")
        if not self.check:
            self.signal.unlink()
            _synced(self.data)
        return True

    def _promoted(self) -> bool:
        if self._must("SELECT pg_is_in_recovery()") == "f":
            return False
        if self.check:
            return True
        deadline = time.monotonic() + self.params["within_s"]
        wanted = _number(self.params["replayed"])
        # A record is replayed once its end is reached: beyond the place where it begins.
        while (place := self._must("SELECT pg_last_wal_replay_lsn()")) == "" or (
            _number(place) <= wanted
        ):
            if time.monotonic() > deadline:
                says = f"the replica has replayed {place or 'nothing'}, the primary wrote more"
                raise Unfit("not_promoted", f"{says} than {self.params['replayed']}")
            time.sleep(0.1)
        if self._must(f"SELECT pg_promote(true, {self.params['within_s']})") != "t":
            raise Unfit("not_promoted", "the replica did not take over in time")
        return True

    # --- how it is asked --------------------------------------------------------------------------

    def _told(self, key: str) -> str:
        program = f"{BINARIES.format(self.version)}/pg_controldata"
        code, said, wrong = self._run([program, str(self.data)], {"LC_ALL": "C"})
        told = dict(re.findall(r"^(.+?):\s+(.*)$", said, re.MULTILINE))
        if code or key not in told:
            raise Unfit("no_such_cluster", f"pg_controldata {self.data}: {wrong.strip()}")
        return told[key]

    def _must(self, sql: str) -> str:
        code, said, wrong = self._psql(f"port={self.port} dbname=postgres", sql)
        if code:
            raise Unfit("silent", f"{self.params['cluster']} does not answer: {wrong.strip()}")
        return said.strip()

    def _psql(self, way: str, *sql: str, password: str | None = None) -> tuple[int, str, str]:
        asked = [word for one in sql for word in ("-c", one)]
        program = f"{BINARIES.format(self.version)}/psql"
        environ = {"PGPASSWORD": password} if password else {}
        return self._run([program, "-XAtqw", "-d", way, *asked], environ)

    def _run(self, argv: list[str], environ: dict[str, str] | None = None) -> tuple[int, str, str]:
        code, said, wrong = self.module.run_command(
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


def _written(way: dict[str, str]) -> str:
    quoted = {key: value.replace("\\", "\\\\").replace("'", "\\'") for key, value in way.items()}
    return " ".join(f"{key}='{value}'" for key, value in quoted.items())


def _synced(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


if __name__ == "__main__":
    main()
