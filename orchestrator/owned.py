"""Reads a file that a team owns, or says at which place it cannot be used, and what to do.

1. Only plain files are read: a pipe or a device is refused, and never waited for.
2. Never more than the limit and one byte.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from actors.fitting import fit
from actors.reading import read_yaml
from actors.strict import UnreadableError
from orchestrator.errors import InvalidInput

if TYPE_CHECKING:
    from pydantic import BaseModel

    from actors.reading import Read

    M = TypeVar("M", bound=BaseModel)

__all__ = ["MAX_SHOWN", "STDIN", "fitted", "parsed", "raw"]

STDIN: Final = Path("-")
"""This name means the standard input."""

MAX_SHOWN: Final = 50
MEND: Final = "mend the file and try again"


def fitted(model: type[M], path: Path, read: Read) -> M:
    """Fit what was read into a model."""
    value = fit(model, read)
    if isinstance(value, tuple):
        first, others = value[0], value[1:]
        more = f" (and {len(others)} more)" if others else ""
        raise InvalidInput(
            f"{path}:{first.line}: {first.message}{more}",
            next_step=MEND,
            details=tuple(f"{path}:{m.line}: {m.message}" for m in value[:MAX_SHOWN] if others),
        )
    return value


def parsed(path: Path, content: bytes | str, max_bytes: int) -> Read:
    """Read YAML strictly."""
    try:
        return read_yaml(content, max_bytes=max_bytes)
    except UnreadableError as error:
        place = f"{path}:{error.line}" if error.line else str(path)
        raise InvalidInput(f"{place}: {error.reason}", next_step=MEND) from None


def raw(path: Path, max_bytes: int) -> bytes:
    """Read a file's bytes; `-` is what stands on the standard input."""
    try:
        return _bytes(path, max_bytes)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InvalidInput(
            f"{path}: cannot be read: {reason}", next_step="check the path and who may read it"
        ) from None


def _bytes(path: Path, max_bytes: int) -> bytes:
    if path == STDIN:
        return sys.stdin.buffer.read(max_bytes + 1)  # that alone may be waited for
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("it is not a plain file")
        return file.read(max_bytes + 1)
