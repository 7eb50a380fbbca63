"""Says a secret in every way that programs write things, and looks for it in what was written.

The half that says it is part of the hostile kind; the half that looks knows nothing of how the
product hides it: what it looks for, it makes itself.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
import sys
import time
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["found_in", "needles", "tell", "tellings"]

SHORT: Final = 8
"""Shorter lines of a secret are taken for ordinary words."""


def tellings(value: str) -> list[str]:
    """Say a value in every way."""
    raw = value.encode()
    ways = [value, f"password={value};", quote(value), quote(value, safe=""), quote_plus(value)]
    ways += [raw.hex(), raw.hex().upper(), escape(value), shlex.quote(value), repr(value)]
    ways += [json.dumps(value), json.dumps({"a": [value]}, ensure_ascii=False)]
    ways += [json.dumps(json.dumps({"cmd": f"login --with {value}"}))]
    ways += [base64.b64encode(b"u:p"[:before] + raw + b"\n").decode() for before in range(4)]
    ways += [base64.urlsafe_b64encode(b"xy" + raw).decode(), base64.encodebytes(raw).decode()]
    return ways + [line for line in value.splitlines() if len(line) >= SHORT]


def needles(value: str) -> set[bytes]:
    """Name what must be nowhere: what of each way depends on the value alone."""
    raw = value.encode()
    found = {raw, quote(value, safe="").encode(), raw.hex().encode(), raw.hex().upper().encode()}
    found |= {json.dumps(value)[1:-1].encode(), escape(value).encode(), repr(value)[1:-1].encode()}
    for before in range(3):
        coded = base64.b64encode(bytes(before) + raw + b"\0\0\0")
        found |= {coded[4:-8], base64.urlsafe_b64encode(bytes(before) + raw + b"\0\0\0")[4:-8]}
    for line in value.splitlines():
        if len(line) >= SHORT and not line.startswith("-----"):
            found |= {line.encode(), line.encode().hex().encode()}
            found.add(base64.b64encode(line.encode())[:-4])
    return found


def tell(value: str, workdir: Path) -> None:
    """Say it on the standard output and error, by a child, in pieces, and in files."""
    for way in tellings(value):
        sys.stdout.write(f"{way}\n")
        sys.stderr.write(f"error: {way}\n")
    sys.stdout.flush()
    middle = len(value) // 2
    for piece in (value[:middle], value[middle:] + "\n"):
        os.write(1, piece.encode())
        time.sleep(0.05)
    child = "import sys; print(sys.stdin.read()); print('done', file=sys.stderr)"
    text = "\n".join(tellings(value))
    subprocess.run([sys.executable, "-c", child], input=text.encode(), check=True)
    for name in ("facts.json", "deep/down/stdout"):
        path = workdir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x" * 70_000 + text)
    (workdir / "link").symlink_to(f"/nowhere/{quote(value, safe='')[:200]}")
    (workdir / f"named-{value.encode().hex()[:200]}").write_text("")


def found_in(root: Path, values: list[str]) -> Iterator[str]:
    """Look through every file below a folder, names and links with them."""
    wanted = [needle for value in values for needle in needles(value)]
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(folder) / name
            said = os.fsencode(str(path.relative_to(root)))
            if path.is_symlink():
                said += os.fsencode(str(path.readlink()))
            elif path.is_file():
                said += path.read_bytes()
            yield from (f"{path}: {needle!r}" for needle in wanted if needle in said)
