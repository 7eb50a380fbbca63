"""A switchover of PostgreSQL, seen from outside: by who writes meanwhile, and cut off halfway."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Final

import pytest

from actors.spec import Done
from host_step import Step, some_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hosts import Host, Lab

ACTOR: Final = "postgresql.switchover"
LOG: Final = "/var/log/postgresql/postgresql-15-main.log"
# Inserts one number after another on its host for as long as it may, and prints what was accepted.
WRITER: Final = """
import subprocess, sys, time
psql = subprocess.Popen(["runuser", "-u", "postgres", "--", "psql", "-qXAt"], text=True,
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
for number in range(1_000_000):
    try:
        psql.stdin.write(f"INSERT INTO note VALUES ({number}) RETURNING id;\\n")
        psql.stdin.flush()
    except OSError:
        break
    said = psql.stdout.readline().strip()
    if said != str(number):
        break
    print(number, flush=True)
    time.sleep(0.002)
"""


class Pair(Step):
    """A replica on the first host, which streams from a primary on the second."""

    def __init__(self, lab: Lab, place: Path) -> None:
        super().__init__(lab, place, ACTOR, replica="h1", within_s=20)
        self.lab = lab
        self.bench.targets = tuple(host.target for host in lab)

    def role(self, number: int) -> str:
        code, said, _ = sql(self.lab[number], "SELECT pg_is_in_recovery()")
        return "stopped" if code else {"t": "replica", "f": "primary"}[said]


def sql(host: Host, text: str) -> tuple[int, str, str]:
    ran = host.run("runuser", "-u", "postgres", "--", "psql", "-qXAt", "-c", text)
    return ran.code, ran.out.strip(), ran.err


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with some_hosts(2) as lab:
        made = Pair(lab, tmp_path)
        made.done("apply", made.folder / "tests" / "pair")
        yield made


def logged(host: Host, says: str) -> list[str]:
    """Return when a host's server said this, each in a form that can be compared."""
    found = re.findall(rf"^(\S+ \S+) UTC .*{re.escape(says)}", host.read(LOG), re.MULTILINE)
    return [str(when) for when in found]


@pytest.mark.xdist_group("hosts")
def test_a_switchover_loses_nothing_that_was_accepted_and_never_has_two_primaries(
    pair: Pair,
) -> None:
    new, old = pair.lab[1], pair.lab[2]
    old.write("/root/writer.py", WRITER)
    accepted: list[str] = []

    def written() -> None:
        accepted.extend(pair.lab.ssh(2, "python3", "/root/writer.py").out.split())

    writer = threading.Thread(target=written)
    writer.start()
    outcome = pair.ask("apply", max_lag_bytes=100_000)
    writer.join(60)
    assert isinstance(outcome, Done), outcome
    assert outcome.outputs == {"primary": "h1", "timeline": 2}
    assert (pair.role(1), pair.role(2)) == ("primary", "replica")
    there = set(sql(new, "SELECT id FROM note")[1].split())
    assert len(accepted) > 20
    assert set(accepted) <= there
    (shut_down,), (promoted,) = (
        logged(old, "database system is shut down"),
        logged(new, "received promote request"),
    )
    assert shut_down < promoted
    assert promoted < logged(old, "entering standby mode")[-1]
    code, _, says = sql(old, "INSERT INTO note VALUES (0)")
    assert code
    assert "read-only" in says


@pytest.mark.xdist_group("hosts")
def test_a_switchover_that_was_cut_off_goes_on_and_whoever_starts_the_old_primary_starts_a_replica(
    pair: Pair,
) -> None:
    pair.cut_off("Stop the primary, which ships all that it has")
    assert (pair.role(1), pair.role(2)) == ("replica", "stopped")
    assert pair.state() == "partial"
    pair.done("apply")
    assert (pair.role(1), pair.role(2)) == ("primary", "replica")
    pair.done("undo")
    assert (pair.role(1), pair.role(2)) == ("replica", "primary")
    pair.cut_off("Let it never start as a primary again")
    pair.lab[2].must("pg_ctlcluster", "15", "main", "start")
    assert (pair.role(1), pair.role(2)) == ("replica", "replica")
    assert not isinstance(pair.ask("undo"), Done)
    assert (pair.role(1), pair.role(2)) == ("replica", "replica")


@pytest.mark.xdist_group("hosts")
def test_a_version_that_is_unpacked_and_not_configured_is_no_upgrade(tmp_path: Path) -> None:
    with some_hosts(2) as lab:
        actor, version = "postgresql.replica_minor_upgrade", "15.91-1"
        step = Step(lab, tmp_path, actor, version=version, max_lag_bytes=1000, within_s=20)
        targets = step.bench.targets
        step.bench.targets = tuple(host.target for host in lab)
        for folder in ("repository", "pair"):
            step.done("apply", step.folder / "tests" / folder)
        step.bench.targets = targets
        step.done("apply")
        assert step.state() == "applied"
        lab[1].must(
            *("sed", "-i", r"/^Package: postgresql-15$/,/^$/s/ok installed/ok half-configured/"),
            "/var/lib/dpkg/status",
        )
        assert step.state() == "partial"
