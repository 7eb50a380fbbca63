"""A real Open Policy Agent for tests: the one on PATH, or one that Go builds once, elsewhere.

Where neither is to be had, whoever asks is skipped, with the reason.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.policy_bundle import Bundle

__all__ = ["Authority", "authority", "opa_program", "serving"]

VERSION: Final = "1.9.0"
MODULE: Final = f"github.com/open-policy-agent/opa@v{VERSION}"
BUILD_S: Final = 1_200
START_S: Final = 30
TOKEN: Final = "correct-horse-battery-staple"
AUTHZ: Final = """package system.authz

import rego.v1

default allow := false

allow if input.identity == "TOKEN"
"""


@cache
def opa_program() -> str:
    """Return a real `opa`, or skip."""
    found = shutil.which("opa")
    if found is not None:
        return found
    home = os.environ.get("CI_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "interlock-ci" / f"opa-{VERSION}"
    program = folder / "bin" / "opa"
    if not program.exists():
        go = shutil.which("go")
        if go is None:
            pytest.skip("no real OPA: neither opa nor go is on PATH")
        _build(go, folder)
    return str(program)


def _build(go: str, folder: Path) -> None:
    """Build it once; whoever comes meanwhile waits."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "bin" / "opa").exists():
            return
        scratch = folder / "building"
        done = subprocess.run(
            ["nice", go, "install", "-trimpath", "-ldflags=-s -w", MODULE],
            env={**os.environ, "GOBIN": str(scratch), "GOFLAGS": "-mod=mod"},
            capture_output=True,
            text=True,
            timeout=BUILD_S,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"no real OPA: go cannot build it here: {done.stderr.strip()[-300:]}")
        scratch.rename(folder / "bin")


class Authority(NamedTuple):
    """A certificate authority of our own, and a server's certificate from it."""

    ca: str
    cert: str
    key: str


def authority(folder: Path) -> Authority:
    """Make an authority and a certificate for 127.0.0.1, or skip."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no TLS: openssl is not on PATH")
    folder.mkdir()
    alt = folder / "alt"
    alt.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n", encoding="utf-8")
    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    ca = ("-x509", "-days", "2", "-subj", "/CN=Interlock test CA", "-keyout", "ca.key")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
    for command in (
        ("req", *ec, *ca, "-out", "ca.pem"),
        ("req", *ec, "-subj", "/CN=opa", "-keyout", "opa.key", "-out", "opa.csr"),
        ("x509", "-req", "-in", "opa.csr", *signing, "-extfile", "alt", "-out", "opa.pem"),
    ):
        subprocess.run([openssl, *command], cwd=folder, check=True, capture_output=True)
    return Authority(*(str(folder / name) for name in ("ca.pem", "opa.pem", "opa.key")))


class Served(NamedTuple):
    """A server that runs."""

    url: str
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def serving(
    folder: Path,
    bundle: Bundle,
    *,
    revision: str | None = None,
    tls: Authority | None = None,
    token: str | None = None,
) -> Iterator[Served]:
    """Serve a bundle on this machine, with TLS and a token where they are given."""
    for path, text in bundle.modules.items():
        _write(folder / "rules" / path, text)
    _write(folder / "rules/data.json", json.dumps(bundle.data))
    manifest: dict[str, Any] = {"roots": ["interlock", "params"]}
    _write(
        folder / "rules/.manifest", json.dumps({**manifest, "revision": revision or bundle.digest})
    )
    _write(folder / "authz/system/authz.rego", AUTHZ.replace("TOKEN", token or ""))
    _write(folder / "authz/.manifest", json.dumps({"roots": ["system"], "revision": "authz"}))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    arguments = ["run", "--server", "--addr", f"127.0.0.1:{port}", "--disable-telemetry"]
    arguments += ["--log-level", "error", "--bundle", str(folder / "rules")]
    if token is not None:
        arguments += [str(folder / "authz"), "--authentication=token", "--authorization=basic"]
    if tls is not None:
        arguments += ["--tls-cert-file", tls.cert, "--tls-private-key-file", tls.key]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [opa_program(), *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        _await(port, process, folder / "log")
        yield Served(f"{'https' if tls else 'http'}://127.0.0.1:{port}", process)
    finally:
        process.kill()
        process.wait()


def _await(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until_s = time.monotonic() + START_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, log.read_text(encoding="utf-8")
        assert time.monotonic() < until_s, "the server did not begin"
        time.sleep(0.02)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
