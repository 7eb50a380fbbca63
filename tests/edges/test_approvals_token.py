"""Consent by a key in hardware, verified by the real OpenSSH; only the token is made of software.

A token signs what OpenSSH gives it as FIDO has it: with the digest of the application's name, a
byte that says whether a person touched it, and a counter.
"""

from __future__ import annotations

import base64
import textwrap
from dataclasses import dataclass, field
from hashlib import sha256, sha512
from typing import TYPE_CHECKING, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edges.keys import NOW, PLAN, approval
from edges.test_approvals import allow, settings
from orchestrator.approvals import problem_with, read_trust
from orchestrator.pure.consent import NAMESPACE, Purpose, statement

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.pure.model import Approval

KIND: Final = b"sk-ssh-ed25519@openssh.com"
TOUCHED: Final = b"\x01"


def packed(*fields: bytes) -> bytes:
    """Write fields as ssh does: each after its length."""
    return b"".join(len(one).to_bytes(4, "big") + one for one in fields)


@dataclass
class Token:
    """A security key that answers to one application."""

    application: bytes = b"ssh:"
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def public(self) -> bytes:
        """What ssh calls its public half."""
        return packed(KIND, self.key.public_key().public_bytes_raw(), self.application)

    def sign(self, said: bytes, namespace: str = NAMESPACE) -> str:
        """Sign as `ssh-keygen -Y sign` does with a token that is touched."""
        head = packed(namespace.encode(), b"", b"sha512")
        whole = b"SSHSIG" + head + packed(sha512(said).digest())
        more = TOUCHED + (7).to_bytes(4, "big")
        raw = self.key.sign(sha256(self.application).digest() + more + sha256(whole).digest())
        signature = packed(KIND, raw) + more
        blob = b"SSHSIG" + (1).to_bytes(4, "big") + packed(self.public) + head + packed(signature)
        lines = textwrap.wrap(base64.b64encode(blob).decode(), 70)
        return "\n".join(
            ["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""]
        )


@pytest.fixture
def token() -> Token:
    return Token()


def judged(root: Path, by: Token, allowed: Token, namespace: str = NAMESPACE) -> str | None:
    blob = base64.b64encode(allowed.public).decode()
    allow(root, f'ann namespaces="{NAMESPACE}" {KIND.decode()} {blob} on a token\n')
    settled = settings()
    trust = read_trust(root, settled)
    digest = trust.digest(settled, "prod")
    given: Approval = approval(digest)
    given = given.model_copy(update={"signature": by.sign(statement(given), namespace)})
    return problem_with(given, trust, Purpose("CHG-1.1", PLAN, "prod", digest, NOW + 1, False))


def test_a_key_in_hardware_counts(tmp_path: Path, token: Token) -> None:
    assert judged(tmp_path, token, token) is None


def test_another_token_does_not_count(tmp_path: Path, token: Token) -> None:
    said = judged(tmp_path, Token(), token)
    assert said is not None
    assert "not what ann signed" in said


def test_a_token_that_answers_to_another_application_does_not_count(
    tmp_path: Path, token: Token
) -> None:
    said = judged(tmp_path, Token(b"ssh:web", token.key), token)
    assert said is not None


def test_what_a_token_signed_for_another_purpose_does_not_count(
    tmp_path: Path, token: Token
) -> None:
    said = judged(tmp_path, token, token, namespace="git")
    assert said is not None
