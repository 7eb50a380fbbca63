"""Every actor of the kind ansible keeps its promises on real hosts; `--rewrite` records that."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actors.catalog import record_evidence
from actors.contract import prove
from hosts import Lab, NotHere
from hosts_base import base_tree
from hosts_ground import entrance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actors.kinds import Settings
    from actors.spec import Target

PLAYBOOKS = Path(__file__).parent.parent.parent / "playbooks"
WHAT = "sshd in network namespaces, Debian 12"


def _of_the_kind() -> list[str]:
    folders = sorted(path for path in PLAYBOOKS.iterdir() if path.is_dir())
    return [f.name for f in folders if "\nkind: ansible\n" in (f / "actor.yaml").read_text()]


ACTORS = _of_the_kind()
# Whose cases make devices on their hosts: the root of a user namespace may not.
WITH_DEVICES = frozenset({"linux.lvm_extend"})


def _lacking(name: str, folder: Path) -> str | None:
    """Say what an actor's cases need and cannot be had here."""
    try:
        entrance()
        base_tree()
        if name not in WITH_DEVICES:
            return None
        with Lab(1, folder) as lab:
            code, _, err = lab[1].run("mknod", "/dev/tried", "b", "7", "0")
    except NotHere as error:
        return f"no test hosts here: {error}"
    why = "its cases make loop devices on hosts, which only the root of this machine may"
    return f"{why} ({err.strip()})" if code else None


@dataclass
class LabHosts:
    lab: Lab
    warm: Path

    @property
    def targets(self) -> tuple[Target, ...]:
        return tuple(host.target for host in self.lab)

    @property
    def settings(self) -> Settings:
        return {"known_hosts_path": str(self.lab.known_hosts), "warm_path": str(self.warm)}

    def look(self) -> Mapping[str, str]:
        seen: dict[str, str] = {}
        for host in self.lab:
            seen |= {f"{host.name}:/{path}": str(about) for path, about in host.files().items()}
            seen |= {f"{host.name} runs {line}": "yes" for line in host.processes()}
        return seen


@dataclass
class LabSandbox:
    directory: Path
    warm: Path
    what: str = WHAT
    made: int = 0

    @contextlib.contextmanager
    def hosts(self, count: int) -> Iterator[LabHosts]:
        self.made += 1
        with Lab(count, self.directory / str(self.made)) as lab:
            yield LabHosts(lab, self.warm)


@pytest.fixture(scope="session")
def warm() -> Iterator[Path]:
    """Where the warm server of this worker is: a short path, for it is one of a socket."""
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.xdist_group(f"actor-{at}"))
    for at, name in enumerate(ACTORS)
])  # fmt: skip
def test_an_actor_keeps_every_promise_on_real_hosts(
    name: str,
    tmp_path: Path,
    warm: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if lacking := _lacking(name, tmp_path / "can"):
        pytest.skip(lacking)
    if not request.config.getoption("--rewrite"):
        monkeypatch.setenv("INTERLOCK_CUTS", os.environ.get("INTERLOCK_CUTS", "1"))
    proof = prove(
        PLAYBOOKS / name,
        settings={},
        workdir=tmp_path / "work",
        tool="interlock 0.1.0",
        sandbox=LabSandbox(tmp_path / "labs", warm),
        today=dt.datetime.now(tz=dt.UTC).date().isoformat(),
    )
    assert not proof.broken, "\n".join(proof.broken)
    assert proof.evidence is not None
    if request.config.getoption("--rewrite"):
        record_evidence(PLAYBOOKS / name, proof.evidence)
