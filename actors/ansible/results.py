"""Reads what a play wrote down: for each host what it did, how it failed, what it published."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Host", "Played", "read_events", "read_play", "shortened", "words_of"]

SHOWN: Final = 600
PUBLISHING: Final = ("ansible.builtin.set_stats", "ansible.legacy.set_stats")


@dataclass(slots=True)
class Host:
    """One host's part in a play."""

    begun: int = 0
    changed: bool = False
    failure: dict[str, Any] | None = None
    """The last result that failed and was not ignored."""
    unreachable: dict[str, Any] | None = None
    published: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Played:
    """A play as its events tell it."""

    began: bool = False
    hosts: dict[str, Host] = field(default_factory=dict)
    stats: dict[str, dict[str, int]] | None = None
    """Ansible's statistics by host; there only if the play came to its end."""
    foreign: dict[str, Any] | None = None
    full: bool = False
    torn: bool = False

    def host(self, name: str) -> Host:
        """Find a host, or begin to know it."""
        return self.hosts.setdefault(name, Host())

    @property
    def changed(self) -> bool:
        """Say whether anything is changed anywhere."""
        return any(host.changed for host in self.hosts.values())

    @property
    def begun(self) -> bool:
        """Say whether a task began on any host."""
        return any(host.begun for host in self.hosts.values())


def read_events(file: Path) -> Iterator[dict[str, Any] | None]:
    """Yield every event, one at a time; nothing stands for a line that is torn."""
    try:
        with file.open("rb") as lines:
            for line in lines:
                try:
                    event = json.loads(line)
                except ValueError:
                    event = None
                yield event if isinstance(event, dict) and "event" in event else None
    except FileNotFoundError:
        return


def read_play(file: Path) -> Played:
    """Fold the events of a play."""
    played = Played()
    for event in read_events(file):
        if event is None:
            played.torn = True
        else:
            _take(played, event)
    return played


def _take(played: Played, event: dict[str, Any]) -> None:
    match event["event"]:
        case "start":
            played.began = True
        case "begin":
            played.host(event["host"]).begun += 1
        case "ok" | "failed" | "unreachable":
            _take_result(played.host(event["host"]), event)
        case "stats":
            played.stats = _by_host(event)
        case "foreign":
            played.foreign = event
        case "full":
            played.full = True
        case _:
            return


def _take_result(host: Host, event: dict[str, Any]) -> None:
    result = event["result"]
    host.begun = max(host.begun, 1)
    host.changed = host.changed or _is_changed(result)
    if event["event"] == "failed" and not event.get("ignored"):
        host.failure = event
    if event["event"] == "unreachable":
        host.unreachable = event
    # Any module may answer with such a key; one alone publishes.
    for one in (result, *_items(result)) if event.get("module") in PUBLISHING else ():
        stats = one.get("ansible_stats")
        if isinstance(stats, dict) and isinstance(stats.get("data"), dict):
            host.published.update(stats["data"])


def _is_changed(result: dict[str, Any]) -> bool:
    return bool(result.get("changed")) or any(item.get("changed") for item in _items(result))


def _items(result: dict[str, Any]) -> list[dict[str, Any]]:
    items = result.get("results")
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _by_host(event: dict[str, Any]) -> dict[str, dict[str, int]]:
    names = set(event["processed"]) | set(event["dark"]) | set(event["failures"])
    counts = ("ok", "changed", "failures", "dark", "skipped", "rescued", "ignored")
    return {host: {name: event[name].get(host, 0) for name in counts} for host in sorted(names)}


def shortened(text: object) -> str:
    """Shorten a text for a report, and say so."""
    plain = " ".join(str(text).split())
    if len(plain) <= SHOWN:
        return plain
    return f"{plain[:SHOWN]}… ({len(plain) - SHOWN} more characters in events.jsonl)"


def words_of(event: dict[str, Any]) -> str:
    """Find the words in which a result says what went wrong."""
    result = event["result"]
    said = result.get("msg") or result.get("censored") or result.get("stderr")
    return said if isinstance(said, str) else json.dumps(said or result, default=str)
