"""Asks `ssh-keygen` to sign and to verify; of a verification only its exit code is used.

1. The program is the system's, found by its full path, not by whatever PATH says.
2. It reads files that we wrote into a private directory; the statement comes on its standard input.
3. It gets no environment when it verifies: nobody's agent, home or locale has a say.
"""

from __future__ import annotations

import stat
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.errors import InvalidInput, Unavailable
from orchestrator.pure.consent import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["agent_keys", "make_key", "sign", "verifies"]

FOLDERS: Final = ("/usr/bin", "/usr/local/bin", "/run/current-system/sw/bin")
VERIFY_S: Final = 10
SIGN_S: Final = 120
"""A person may have to type a passphrase or touch a token."""
MAX_SIGNATURE_BYTES: Final = 20_000


def verifies(
    statement: bytes,
    signature: str,
    principal: str,
    *,
    signers: str,
    revoked: bytes | None,
    at_ms: int,
) -> bool:
    """Say whether this person signed this statement, by these files, as of this instant."""
    with tempfile.TemporaryDirectory(prefix="interlock-verify-") as folder:
        where = Path(folder)
        (where / "signers").write_text(signers, encoding="ascii")
        (where / "signature").write_text(signature, encoding="utf-8")
        words = ["-Y", "verify", "-f", "signers", "-I", principal, "-n", NAMESPACE]
        words += ["-s", "signature", "-O", f"verify-time={_moment(at_ms)}"]
        if revoked is not None:
            (where / "revoked").write_bytes(revoked)
            words += ["-r", "revoked"]
        try:
            done = subprocess.run(  # noqa: S603 - the system's program, fixed arguments
                [_program("ssh-keygen"), *words],
                input=statement,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=where,
                env={"LC_ALL": "C", "TZ": "UTC"},
                timeout=VERIFY_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(
                f"ssh-keygen could not verify the signature of {principal}: {error}",
                next_step="see that OpenSSH works on this machine; nothing was assumed",
            ) from None
    return done.returncode == 0


def sign(statement: bytes, key: Path, environ: Mapping[str, str]) -> str:
    """Sign a statement with a key file, or with the agent's half of a public one."""
    if not key.is_file():
        raise InvalidInput(
            f"{key}: there is no such key", next_step="name your key with --key, or use --agent"
        )
    argv = [_program("ssh-keygen"), "-Y", "sign", "-n", NAMESPACE, "-f", str(key)]
    done = _run(argv, environ, statement)
    signature = done.stdout.decode("ascii", "replace")
    if done.returncode or not signature.startswith("-----BEGIN SSH SIGNATURE-----"):
        raise InvalidInput(
            f"{key}: ssh-keygen did not sign with it; nothing was recorded",
            next_step="check the key, its passphrase, and who may read it",
            details=tuple(_lines(done.stderr)),
        )
    return signature[:MAX_SIGNATURE_BYTES]


def agent_keys(environ: Mapping[str, str]) -> tuple[str, ...]:
    """List the public keys and certificates that the agent holds, one line each."""
    done = _run([_program("ssh-add"), "-L"], environ, b"")
    if done.returncode:
        raise InvalidInput(
            "the SSH agent holds no key, or does not answer",
            next_step="start it and add your key (`ssh-add`), or name a key file with --key",
        )
    return tuple(_lines(done.stdout, 200))


def make_key(path: Path, comment: str) -> str:
    """Make a key without a passphrase, and return its public half."""
    argv = [_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", comment]
    done = _run([*argv, "-f", str(path)], {}, b"")
    if done.returncode:
        raise InvalidInput(
            f"{path}: ssh-keygen could not make a key",
            next_step="check who may write there",
            details=tuple(_lines(done.stderr)),
        )
    return path.with_name(f"{path.name}.pub").read_text(encoding="ascii").strip()


def _run(
    argv: list[str], environ: Mapping[str, str], statement: bytes
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(  # noqa: S603 - the system's program, fixed arguments
            argv, input=statement, capture_output=True, env=environ, timeout=SIGN_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(
            f"{Path(argv[0]).name} did not answer within {SIGN_S} s",
            next_step="try again; was it waiting for a passphrase or a touch?",
        ) from None


def _program(name: str) -> str:
    for folder in FOLDERS:
        path = Path(folder) / name
        try:
            status = path.stat()
        except OSError:
            continue
        if status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return str(path)
    raise Unavailable(
        f"{name} is not installed where the system keeps its programs",
        next_step="install OpenSSH; approvals are signed and verified by it",
    )


def _moment(at_ms: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    return moment.strftime("%Y%m%d%H%M%SZ")


def _lines(text: bytes, most: int = 5) -> list[str]:
    lines = text.decode("utf-8", "replace").splitlines()[:most]
    return ["".join(c for c in line if c.isprintable()) for line in lines if line.strip()]
