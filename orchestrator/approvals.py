"""Consent in this workspace: who may give it, giving it, and which of it stands.

1. Files of trust are read once, judged strictly, and handed to `ssh-keygen` as copies of our own.
2. What cannot be read, or could be changed by others, is refused: nobody's consent counts then.
3. A list of revoked keys that is named, or lies where it would be looked for, must be good.
4. A signature is judged as of now; to go back, as of when it was given. Revoked stays revoked.
"""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.approvals_signers import Signer, read_signers
from orchestrator.approvals_ssh import agent_keys, sign, verifies
from orchestrator.errors import InvalidInput
from orchestrator.pure.canonical import digest
from orchestrator.pure.consent import problem_with_approval, statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.pure.consent import Purpose
    from orchestrator.pure.model import Approval
    from orchestrator.settings import Settings

__all__ = [
    "Trust",
    "local_identities",
    "problem_with",
    "read_trust",
    "signed",
    "signed_by_agent",
    "standing",
]

MAX_BYTES: Final = 4_000_000
MAX_SHOWN: Final = 20
KRL: Final = b"SSHKRL\n\0"
"""How a list begins that `ssh-keygen -k` wrote; a list of mere keys could be cut short unseen."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Who may sign, and which keys no longer may, as read at one instant."""

    signers: tuple[Signer, ...]
    signers_digest: str
    revoked: bytes | None
    source: str

    def digest(self, settings: Settings, environment: str) -> str:
        """Take the digest of all that decides about consent in one environment."""
        rules = settings.environments.get(environment)
        return digest(
            {
                "signers": self.signers_digest,
                "roles": settings.model_dump(mode="json", include={"roles"}),
                "rules": rules.model_dump(mode="json") if rules else None,
            }
        )

    def lines_of(self, principal: str) -> str:
        """Return the lines that let this person sign."""
        lines = [signer.text for signer in self.signers if principal in signer.principals]
        return "".join(f"{line}\n" for line in lines)

    def is_local(self, principal: str) -> bool:
        """Say whether somebody signs with a key that was made for trying out."""
        return any(s.local for s in self.signers if principal in s.principals)


def read_trust(root: Path, settings: Settings) -> Trust:
    """Read the files of trust, or say with file and line why they cannot be trusted."""
    if settings.allowed_signers is None:
        return Trust((), digest(None), None, "interlock.yaml names no allowed_signers")
    path = root / settings.allowed_signers
    raw = _trusted_bytes(root, path)
    signers, problems = read_signers(raw)
    if problems:
        raise InvalidInput(
            f"{path}:{problems[0][0]}: {problems[0][1]}",
            next_step="mend the file of allowed signers; until then no consent counts",
            details=tuple(f"{path}:{line}: {what}" for line, what in problems[:MAX_SHOWN]),
        )
    return Trust(signers, sha256(raw).hexdigest(), _revoked(root, path, settings), str(path))


def standing(
    approvals: Iterable[Approval], trust: Trust, purpose: Purpose
) -> tuple[tuple[Approval, ...], tuple[str, ...]]:
    """Part the approvals that stand from the reasons why others do not."""
    good, problems = [], []
    for approval in approvals:
        problem = problem_with(approval, trust, purpose)
        if problem:
            problems.append(f"the approval by {approval.principal} does not count: {problem}")
        else:
            good.append(approval)
    return tuple(good), tuple(problems)


def local_identities(approvals: Iterable[Approval], trust: Trust) -> tuple[str, ...]:
    """Name those who signed with a key that was made for trying out."""
    return tuple(
        f"{who} signs with a local identity, made for trying out; it proves nothing about anybody"
        for who in sorted({a.principal for a in approvals if a.method == "sshsig"})
        if trust.is_local(who)
    )


def problem_with(approval: Approval, trust: Trust, purpose: Purpose) -> str | None:
    """Say why an approval does not count, or nothing."""
    problem = problem_with_approval(approval, purpose)
    if problem or approval.method == "claimed":
        return problem
    at_ms = approval.issued_ms if purpose.going_back else purpose.now_ms
    if _is_signed(approval, trust, at_ms, revoked=trust.revoked):
        return None
    who = approval.principal
    if not trust.lines_of(who):
        return f"no line is for {who} ({trust.source})"
    # Each question leaves one condition out, so that the person learns which one failed.
    if trust.revoked is not None and _is_signed(approval, trust, at_ms, revoked=None):
        return "its key is revoked, or the list of revoked keys cannot be read"
    if _is_signed(approval, trust, approval.issued_ms, revoked=trust.revoked):
        return f"the key of {who} is out of its time (valid-after, valid-before, or certificate)"
    return f"it is not what {who} signed, or not with a key that {trust.source} allows"


def signed(approval: Approval, key: Path, environ: Mapping[str, str]) -> Approval:
    """Sign what an approval says."""
    return approval.model_copy(update={"signature": sign(statement(approval), key, environ)})


def signed_by_agent(approval: Approval, trust: Trust, environ: Mapping[str, str]) -> Approval:
    """Sign with the one key of the agent that is allowed for this person."""
    mine = [s for s in trust.signers if approval.principal in s.principals]
    plain = {signer.key for signer in mine if not signer.authority}
    certified = any(signer.authority for signer in mine)
    held = [line for line in agent_keys(environ) if _is_usable(line, plain, certified=certified)]
    if len(held) != 1:
        raise InvalidInput(
            f"the agent holds {len(held)} keys with which {approval.principal} may sign",
            next_step="name the one to use by its public file: --key PATH.pub",
        )
    with tempfile.TemporaryDirectory(prefix="interlock-sign-") as folder:
        name = "agent-cert.pub" if "-cert-v01@" in held[0].split(" ")[0] else "agent.pub"
        public = Path(folder) / name
        public.write_text(held[0] + "\n", encoding="ascii")
        return signed(approval, public, environ)


def _is_usable(line: str, plain: set[str], *, certified: bool) -> bool:
    words = line.split(" ")
    if len(words) < 2:
        return False
    return words[1] in plain or (certified and "-cert-v01@" in words[0])


def _is_signed(approval: Approval, trust: Trust, at_ms: int, *, revoked: bytes | None) -> bool:
    lines = trust.lines_of(approval.principal)
    return bool(lines) and verifies(
        statement(approval),
        approval.signature or "",
        approval.principal,
        signers=lines,
        revoked=revoked,
        at_ms=at_ms,
    )


def _revoked(root: Path, signers: Path, settings: Settings) -> bytes | None:
    usual = signers.with_name(f"{signers.name}.revoked")
    if settings.revoked_keys is None:
        if os.path.lexists(usual):
            raise InvalidInput(
                f"{usual}: is there, but interlock.yaml does not name it",
                next_step=f"add `revoked_keys: {usual.relative_to(root)}` to interlock.yaml, so "
                "that it cannot vanish unseen",
            )
        return None
    path = root / settings.revoked_keys
    raw = _trusted_bytes(root, path)
    if not raw.startswith(KRL):
        raise InvalidInput(
            f"{path}: is not a list of revoked keys; nobody can say which keys are revoked",
            next_step=f"put it back; `ssh-keygen -k -f {path.name}` makes one that revokes nothing",
        )
    return raw


def _trusted_bytes(root: Path, path: Path) -> bytes:
    try:
        real = Path(os.path.realpath(path, strict=True))
        if not real.is_relative_to(os.path.realpath(root)):
            raise InvalidInput(
                f"{path}: leads out of the workspace, to {real}",
                next_step="keep the file itself in the workspace",
            )
        for place in (real.parent, real):
            _refuse_open(place)
        with os.fdopen(os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidInput(
                    f"{path}: is not a plain file", next_step="put the file itself there"
                )
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInput(
            f"{path}: cannot be read: {error.strerror}",
            next_step="put the file back as interlock.yaml names it; until then no consent counts",
        ) from None
    if len(raw) > MAX_BYTES:
        raise InvalidInput(
            f"{path}: has more than {MAX_BYTES} bytes", next_step="keep it to living keys"
        )
    return raw


def _refuse_open(path: Path) -> None:
    status = path.stat()
    if status.st_mode & stat.S_IWOTH:
        raise InvalidInput(
            f"{path}: anybody on this machine may change it; no consent counts",
            next_step=f"look through it, then: chmod o-w {path}",
        )
    if status.st_uid not in (0, os.getuid()):
        raise InvalidInput(
            f"{path}: belongs to another user (uid {status.st_uid}); no consent counts",
            next_step="look through it, then let it belong to you or to root (chown)",
        )
