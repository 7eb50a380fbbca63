"""The units that carry one firmware, as Redfish reports them: which is active, and are both well.

1. What belongs to a component says `SoftwareId`; what carries it, `RelatedItem`; what is a pair,
   a `Redundancy` that is made of exactly these; who is active, `Status.State`. Never a name.
2. Whatever is missing, doubled or unknown counts as not well.
"""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.redfish_service import (
    ROOT,
    Refused,
    Service,
    Silent,
    Trouble,
    link,
    listed,
    plain,
)

AT_WORK = ("New", "Starting", "Running", "Suspended", "Interrupted", "Pending", "Stopping",
           "Cancelling")  # fmt: skip
ACTIVE, PASSIVE, UPDATING = "Enabled", "StandbySpare", "Updating"
ACTION = "#UpdateService.SimpleUpdate"


class Unit:
    """One thing that carries the firmware: a controller, an I/O module."""

    def __init__(
        self, inventory: str, entry: dict[str, Any], device: str, body: dict[str, Any]
    ) -> None:
        status = body.get("Status")
        status = status if isinstance(status, dict) else {}
        self.inventory, self.device = inventory, device
        self.name = plain(entry.get("Id") or inventory, 60)
        self.version = plain(entry.get("Version"), 60)
        self.updateable = entry.get("Updateable") is True
        self.state = plain(status.get("State"), 40)
        self.health = plain(status.get("Health"), 40)
        self.below = status.get("HealthRollup", "OK")

    @property
    def problem(self) -> str | None:
        """Say why it is not well."""
        if self.health != "OK" or self.below not in ("OK", None):
            return f"{self.name} is {self.health if self.health != 'OK' else plain(self.below, 40)}"
        return None if self.state in (ACTIVE, PASSIVE) else f"{self.name} is {self.state}"


class Picture:
    """The units as they are now."""

    def __init__(self, units: list[Unit], pair: dict[str, Any] | None) -> None:
        self.units = sorted(units, key=lambda unit: (unit.state != PASSIVE, unit.inventory))
        self.pair = pair

    @property
    def paths(self) -> int:
        """Count the units that are well."""
        return sum(unit.problem is None for unit in self.units)

    def problem(self) -> str | None:
        """Say why no unit may be touched now."""
        ill = [unit.problem for unit in self.units if unit.problem]
        if ill or len(self.units) == 1:
            return ill[0] if ill else None
        if sorted(unit.state for unit in self.units) != [ACTIVE, PASSIVE]:
            return f"of {', '.join(u.name for u in self.units)} not one is active and one passive"
        return _pair_problem(self.pair)

    def at(self, version: str) -> int:
        """Count the units that have a version."""
        return sum(unit.version == version for unit in self.units)

    def unit(self, inventory: str) -> Unit:
        """Find a unit again."""
        for unit in self.units:
            if unit.inventory == inventory:
                return unit
        raise Trouble("no_such_component", f"{inventory} is not reported any more")


def _pair_problem(pair: dict[str, Any] | None) -> str | None:
    if pair is None:
        return "no redundancy of the two is reported"
    health = (pair.get("Status") or {}).get("Health")
    if health != "OK":
        return f"their redundancy is {plain(health, 40)}"
    needed = pair.get("MinNumNeeded", 1)
    return None if needed == 1 else f"{plain(needed, 10)} of the two are needed: none can be spared"


class Component:
    """One firmware of one service."""

    def __init__(self, service: Service, component: str, units: int) -> None:
        self._at = service
        self._component = component
        self._units = units
        self.action = ""
        """Where an update is ordered, as the service said last."""

    def look(self, within_s: float = 0.0) -> Picture:
        """Look at all units of the component; a service may be silent for as long as is said."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                return self._looked()
            except Silent:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(0.5)

    def _looked(self) -> Picture:
        at = self._at
        updates = at.get(link(at.get(ROOT).get("UpdateService")))
        self.action = str(((updates.get("Actions") or {}).get(ACTION) or {}).get("target") or "")
        units = []
        for member in at.members(link(updates.get("FirmwareInventory"))):
            entry = at.get(member)
            if entry.get("SoftwareId") == self._component:
                related = [link(one) for one in listed(entry.get("RelatedItem"))]
                if len(related) != 1:
                    raise Trouble("no_such_component", f"{member} does not name its one unit")
                units.append(Unit(member, entry, related[0], at.get(related[0])))
        if not units:
            raise Trouble("no_such_component", f"no firmware is called {self._component}")
        if len(units) != self._units:
            words = f"{len(units)} units with {self._component} are reported"
            raise Trouble("path_degraded", f"{words}, {self._units} are expected")
        return Picture(units, self._pair(units) if len(units) > 1 else None)

    def _pair(self, units: list[Unit]) -> dict[str, Any] | None:
        """Find the one redundancy that is made of exactly these units."""
        wanted = {unit.device for unit in units}
        for path in self._may_say_pairs([unit.device for unit in units]):
            for one in listed(self._at.get(path).get("Redundancy")):
                if {link(member) for member in listed(one.get("RedundancySet"))} == wanted:
                    return one
        return None

    def _may_say_pairs(self, devices: list[str]) -> Any:
        """Name the resources that may hold the redundancy: the units, and what stores things."""
        yield devices[0]
        root = self._at.get(ROOT)
        collections = [root["Storage"]] if "Storage" in root else []
        if "Systems" in root:
            for system in self._at.members(link(root["Systems"])):
                yield system
                body = self._at.get(system)
                collections += [body["Storage"]] if "Storage" in body else []
        for collection in collections:
            yield from self._at.members(link(collection))

    def at_work(self) -> list[tuple[str, dict[str, Any]]]:
        """List the tasks that are, or may be, updates under way."""
        root = self._at.get(ROOT)
        if "Tasks" not in root:
            return []
        tasks = self._at.get(link(root["Tasks"]))
        found = []
        for path in self._at.members(link(tasks.get("Tasks"))):
            try:
                body = self._at.get(path)
            except Refused:
                continue  # it has gone meanwhile
            order = body.get("Payload")
            target = str(order.get("TargetUri") or "") if isinstance(order, dict) else ""
            if body.get("TaskState") in AT_WORK and (not target or "UpdateService" in target):
                found.append((path, body))
        return found

    def busy(self, picture: Picture) -> str | None:
        """Say what is under way already."""
        tasks = self.at_work()
        if tasks:
            return f"an update is under way: {tasks[0][0]}"
        states = [unit.name for unit in picture.units if unit.state == UPDATING]
        return f"{states[0]} is being updated" if states else None
