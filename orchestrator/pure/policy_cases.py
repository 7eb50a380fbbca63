"""Cases beside the rules: a whole input, a patch, and what the rule must say.

1. A patch is a JSON merge patch (RFC 7396): what it does not name stays, null takes away.
2. A patched input is sealed anew and read as strictly as any other: a typing error in a patch is an
   error, never a case in which the rule is silent.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from orchestrator.pure.policy_input import UNSEALED, PolicyInput, sealed

if TYPE_CHECKING:
    from actors.strict import Json

__all__ = ["merged", "patched"]


def patched(base: dict[str, Any], patch: dict[str, Any]) -> PolicyInput:
    """Make the input of a case; a `ValidationError` says where a patch does not fit."""
    text = json.dumps({**merged(base, patch), "digest": UNSEALED})
    return sealed(PolicyInput.model_validate_json(text))


def merged(base: Json, patch: Json) -> Json:
    """Apply a JSON merge patch."""
    if not isinstance(patch, dict):
        return patch
    result = dict(base) if isinstance(base, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
