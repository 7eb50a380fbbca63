"""Finds and reads what a team owns: settings, inventory, catalog, tickets and drafts.

1. A workspace is the nearest folder at or above the current one that holds `interlock.yaml`.
2. What lies outside it is not read as part of it: a link that leads out is refused.
3. Whatever cannot be read is `InvalidInput`, with file, line, what is wrong and what to do.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, Field

from actors.catalog import CatalogRead, read_catalog
from actors.fitting import nearest
from actors.kinds import load_kind
from actors.spec import Name, Scalar, TargetName
from orchestrator.errors import InvalidInput
from orchestrator.owned import MAX_SHOWN, STDIN, fitted, parsed, raw
from orchestrator.pure.canonical import canonical, digest
from orchestrator.pure.model import (
    Budget,
    Catalog,
    Inventory,
    InventoryObject,
    Model,
    PinnedActor,
    Ticket,
)
from orchestrator.settings import Settings
from orchestrator.workspace_files import MARKER, STATE, find_workspace, init, template, warnings

if TYPE_CHECKING:
    from actors.kinds import KindOf
    from actors.reading import Read
    from orchestrator.pure.compile import Document, Limits

__all__ = [
    "MARKER",
    "STDIN",
    "Workspace",
    "draft_text",
    "find_workspace",
    "init",
    "inventory_digest",
    "open_workspace",
    "read_draft",
    "read_ticket",
    "template",
    "ticket_digest",
]

MAX_SETTINGS_BYTES: Final = 1_000_000
MAX_TICKET_BYTES: Final = 2_000_000
MAX_DRAFT_BYTES: Final = 16_000_000
MAX_INVENTORY_BYTES: Final = 32_000_000

M = TypeVar("M", bound=BaseModel)


class _Entry(Model):
    """One object of an inventory file; what it does not say, the file says for all."""

    name: TargetName
    object: Name | None = None
    groups: tuple[Name, ...] = ()
    labels: dict[Name, str] = Field(default_factory=dict)
    connection: dict[Name, Scalar] = Field(default_factory=dict)


class _InventoryFile(Model):
    """One `inventory/*.yaml`."""

    format: Literal[1]
    environment: Name
    object: Name = "host"
    groups: tuple[Name, ...] = ()
    labels: dict[Name, str] = Field(default_factory=dict)
    connection: dict[Name, Scalar] = Field(default_factory=dict)
    budgets: tuple[Budget, ...] = ()
    objects: Annotated[tuple[_Entry, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Workspace:
    """A team's folder, and what it has settled in `interlock.yaml`."""

    root: Path
    settings: Settings
    kind_of: KindOf = load_kind

    @property
    def playbooks(self) -> Path:
        """The folder of actors."""
        return self.inside(self.settings.paths.playbooks)

    @property
    def policies(self) -> Path:
        """The folder of rules."""
        return self.inside(self.settings.paths.policies)

    @property
    def routines(self) -> Path:
        """The folder of prepared drafts."""
        return self.inside(self.settings.paths.routines)

    @property
    def state(self) -> Path:
        """The folder of the ledger and of acts, which Interlock alone writes."""
        return self.inside(STATE)

    def inside(self, relative: str) -> Path:
        """Resolve a path of the settings; a link that leads out of the workspace is refused."""
        return _inside(self.root, self.root / relative)

    def warnings(self) -> tuple[str, ...]:
        """List what others than the team could change without anybody noticing."""
        paths = self.settings.paths
        return warnings(
            self.root, (paths.inventory, paths.playbooks, paths.policies, paths.routines)
        )

    def kind_settings(self, kind: str) -> dict[str, Scalar]:
        """Return what a kind is told; a `world` or `..._path` becomes absolute."""
        told = self.settings.kinds.get(kind, {})
        return {
            name: str(self.inside(value))
            if isinstance(value, str) and (name == "world" or name.endswith("_path"))
            else value
            for name, value in told.items()
        }

    def read_catalog(self) -> CatalogRead:
        """Read every actor, with what is wrong with those that cannot be used."""
        return read_catalog(self.playbooks, kind_of=self.kind_of)

    def catalog(self) -> tuple[Catalog, dict[str, Path]]:
        """Return the catalog and each actor's folder; one bad actor stops everything."""
        read = self.read_catalog()
        if read.findings:
            found = "1 finding" if len(read.findings) == 1 else f"{len(read.findings)} findings"
            raise InvalidInput(
                f"{self.playbooks}: {found} in the actors' folders",
                next_step="mend them (`interlock actors check` lists them all)",
                details=tuple(str(finding) for finding in read.findings[:MAX_SHOWN]),
            )
        actors = read.actors
        catalog = Catalog(
            digest=read.digest,
            actors={n: PinnedActor(spec=a.spec, digest=a.digest) for n, a in actors.items()},
            evidence={n: a.evidence for n, a in actors.items() if a.evidence is not None},
            evidence_days={
                n: a.tested.date for n, a in actors.items() if a.tested and a.tested.date
            },
        )
        return catalog, {name: actor.folder for name, actor in actors.items()}

    def inventory(self) -> Inventory:
        """Read all inventory files as one, sorted by name."""
        folder = self.inside(self.settings.paths.inventory)
        files = sorted(path for path in _listed(folder) if path.suffix in (".yaml", ".yml"))
        if not files:
            raise InvalidInput(
                f"{folder}: holds no inventory file",
                next_step="write the hosts of each environment into a .yaml file there",
            )
        objects: dict[str, tuple[InventoryObject, str]] = {}
        budgets: dict[str, tuple[Budget, str]] = {}
        for path in files:
            self._add_inventory(_inside(self.root, path), objects, budgets)
        return Inventory(
            objects=tuple(objects[name][0] for name in sorted(objects)),
            budgets=tuple(budgets[label][0] for label in sorted(budgets)),
        )

    def frozen_inventory(self, inventory_digest: str) -> Path:
        """Say where a copy of an inventory is kept by its digest, which is taken over its bytes."""
        return self.state / "inventories" / f"{inventory_digest}.json"

    def freeze_inventory(self, inventory: Inventory) -> None:
        """Keep that copy, so that an act's process need not read all files again."""
        raw = canonical(inventory.model_dump(mode="json"))
        path = self.frozen_inventory(sha256(raw).hexdigest())
        if path.exists():
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        beside.write_bytes(raw)
        beside.rename(path)

    def limits(self) -> Limits:
        """Say how many may act at a time, where evidence is asked for, and which secrets exist."""
        from orchestrator.pure.compile import Limits  # noqa: PLC0415 - few verbs compile

        rules = self.settings.environments
        strict = sorted(name for name in rules if rules[name].require_evidence)
        named = self.settings.secrets
        return Limits(
            max_parallel=self.settings.parallelism,
            require_evidence=tuple(strict),
            secrets={name: named[name].environments for name in sorted(named)},
        )

    def ticket(self, path: Path) -> Ticket:
        """Read a ticket for one of this workspace's environments."""
        return self.ticket_and_place(path)[0]

    def ticket_and_place(self, path: Path) -> tuple[Ticket, str]:
        """Read a ticket, and say where its own targets stand, for findings about them."""
        ticket, read = _read_ticket(path)
        self._refuse_unknown(ticket.environment, path, read.line_of(("environment",)))
        return ticket, f"{path}:{read.line_of(('targets',))}"

    def _add_inventory(
        self,
        path: Path,
        objects: dict[str, tuple[InventoryObject, str]],
        budgets: dict[str, tuple[Budget, str]],
    ) -> None:
        file, read = _read_model(_InventoryFile, path, MAX_INVENTORY_BYTES)
        self._refuse_unknown(file.environment, path, read.line_of(("environment",)))
        for place, entry in enumerate(file.objects):
            here = f"{path}:{read.line_of(('objects', place))}"
            _refuse_twice(entry.name, here, objects, "the object")
            objects[entry.name] = (_object(file, entry), here)
        for place, budget in enumerate(file.budgets):
            here = f"{path}:{read.line_of(('budgets', place))}"
            _refuse_twice(budget.label, here, budgets, "the budget of the label")
            budgets[budget.label] = (budget, here)

    def _refuse_unknown(self, environment: str, path: Path, line: int) -> None:
        known = self.settings.environments
        if environment not in known:
            raise InvalidInput(
                f"{path}:{line}: the environment {environment} is not in {MARKER}; "
                f"{nearest(environment, known)}",
                next_step=f"correct it, or add its rules to environments in {self.root / MARKER}",
            )


def open_workspace(root: Path, *, kind_of: KindOf = load_kind) -> Workspace:
    """Read a workspace's settings."""
    root = Path(os.path.realpath(root))
    settings, _ = _read_model(Settings, _inside(root, root / MARKER), MAX_SETTINGS_BYTES)
    return Workspace(root, settings, kind_of)


def read_ticket(path: Path) -> Ticket:
    """Read a ticket from wherever it lies."""
    return _read_ticket(path)[0]


def draft_text(path: Path) -> str:
    """Read a draft file as the text that a run keeps; what is no YAML at all is refused."""
    content = raw(path, MAX_DRAFT_BYTES)
    parsed(path, content, MAX_DRAFT_BYTES)
    return content.decode("utf-8")


def read_draft(path: Path) -> Document:
    """Read a draft file as a value with its lines; whether it compiles is for compile to say."""
    from orchestrator.pure.compile import Document  # noqa: PLC0415 - a verb without draft needs none

    read = _read(path, MAX_DRAFT_BYTES)
    return Document(read.value, read.lines)


def ticket_digest(ticket: Ticket) -> str:
    """Take the digest of a ticket."""
    return digest(ticket.model_dump(mode="json"))


def inventory_digest(inventory: Inventory) -> str:
    """Take the digest of an inventory."""
    return digest(inventory.model_dump(mode="json"))


def _read_ticket(path: Path) -> tuple[Ticket, Read]:
    ticket, read = _read_model(Ticket, path, MAX_TICKET_BYTES)
    if ticket.window and ticket.window.end_ms <= ticket.window.start_ms:
        raise InvalidInput(
            f"{path}:{read.line_of(('window', 'end'))}: the window ends before it begins",
            next_step="mend window.start or window.end; both need an offset such as +01:00",
        )
    return ticket, read


def _read_model(model: type[M], path: Path, max_bytes: int) -> tuple[M, Read]:
    read = _read(path, max_bytes)
    return fitted(model, path, read), read


def _read(path: Path, max_bytes: int) -> Read:
    return parsed(path, raw(path, max_bytes), max_bytes)


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise InvalidInput(
            f"{folder}: cannot be read: {error.strerror}",
            next_step=f"make the folder, or correct paths in {MARKER}",
        ) from None


def _inside(root: Path, path: Path) -> Path:
    # Unlike Path.resolve, this does not raise for a link that leads in a circle: opening it will.
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(root)):
        raise InvalidInput(
            f"{path}: leads out of the workspace, to {real}",
            next_step="replace the link by what it points to; a workspace holds all that it uses",
        )
    return path


def _object(file: _InventoryFile, entry: _Entry) -> InventoryObject:
    return InventoryObject(
        name=entry.name,
        object=entry.object or file.object,
        environment=file.environment,
        groups=tuple(sorted({*file.groups, *entry.groups})),
        labels={**file.labels, **entry.labels},
        connection={**file.connection, **entry.connection},
    )


def _refuse_twice(
    name: str,
    here: str,
    seen: dict[str, tuple[InventoryObject, str]] | dict[str, tuple[Budget, str]],
    what: str,
) -> None:
    if name in seen:
        raise InvalidInput(
            f"{here}: {what} {name} is there already, at {seen[name][1]}",
            next_step="keep one of the two; a name means one thing in the whole workspace",
        )
