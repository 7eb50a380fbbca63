"""Finds a workspace, lays down a fresh one, and warns of files that others could change unseen.

Only `template` knows the two places where our own content lies: inside the installed package, or
beside it in a checkout.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["LEDGER", "MARKER", "STATE", "find_workspace", "init", "template", "warnings"]

MARKER: Final = "interlock.yaml"
STATE: Final = ".interlock"
LEDGER: Final = f"{STATE}/ledger.db"
CONTENT: Final = (MARKER, "inventory", "playbooks", "policies", "examples")
LEFT_OUT: Final = ("__pycache__", ".interlock", ".DS_Store", ".git")
SHOWN: Final = 50
"""So many files that stand in the way are named; the others are counted."""
IGNORED: Final = "# What Interlock writes here is its own.\n.interlock/\n"


def find_workspace(start: Path, explicit: Path | None = None) -> Path:
    """Find the folder that holds `interlock.yaml`: the one named, or the nearest one above."""
    if explicit is not None:
        if not (explicit / MARKER).is_file():
            raise InvalidInput(
                f"{explicit}: is not a workspace: it holds no {MARKER}",
                next_step="name the folder that does, or make one with `interlock init`",
            )
        return explicit.resolve()
    here = start.resolve()
    for folder in (here, *here.parents):
        if (folder / MARKER).is_file():
            return folder
    raise InvalidInput(
        f"{here}: neither this folder nor any above it holds {MARKER}",
        next_step="go to your workspace, name it with --workspace, or make one: `interlock init`",
    )


def template() -> Path:
    """Return the folder that holds our own workspace."""
    package = Path(__file__).parent
    return package / "template" if (package / "template" / MARKER).is_file() else package.parent


def init(directory: Path, source: Path | None = None) -> tuple[Path, ...]:
    """Lay down a workspace and list what was written; nothing that exists is overwritten."""
    source = source or template()
    if not (source / MARKER).is_file():
        raise InvalidInput(
            f"{source}: holds no {MARKER} to begin a workspace from",
            next_step="install Interlock again: its template is missing",
        )
    files = {path.relative_to(source): path for top in CONTENT for path in _files(source / top)}
    targets = [directory / relative for relative in files]
    taken = sorted(str(path) for path in targets if os.path.lexists(path))
    if taken:
        more = [f"… and {len(taken) - SHOWN} more"] if len(taken) > SHOWN else []
        raise InvalidInput(
            f"{directory}: {len(taken)} files are there already; nothing was written",
            next_step="choose an empty folder, or move these files away",
            details=(*taken[:SHOWN], *more),
        )
    try:
        return _lay_down(directory, files)
    except OSError as error:
        raise InvalidInput(
            f"{directory}: cannot be written: {error.strerror}",
            next_step="check who may write there; remove what was begun, and try again",
        ) from None


def warnings(root: Path, tops: Iterable[str]) -> tuple[str, ...]:
    """List what others than the team could change below these paths without anybody noticing."""
    found = [_warning(root)]
    for top in (MARKER, *tops):
        found += [_warning(path) for path in _everything(root / top)]
    return tuple(says for says in found if says)


def _lay_down(directory: Path, files: dict[Path, Path]) -> tuple[Path, ...]:
    written = []
    for relative, path in sorted(files.items()):
        target = directory / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as origin, target.open("xb") as copy:
            shutil.copyfileobj(origin, copy)
        if path.stat().st_mode & stat.S_IXUSR:
            target.chmod(0o755)
        written.append(target)
    ignored = directory / ".gitignore"
    if not os.path.lexists(ignored):
        ignored.write_text(IGNORED, encoding="utf-8")
        written.append(ignored)
    return tuple(written)


def _files(top: Path) -> list[Path]:
    """List the plain files of the template; links are no part of it."""
    return [path for path in _everything(top) if path.is_file() and not path.is_symlink()]


def _everything(top: Path) -> Iterator[Path]:
    if not os.path.lexists(top):
        return
    yield top
    for folder, names, files in os.walk(top, followlinks=False):
        names[:] = sorted(name for name in names if name not in LEFT_OUT)
        for name in sorted([*names, *files]):
            yield Path(folder) / name


def _warning(path: Path) -> str | None:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return f"{path}: is a link; what it leads to can change unseen"
    if status.st_mode & stat.S_IWOTH:
        return f"{path}: anybody on this machine may change it; `chmod o-w` it"
    if status.st_uid not in (0, os.getuid()):
        return f"{path}: belongs to another user (uid {status.st_uid}), who may change it"
    return None
