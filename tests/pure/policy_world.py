"""Runs and surroundings for tests of policy: small, in memory, with everything that a rule asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from orchestrator.pure.events import Opened
from orchestrator.pure.model import Budget, Catalog, Inventory, InventoryObject, Param, Ticket
from orchestrator.pure.policy_facts import Surroundings
from orchestrator.pure.run import opened
from orchestrator.pure.state import shape_of
from pure.plans import DIGEST, TICKET_DIGEST, ticket

if TYPE_CHECKING:
    from orchestrator.pure.model import Plan
    from orchestrator.pure.state import Run

__all__ = ["AMSTERDAM", "NOW_MS", "around", "host", "run_of", "with_params"]

NOW_MS: Final = 1_795_568_400_000
"""2026-11-25 01:00 UTC, a Wednesday."""
AMSTERDAM: Final = {"Europe/Amsterdam": ZoneInfo("Europe/Amsterdam")}


def run_of(plan: Plan, of: Ticket | None = None, **fields: Any) -> Run:
    """Make a run that has just got this plan."""
    event = Opened(
        at_ms=NOW_MS - 5_000,
        ticket=of or ticket(),
        ticket_digest=TICKET_DIGEST,
        by="olga",
        draft="{}",
    )
    told = {"plan": plan, "plan_digest": plan.digest(), "shape": shape_of(plan), **fields}
    return opened("CHG-1.1", event)._replace(**told)


def host(name: str, *groups: str, environment: str = "staging", **labels: str) -> InventoryObject:
    """Describe a host."""
    return InventoryObject(
        name=name, environment=environment, groups=tuple(sorted(groups)), labels=labels
    )


def around(plan: Plan, *things: InventoryObject, **fields: Any) -> Surroundings:
    """Surround a plan with hosts, where rita holds operator and the tests of all actors passed."""
    budgets = (Budget(label="rack", maximum=1),)
    catalog = Catalog(
        digest=DIGEST,
        actors=plan.actors,
        evidence={name: pinned.digest for name, pinned in plan.actors.items()},
    )
    return Surroundings(
        catalog=catalog,
        inventory=Inventory(objects=things, budgets=budgets),
        inventory_digest=DIGEST,
        holds=lambda who, role: (who, role) in {("rita", "operator"), ("mia", "manager")},
        roles=("manager", "operator"),
        zones=AMSTERDAM,
        **{"others": (), "freezes": (), **fields},
    )


def with_params(plan: Plan, *params: Param) -> Plan:
    """Give the first step these params."""
    first, *others = plan.steps
    given = first.model_copy(update={"params": params})
    return plan.model_copy(update={"steps": (given, *others)})
