"""Finds the technology that runs actors: a kind, registered as entry point `interlock.kinds`.

Ours are registered like anybody else's, so that what we can do, a third party can do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from actors.fitting import nearest

if TYPE_CHECKING:
    from pathlib import Path

    from actors.spec import ActorSpec, Brief, Outcome, Scalar

__all__ = [
    "PULSE",
    "ActorsError",
    "Critic",
    "Kind",
    "KindOf",
    "Settings",
    "kind_names",
    "load_kind",
]

GROUP: Final = "interlock.kinds"
PULSE: Final = "pulse"
"""A file in an act's directory; a kind that hears of its targets touches it whenever it does."""

Settings = Mapping[str, "Scalar"]
"""The section of `interlock.yaml` that bears the kind's name; paths in it are absolute."""


class ActorsError(Exception):
    """Something a person can mend before any actor acts: what happened, and what to do next."""

    def __init__(self, what: str, *, next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step


@runtime_checkable
class Kind(Protocol):
    """A technology that can do the four verbs of an actor."""

    name: str
    inline: bool
    """It may act inside the driver's own process; anything that loads foreign code must not."""

    def needs(self, spec: ActorSpec) -> tuple[str, ...]:
        """Name the files that the actor's folder must hold, as paths below it."""

    def perform(self, brief: Brief, settings: Settings) -> Outcome:
        """Do one verb and report; raise `ActorsError` only when nothing can have happened yet."""


@runtime_checkable
class Critic(Protocol):
    """A kind that reads an actor's folder more closely than anybody else could."""

    def complaints(
        self, folder: Path, files: tuple[str, ...], spec: ActorSpec
    ) -> tuple[tuple[str, str, str, int], ...]:
        """Say what is wrong: each a code, words, a file below the folder, and a line."""


KindOf = Callable[[str], Kind]


def kind_names() -> tuple[str, ...]:
    """List the kinds that are installed."""
    return tuple(sorted(entry_points(group=GROUP).names))


def load_kind(name: str) -> Kind:
    """Load an installed kind by its name."""
    found = [point for point in entry_points(group=GROUP) if point.name == name]
    if not found:
        raise ActorsError(
            f"no kind named {name} is installed; {nearest(name, kind_names())}",
            next_step="install the package that brings it, with `pip install` beside Interlock "
            "(a checkout brings its own after `pip install -e .`)",
        )
    if len({point.value for point in found}) > 1:
        both = " and ".join(sorted({point.value for point in found}))
        raise ActorsError(
            f"the kind {name} is installed twice: {both}",
            next_step="remove one of the two packages; Interlock does not choose between them",
        )
    return _built(name, found[0].load)


def _built(name: str, load: Callable[[], Callable[[], object]]) -> Kind:
    try:
        kind = load()()
    except (ImportError, AttributeError, TypeError) as error:
        raise ActorsError(
            f"the kind {name} cannot be loaded: {error}",
            next_step="install what it needs, such as an extra of the package that brings it",
        ) from None
    if not isinstance(kind, Kind) or kind.name != name:
        raise ActorsError(
            f"what is registered as the kind {name} is not a kind of that name",
            next_step="report it to the package that registers it: see actors.kinds.Kind",
        )
    return kind
