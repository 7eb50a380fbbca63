"""A local `opa` binary as a child: a server of its own, that only we can reach.

1. It serves a private copy of exactly the rules that were read, on a socket in a private folder,
   and dies with us.
2. Before it serves anything, it checks the rules: strictly, against the shape of the input, and
   without any builtin that reaches outside.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.errors import InvalidInput, Unavailable
from orchestrator.policy_opa import OpaServer, Place
from orchestrator.pure.rego import OUTSIDE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.policy_bundle import Bundle

__all__ = ["OpaBinary", "binary_version", "find_binary"]

START_S: Final = 30.0
CHECK_S: Final = 60.0
POLL_S: Final = 0.01
MAX_SAID: Final = 20


@dataclass(slots=True)
class OpaBinary:
    """A child that judges, started when it is first asked."""

    program: str
    bundle: Bundle
    schema: Mapping[str, Any]
    timeout_s: float
    _folder: Path | None = field(default=None, init=False)
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _server: OpaServer | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        """Say which engine decides."""
        return self._server.name if self._server else binary_version(self.program)

    def answer(self, document: Mapping[str, Any]) -> Any:
        """Return what the entry point says of an input."""
        if self._child is not None and self._child.poll() is not None:
            code = self._child.returncode
            self.close()
            raise Unavailable(
                f"{self.program}: it ended with {code} while it was needed; nothing was decided",
                next_step="try again",
            )
        if self._server is None:
            self._server = self._started()
        return self._server.answer(document)

    def close(self) -> None:
        """End the child, and remove its folder."""
        child, folder = self._child, self._folder
        self._child = self._folder = self._server = None
        if child is not None:
            child.kill()
            child.wait()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def _started(self) -> OpaServer:
        self._folder = Path(tempfile.mkdtemp(prefix="interlock-opa-"))
        try:
            self._lay_down(self._folder)
            self._check(self._folder)
            return self._serving(self._folder)
        except BaseException:
            self.close()
            raise

    def _lay_down(self, folder: Path) -> None:
        for path, text in self.bundle.modules.items():
            target = folder / "bundle" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        for path, value in (
            ("bundle/data.json", self.bundle.data),
            (
                "bundle/.manifest",
                {"revision": self.bundle.digest, "roots": ["interlock", "params"]},
            ),
            ("schema/input.json", self.schema),
        ):
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(json.dumps(value), encoding="utf-8")

    def _check(self, folder: Path) -> None:
        try:
            told = json.loads(self._run("capabilities", "--current"))
            told["builtins"] = [b for b in told["builtins"] if b["name"] not in OUTSIDE]
        except (ValueError, TypeError, KeyError):
            raise Unavailable(
                f"{self.program}: does not speak as Open Policy Agent does",
                next_step="name the right program in policy: program, or put it first on PATH",
            ) from None
        (folder / "capabilities.json").write_text(json.dumps(told), encoding="utf-8")
        arguments = ("--capabilities", "capabilities.json", "--schema", "schema", "--bundle")
        self._run("check", "--strict", *arguments, "bundle", folder=folder)

    def _run(self, *arguments: str, folder: Path | None = None) -> bytes:
        try:
            done = subprocess.run(  # noqa: S603 - the program was found on PATH
                [self.program, *arguments],
                cwd=folder,
                env={},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=CHECK_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(
                f"{self.program}: cannot be used: {error}", next_step="check the program"
            ) from None
        if done.returncode:
            said = (done.stderr + done.stdout).decode(errors="replace").strip().splitlines()
            raise InvalidInput(
                f"{self.program} refuses the rules: {' '.join(said[:2])[:300]}",
                next_step="mend the rules; paths are below policies/",
                details=tuple(said[:MAX_SAID]),
            )
        return done.stdout

    def _serving(self, folder: Path) -> OpaServer:
        address = folder / "opa.sock"
        arguments = (
            *("run", "--server", "--addr", f"unix://{address}", "--unix-socket-perm", "700"),
            *("--disable-telemetry", "--log-level", "error", "--bundle", str(folder / "bundle")),
        )
        with (folder / "log").open("wb") as log:
            self._child = subprocess.Popen(  # noqa: S603 - our own module, which becomes opa
                [
                    *(sys.executable, "-P", "-m", "orchestrator.policy_child", str(os.getpid())),
                    *("exec", self.program, *arguments),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ.get("PATH", ""), "HOME": str(folder)},
                cwd=folder,
                umask=0o077,
            )
        until_s = time.monotonic() + START_S
        while not _listens(address):
            ended = self._child.poll() is not None
            if ended or time.monotonic() > until_s:
                said = (folder / "log").read_text(encoding="utf-8", errors="replace")[-500:]
                raise Unavailable(
                    f"{self.program}: did not begin to serve: {said.strip() or 'no reason given'}",
                    next_step="check the program: opa version",
                )
            time.sleep(POLL_S)
        place = Place(url=f"unix:{address}")
        return OpaServer(place, revision=self.bundle.digest, timeout_s=self.timeout_s)


def _listens(address: Path) -> bool:
    # The file is there when the socket has its name, which is before anybody listens.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as trial:
        trial.connect(str(address))
        return True
    return False


def find_binary(named: str | None = None) -> str:
    """Return the `opa` that was named, or the one on PATH."""
    found = shutil.which(named or "opa")
    if found is None:
        raise Unavailable(
            f"policy: engine: opa, but no program {named or 'opa'} is on PATH",
            next_step="install Open Policy Agent, or set policy: engine: embedded",
        )
    return found


def binary_version(program: str) -> str:
    """Return `opa` and its version."""
    told = ""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        told = subprocess.run(  # noqa: S603 - the program was found on PATH
            [program, "version"], env={}, capture_output=True, timeout=10, text=True, check=False
        ).stdout
    return f"opa {told.partition('Version: ')[2].partition(chr(10))[0] or 'unknown'}"
