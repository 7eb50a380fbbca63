"""A BMC for tests of the actors that speak Redfish, on loopback; what it is asked, it remembers.

The emulator itself belongs to the actor, whose cases on test hosts use it too.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import SecretStr

from actors.ansible.kind import Ansible
from actors.catalog import read_actor
from actors.spec import Brief
from ansible_rig import LOCAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.spec import Outcome, Target, Value, Verb

__all__ = ["PASSWORD", "Bmc", "Rig", "certificate"]

PLAYBOOKS: Final = Path(__file__).resolve().parent.parent / "playbooks"
EMULATOR: Final = PLAYBOOKS / "redfish.firmware_update" / "tests" / "bmc" / "redfish.py"
PASSWORD: Final = "canary-Ka7uI-word"
ORDER: Final = "UpdateService.SimpleUpdate"


def certificate(folder: Path) -> Path:
    """Make a certificate that is its own authority; the file holds the key too."""
    both = folder / "bmc.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=bmc", "-addext", "subjectAltName=IP:127.0.0.1",
         "-addext", "keyUsage=critical,digitalSignature,keyCertSign",
         "-keyout", str(folder / "key"), "-out", str(both)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    both.write_text(both.read_text() + (folder / "key").read_text())
    return both


class Bmc:
    """One emulator, which ends with whoever began it."""

    def __init__(self, pem: Path, *, task_s: float = 0.2, reset_s: float = 0.2) -> None:
        self._pem = pem
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(EMULATOR), str(pem), "--password", PASSWORD, "--until-eof",
             "--task-s", str(task_s), "--reset-s", str(reset_s)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.url = f"https://127.0.0.1:{int(self._process.stdout.readline())}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def seen(self, knobs: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Hear how its controllers are and what it was asked; turn its knobs first."""
        data = json.dumps(knobs).encode() if knobs is not None else None
        request = urllib.request.Request(f"{self.url}/emulator", data)  # noqa: S310 - it is https
        tls = ssl.create_default_context(cafile=self._pem)
        with urllib.request.urlopen(request, timeout=20, context=tls) as answer:  # noqa: S310 - as above
            said: dict[str, Any] = json.load(answer)
        return said

    def turn(self, **knobs: Any) -> None:
        """Turn knobs."""
        self.seen(knobs)

    def orders(self) -> list[dict[str, Any]]:
        """List the updates that were ordered, with the state of the controllers at that instant."""
        return [line for line in self.seen()["log"] if line["path"].endswith(ORDER)]

    def ordered(self) -> list[str]:
        """Name the units for which an update was ordered, in turn."""
        return [line["body"]["Targets"][0].rpartition("-")[2] for line in self.orders()]

    def versions(self) -> dict[str, str]:
        """Say what each controller runs."""
        units = self.seen()["units"]
        return {name: units[name][0] for name in "AB"}


@dataclass
class Rig:
    """One step of an actor on BMCs, asked as a driver does."""

    root: Path
    pem: Path
    warm: Path
    bmcs: list[Bmc]
    actor: str = "redfish.firmware_update"
    labels: dict[str, str] = field(default_factory=dict)
    password: str = PASSWORD
    attempts: Any = field(default_factory=lambda: count(1))

    @property
    def settings(self) -> dict[str, Any]:
        """Name what the kind is told."""
        return {"keep_dir": str(self.root / "keep"), "warm_path": str(self.warm)}

    def brief(self, verb: Verb, **params: Value) -> Brief:
        """Make what a driver would ask."""
        read = read_actor(PLAYBOOKS / self.actor)
        assert read.spec is not None, read.findings
        number = next(self.attempts)
        workdir = self.root / f"{verb}.{number}"
        workdir.mkdir(parents=True, mode=0o700)
        return Brief(
            key=f"CHG-1.1/step/{verb}/{number}",
            verb=verb,
            attempt=number,
            folder=str(PLAYBOOKS / self.actor),
            spec=read.spec,
            params={"component": "ctrl-fw"} | params,
            secrets={"password": SecretStr(self.password)},
            targets=tuple(self._target(number, bmc) for number, bmc in enumerate(self.bmcs)),
            timeout_s=120,
            workdir=str(workdir),
        )

    def _target(self, number: int, bmc: Bmc) -> Target:
        labels = {
            "redfish_url": bmc.url,
            "redfish_user": "operator",
            "redfish_ca": str(self.pem),
            "firmware_url": "https://images.example/fw",
        }
        return LOCAL[0].model_copy(
            update={"name": f"array-{number}", "labels": labels | self.labels}
        )

    def ask(self, verb: Verb, image: str = "good-9.4.3.bin", **params: Value) -> Outcome:
        """Do one act."""
        return Ansible().perform(self.update(verb, image, **params), self.settings)

    def update(self, verb: Verb, image: str = "good-9.4.3.bin", **params: Value) -> Brief:
        """Make what a driver would ask of an update."""
        told: dict[str, Value] = {
            "version": "9.4.3",
            "image": image,
            "update_within_s": 20,
            "back_within_s": 20,
        }
        return self.brief(verb, **told | params)
