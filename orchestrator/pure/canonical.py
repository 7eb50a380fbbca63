"""The one canonical form: what is hashed, and how a step is proved.

1. A digest is SHA-256 over RFC 8785 canonical JSON; `actors.strict` has refused whatever has none.
2. A plan's steps hang on an RFC 6962 Merkle tree, so that one step can be proved without the
   others.
"""

from __future__ import annotations

from hashlib import sha256
from json import JSONEncoder
from typing import TYPE_CHECKING, Final

import rfc8785

from actors.strict import is_plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actors.strict import Json

__all__ = ["canonical", "digest", "merkle_levels", "merkle_path", "merkle_root", "proves"]

LEAF: Final = b"\x00"
NODE: Final = b"\x01"
PLAIN: Final = JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
)
"""What RFC 8785 says of keys beyond ASCII and of floats does not arise for plain values."""


def canonical(value: Json) -> bytes:
    """Return RFC 8785 canonical JSON; for plain values an encoder in C writes the same bytes."""
    if is_plain(value):
        return PLAIN.encode(value).encode()
    return rfc8785.dumps(value)


def digest(value: Json) -> str:
    """Return the SHA-256 of the canonical form, in hexadecimal."""
    return sha256(canonical(value)).hexdigest()


def merkle_root(leaves: Iterable[bytes]) -> str:
    """Return the RFC 6962 root over the leaves, in hexadecimal."""
    return merkle_levels(leaves)[-1][0].hex()


def merkle_levels(leaves: Iterable[bytes]) -> list[list[bytes]]:
    """Return all levels of the tree, the hashed leaves first, the root last."""
    levels = [[sha256(LEAF + leaf).digest() for leaf in leaves] or [sha256(b"").digest()]]
    while len(levels[-1]) > 1:
        levels.append(_level_above(levels[-1]))
    return levels


def merkle_path(levels: Sequence[Sequence[bytes]], index: int) -> tuple[str, ...]:
    """Return the siblings, lowest first, that lead from one leaf to the root.

    Each sibling is prefixed with the side on which it stands: `L` or `R`.
    """
    siblings: list[str] = []
    for level in levels[:-1]:
        beside = index ^ 1
        if beside < len(level):
            siblings.append(("L" if beside < index else "R") + level[beside].hex())
        index //= 2
    return tuple(siblings)


def proves(leaf: bytes, proof: Sequence[str], root: str) -> bool:
    """Check that a leaf leads to the root by this proof."""
    node = sha256(LEAF + leaf).digest()
    for sibling in proof:
        side, beside = sibling[:1], _unhex(sibling[1:])
        if beside is None or side not in ("L", "R"):
            return False
        node = sha256(NODE + (beside + node if side == "L" else node + beside)).digest()
    return node.hex() == root


def _level_above(level: list[bytes]) -> list[bytes]:
    above = [
        sha256(NODE + level[left] + level[left + 1]).digest()
        for left in range(0, len(level) - 1, 2)
    ]
    return above + level[len(above) * 2 :]


def _unhex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None
