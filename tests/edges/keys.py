"""Keys, certificates, revocation lists and an agent of a test, made by the real OpenSSH."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING, Any, Final

from orchestrator.approvals_ssh import sign
from orchestrator.pure.canonical import digest
from orchestrator.pure.consent import NAMESPACE, statement
from orchestrator.pure.model import Approval, Seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NOW: Final = 1_795_000_000_000
HOUR: Final = 3_600_000
PLAN: Final = "a" * 64
ENVIRON: Final[Mapping[str, str]] = {"LC_ALL": "C", "HOME": "/nonexistent"}


def ssh(*words: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["ssh-keygen", *words], check=True, capture_output=True, **more)


def key(folder: Path, name: str, kind: str = "ed25519") -> Path:
    """Make a key pair, and return its private half."""
    path = folder / name
    ssh("-q", "-t", kind, "-N", "", "-C", name, "-f", str(path))
    return path


def public(path: Path) -> str:
    return " ".join(path.with_name(f"{path.name}.pub").read_text().split(" ")[:2]).strip()


def line(who: str, path: Path, options: str = f'namespaces="{NAMESPACE}"') -> str:
    return f"{who} {options} {public(path)}\n"


def certificate(authority: Path, path: Path, who: str, *, serial: int = 7) -> Path:
    """Certify a key; return the certificate, beside which the private half lies."""
    words = ("-q", "-s", str(authority), "-I", who, "-n", who, "-z", str(serial))
    ssh(*words, "-V", "20200101:20400101", f"{path}.pub")
    return path.with_name(f"{path.name}-cert.pub")


def revoke(listed: Path, *keys: Path, serial: tuple[Path, int] | None = None) -> Path:
    """Write the list that revokes these keys, or what this authority certified as this number."""
    if serial is None:
        ssh("-k", "-f", str(listed), *(f"{path}.pub" for path in keys))
        return listed
    words = listed.with_name("words")
    words.write_text(f"serial: {serial[1]}\n")
    ssh("-k", "-f", str(listed), "-s", f"{serial[0]}.pub", str(words))
    return listed


@contextlib.contextmanager
def agent(*keys: Path) -> Iterator[dict[str, str]]:
    """Run an agent that holds these keys; yield what to put into the environment."""
    done = subprocess.run(["ssh-agent", "-s"], check=True, capture_output=True, text=True)
    words = dict(
        part.split("=") for part in done.stdout.replace("\n", "").split(";") if "=" in part
    )
    environ = {"SSH_AUTH_SOCK": words["SSH_AUTH_SOCK"]}
    try:
        for path in keys:
            subprocess.run(
                ["ssh-add", "-q", str(path)],
                check=True,
                capture_output=True,
                env={**os.environ, **environ},
            )
        yield environ
    finally:
        os.kill(int(words["SSH_AGENT_PID"]), 15)


def approval(trust_digest: str = "d" * 64, **changes: Any) -> Approval:
    """An approval by ann of a plan, as she would sign it."""
    seen: dict[str, Any] = {
        "requested_by": ("olga", "rik"),
        "ticket_digest": digest("ticket"),
        "equivalence_digest": digest("equal"),
        "view_digest": digest("view"),
        "decision_digest": digest("decision"),
        "trust_digest": trust_digest,
        "ledger_head": f"{'e' * 64}@3",
    }
    seen.update({name: changes.pop(name) for name in list(changes) if name in seen})
    fields: dict[str, Any] = {
        "principal": "ann",
        "role": "boss",
        "run": "CHG-1.1",
        "environment": "prod",
        "plan_digest": PLAN,
        "nonce": "0" * 32,
        "issued_ms": NOW,
        "expires_ms": NOW + HOUR,
        "method": "sshsig",
        "signature": None,
        "seen": Seen(**seen),
    }
    return Approval(**{**fields, **changes})


def signed(given: Approval, path: Path, environ: Mapping[str, str] = ENVIRON) -> Approval:
    """Sign it with a key file."""
    return given.model_copy(update={"signature": sign(statement(given), path, environ)})
