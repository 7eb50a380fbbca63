"""Reads actors from their folders: the spec, the digest over the whole folder, and the findings.

1. One folder is one actor; the folder's name is the actor's name.
2. The digest covers every file of the folder but `evidence.json`: its path, whether its owner may
   run it, and its bytes. Empty folders do not count. It can be computed with `find`, `sha256sum`
   and `sort`; see `folder_digest`.
3. Whatever could make the digest say less than what would run is refused: links, devices, names
   that look alike, files that a tool drops unseen.
4. A manifest that contradicts itself is refused here, so that nobody meets the contradiction later.
"""

from __future__ import annotations

import json
import os
import stat
import unicodedata
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from actors.contradictions import contradictions
from actors.fitting import fit, nearest
from actors.kinds import ActorsError, Critic, KindOf, kind_names, load_kind
from actors.reading import read_yaml
from actors.spec import ActorSpec, Model
from actors.strict import UnreadableError

__all__ = [
    "EVIDENCE",
    "MANIFEST",
    "ActorFinding",
    "ActorRead",
    "CatalogRead",
    "CatalogedActor",
    "Evidence",
    "FolderRead",
    "Omission",
    "folder_digest",
    "read_actor",
    "read_catalog",
    "record_evidence",
]

MANIFEST: Final = "actor.yaml"
EVIDENCE: Final = "evidence.json"
MAX_MANIFEST_BYTES: Final = 200_000
MAX_FILES: Final = 1_000
MAX_FOLDER_BYTES: Final = 20_000_000
MAX_ACTORS: Final = 2_000
STRAY_NAMES: Final = ("__pycache__", ".DS_Store", "Thumbs.db", ".git")
STRAY_ENDINGS: Final = (".pyc", ".swp", "~", ".retry", ".orig", ".rej")


@dataclass(frozen=True, slots=True)
class ActorFinding:
    """Why a folder is not an actor: a stable code, a place, and what to do."""

    code: str
    message: str
    file: str
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.message} [{self.code}]"


@dataclass(frozen=True, slots=True)
class FolderRead:
    """A folder's digest, or why it has none."""

    digest: str | None
    files: tuple[str, ...]
    findings: tuple[ActorFinding, ...]


@dataclass(frozen=True, slots=True)
class ActorRead:
    """What a folder says of its actor; without findings, both spec and digest are there."""

    spec: ActorSpec | None
    digest: str | None
    findings: tuple[ActorFinding, ...]


@dataclass(frozen=True, slots=True)
class CatalogedActor:
    """An actor that can be used, and the digest for which its own tests have passed."""

    spec: ActorSpec
    digest: str
    folder: Path
    evidence: str | None
    tested: Evidence | None = None
    """The whole of that evidence, if it is for this digest."""


@dataclass(frozen=True, slots=True)
class CatalogRead:
    """All actors of a folder that can be used, and what is wrong with the others."""

    actors: dict[str, CatalogedActor]
    digest: str
    findings: tuple[ActorFinding, ...]


class Omission(Model):
    """What an actor's tests do not show, or let pass, and why."""

    what: str
    because: str


class Evidence(Model):
    """The recorded result of an actor's own tests (`evidence.json`), for one digest only."""

    format: Literal[1] = 1
    actor: str
    digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    passed: Annotated[int, Field(ge=1)]
    """How many tests passed; none failed, or there would be no evidence."""
    tool: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    date: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = None
    """The day of the tests (UTC)."""
    hosts: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """On what kind of hosts it was tried; nothing for a kind that acts on none."""
    not_exercised: tuple[Omission, ...] = ()
    traces: tuple[Omission, ...] = ()
    """What a check left on a host nevertheless, and why."""
    surprises: tuple[str, ...] = ()
    """What a dry run predicted otherwise than it came; none, if it is graded *predicted*."""


def folder_digest(folder: Path) -> FolderRead:
    """Take the digest of a folder: SHA-256 over one line a file, sorted by path.

    A line is `<sha256 of the bytes> <x or -> <path below the folder>`; the first says the format.
    """
    findings: list[ActorFinding] = []
    lines: dict[str, str] = {}
    total = 0
    for path in _walk(folder, folder, findings):
        name = path.relative_to(folder).as_posix()
        total += path.lstat().st_size
        if len(lines) >= MAX_FILES or total > MAX_FOLDER_BYTES:
            limit = f"{MAX_FILES} files and {MAX_FOLDER_BYTES} bytes"
            findings.append(ActorFinding("M-too-large", f"holds more than {limit}", str(folder)))
            break
        raw, runs = _bytes_of(path)
        lines[name] = f"{sha256(raw).hexdigest()} {'x' if runs else '-'} {name}\n"
    files = tuple(sorted(lines))
    if findings:
        return FolderRead(None, files, tuple(findings))
    text = "interlock actor 1\n" + "".join(lines[name] for name in files if name != EVIDENCE)
    return FolderRead(sha256(text.encode()).hexdigest(), files, ())


def read_actor(folder: Path, *, kind_of: KindOf = load_kind) -> ActorRead:
    """Read one actor's folder."""
    try:
        return _read_actor(folder, kind_of)
    except OSError as error:
        finding = ActorFinding("M-unreadable", f"cannot be read: {error.strerror}", str(folder))
        return ActorRead(None, None, (finding,))


def read_catalog(folder: Path, *, kind_of: KindOf = load_kind) -> CatalogRead:
    """Read every actor below a folder; a bad one hides nothing but itself."""
    actors: dict[str, CatalogedActor] = {}
    findings: list[ActorFinding] = []
    broken: set[str] = set()
    for inner in _actor_folders(folder, findings):
        read = read_actor(inner, kind_of=kind_of)
        findings += read.findings
        if read.spec and read.digest and not read.findings:
            found = _evidence(inner, read.spec.name, findings)
            digest = found.digest if found else None
            tested = found if digest == read.digest else None
            actors[inner.name] = CatalogedActor(read.spec, read.digest, inner, digest, tested)
        else:
            broken.add(inner.name)
    findings += _unknown_neighbours(actors, broken)
    text = "".join(f"{actor.digest} {name}\n" for name, actor in sorted(actors.items()))
    return CatalogRead(
        actors, sha256(f"interlock catalog 1\n{text}".encode()).hexdigest(), tuple(findings)
    )


def record_evidence(folder: Path, evidence: Evidence) -> None:
    """Write an actor's evidence beside its manifest."""
    said = {"format": evidence.format, **evidence.model_dump(mode="json", exclude_defaults=True)}
    text = json.dumps(said, indent=2, ensure_ascii=False)
    (folder / EVIDENCE).write_text(f"{text}\n", encoding="utf-8")


def _read_actor(folder: Path, kind_of: KindOf) -> ActorRead:
    found = folder_digest(folder)
    if found.findings:
        return ActorRead(None, None, found.findings)
    manifest = folder / MANIFEST
    if MANIFEST not in found.files:
        finding = ActorFinding("M-no-manifest", f"has no {MANIFEST}", str(folder))
        return ActorRead(None, found.digest, (finding,))
    try:
        read = read_yaml(manifest.read_bytes(), max_bytes=MAX_MANIFEST_BYTES)
    except UnreadableError as error:
        finding = ActorFinding("M-unreadable", error.reason, str(manifest), error.line)
        return ActorRead(None, found.digest, (finding,))
    spec = fit(ActorSpec, read)
    if isinstance(spec, tuple):
        misfits = tuple(ActorFinding(f"M-{m.code}", m.message, str(manifest), m.line) for m in spec)
        return ActorRead(None, found.digest, misfits)
    wrong = [
        ActorFinding(code, message, str(manifest), read.line_of(path))
        for code, message, path in contradictions(spec, folder.name)
    ]
    wrong += _kind_findings(spec, found.files, manifest, read.line_of(("kind",)), kind_of)
    return ActorRead(spec, found.digest, tuple(wrong))


def _kind_findings(
    spec: ActorSpec, files: tuple[str, ...], manifest: Path, line: int, kind_of: KindOf
) -> list[ActorFinding]:
    try:
        kind = kind_of(spec.kind)
        needed = kind.needs(spec)
    except ActorsError as error:
        code = "M-kind" if spec.kind in kind_names() else "M-unknown-kind"
        message = f"{error.what}; {error.next_step}"
        return [ActorFinding(code, message, str(manifest), line)]
    missing = [
        ActorFinding(
            "M-missing-file",
            f"the kind {spec.kind} needs {name} beside the manifest",
            str(manifest),
            line,
        )
        for name in needed
        if name not in files
    ]
    if missing or not isinstance(kind, Critic):
        return missing
    return [
        ActorFinding(code, says, str(manifest.parent / file), place)
        for code, says, file, place in kind.complaints(manifest.parent, files, spec)
    ]


def _actor_folders(folder: Path, findings: list[ActorFinding]) -> list[Path]:
    try:
        inner = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        findings.append(
            ActorFinding("M-unreadable", f"cannot be read: {error.strerror}", str(folder))
        )
        return []
    folders = [path for path in inner if path.is_dir() or path.is_symlink()]
    if len(folders) > MAX_ACTORS:
        findings.append(
            ActorFinding("M-too-large", f"holds more than {MAX_ACTORS} actors", str(folder))
        )
    return folders[:MAX_ACTORS]


def _unknown_neighbours(actors: dict[str, CatalogedActor], broken: set[str]) -> list[ActorFinding]:
    # A folder that cannot be read has findings of its own; that it is missing would be false.
    found = []
    for actor in actors.values():
        for neighbour in (*actor.spec.needs_before, *actor.spec.needs_after):
            if neighbour not in actors and neighbour not in broken:
                message = (
                    f"needs {neighbour}, which is not in the catalog; {nearest(neighbour, actors)}"
                )
                found.append(ActorFinding("M-unknown-actor", message, str(actor.folder / MANIFEST)))
    return found


def _evidence(folder: Path, name: str, findings: list[ActorFinding]) -> Evidence | None:
    """Read what the tests came to; evidence that cannot be read is none."""
    path = folder / EVIDENCE
    if not path.exists():
        return None
    try:
        evidence = fit(Evidence, read_yaml(path.read_bytes(), max_bytes=MAX_MANIFEST_BYTES))
    except UnreadableError as error:
        findings.append(ActorFinding("M-evidence", error.reason, str(path), error.line))
        return None
    if isinstance(evidence, tuple):
        findings += [ActorFinding("M-evidence", m.message, str(path), m.line) for m in evidence]
        return None
    if evidence.actor != name:
        message = f"is the evidence of {evidence.actor}, not of {name}"
        findings.append(ActorFinding("M-evidence", message, str(path)))
        return None
    return evidence


def _walk(top: Path, folder: Path, findings: list[ActorFinding]) -> list[Path]:
    """List the plain files below a folder, and find fault with everything else."""
    if top.is_symlink():
        findings.append(
            ActorFinding("M-link", "is a symbolic link; put the folder itself here", str(top))
        )
        return []
    files: list[Path] = []
    waiting = [folder]
    while waiting and len(files) <= MAX_FILES:
        for entry in sorted(os.scandir(waiting.pop()), key=lambda one: one.name):
            path = Path(entry.path)
            problem = _problem_with_entry(entry)
            if problem:
                findings.append(ActorFinding(*problem, _printable(path)))
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            else:
                files.append(path)
    return files


def _problem_with_entry(entry: os.DirEntry[str]) -> tuple[str, str] | None:
    name = entry.name
    if not name.isprintable() or not unicodedata.is_normalized("NFC", name):
        return "M-file-name", "has a name that another system would write differently; rename it"
    if name in STRAY_NAMES or name.endswith(STRAY_ENDINGS):
        return "M-stray-file", "was left by a tool and would change the digest; delete it"
    if entry.is_symlink():
        return "M-link", "is a symbolic link; put the file itself here"
    if not entry.is_dir(follow_symlinks=False) and not entry.is_file(follow_symlinks=False):
        return "M-special-file", "is neither a file nor a folder; remove it"
    return None


def _bytes_of(path: Path) -> tuple[bytes, bool]:
    """Read a file that must not have become a link or a device since it was listed."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it changed while it was read")
        raw = file.read(MAX_FOLDER_BYTES + 1)
        if len(raw) != status.st_size:
            raise OSError(0, "it changed while it was read")
        return raw, bool(status.st_mode & stat.S_IXUSR)


def _printable(path: Path) -> str:
    return str(path).encode("utf-8", "backslashreplace").decode()
