"""The outside of a local run: planner, policy, and actors in child processes of this machine."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from actors.spec import Brief, Target
from orchestrator.act_secrets import names_in, variables_in
from orchestrator.approvals import local_identities, read_trust, standing
from orchestrator.errors import Corrupted, InterlockError, Unavailable
from orchestrator.planner import propose
from orchestrator.policy import Around, refuse_unreadable, vet, withheld
from orchestrator.pure.carrying import problem_with_carried, taken_from
from orchestrator.pure.commands import Diagnose, Propose, Vet
from orchestrator.pure.consent import Purpose
from orchestrator.pure.equivalence import same_steps
from orchestrator.pure.events import Vetted
from orchestrator.pure.limits import limit_s
from orchestrator.pure.model import Denial
from orchestrator.pure.turns import inputs
from orchestrator.pure.warrant import Warrant, Warrants
from orchestrator.supervise import ChildActs
from orchestrator.workspace import inventory_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from orchestrator.pure.commands import Act
    from orchestrator.pure.events import Event
    from orchestrator.pure.model import Catalog, Decision, Inventory
    from orchestrator.pure.policy_facts import Other
    from orchestrator.pure.state import Phase, Run
    from orchestrator.pure.warrant import EarlierStep
    from orchestrator.workspace import Workspace

__all__ = ["Content", "Local", "around", "read_content", "readied"]

MAX_WARNING: Final = 500
FRESH_S: Final = 5.0
"""For so long a check counts: what a person did is vetted right after it."""
JUDGED: Final[frozenset[Phase]] = frozenset({"drafting", "vetting", "starting", "returning"})
"""Phases in which policy is asked next."""


class Content(NamedTuple):
    """What a driver judges by: all that it reads of the workspace."""

    catalog: Catalog
    folders: dict[str, Path]
    inventory: Inventory


def read_content(workspace: Workspace) -> Content:
    """Read a workspace's actors, with their folders, and its inventory."""
    catalog, folders = workspace.catalog()
    return Content(catalog, folders, workspace.inventory())


def readied(workspace: Workspace, run: Run) -> Content:
    """Read all that a run's next steps need, before anything is recorded that would begin them."""
    try:
        content = read_content(workspace)
        if run.phase in JUDGED:
            refuse_unreadable(workspace.settings, workspace.policies)
            if _needs_trust(workspace, run):
                read_trust(workspace.root, workspace.settings)
        if run.phase != "drafting":
            _refuse_changed(workspace, run, content)
    except InterlockError as error:
        # Who is refused must know whether what they did counts.
        next_step = f"{error.next_step}; nothing was recorded"
        raise type(error)(error.what, next_step=next_step, details=error.details) from None
    return content


def _refuse_changed(workspace: Workspace, run: Run, content: Content) -> None:
    plan = run.planned
    if plan.digest() != run.plan_digest:
        raise Corrupted(
            f"the plan of {run.id} does not have the digest that was recorded",
            next_step="do not run it; keep the ledger for inspection and plan anew",
        )
    actors = content.catalog.actors
    changed = [
        name
        for name, pinned in sorted(plan.actors.items())
        if name not in actors or actors[name].digest != pinned.digest
    ]
    if changed:
        raise Corrupted(
            f"actors of {run.id} have changed since it was planned: {', '.join(changed)}",
            next_step="plan the ticket anew, or put the actors back as they were",
        )
    if inventory_digest(content.inventory) != plan.inventory_digest:
        raise Corrupted(
            f"the inventory has changed since {run.id} was planned",
            next_step="plan the ticket anew, or put the inventory back as it was",
        )
    with contextlib.suppress(OSError):  # it only spares the acts from reading all files again
        workspace.freeze_inventory(content.inventory)


def _needs_trust(workspace: Workspace, run: Run) -> bool:
    # Names as they were typed are judged by no file of keys, unless signatures are demanded.
    if run.plan is None:
        return False
    rules = workspace.settings.environments.get(run.plan.environment)
    signed = any(approval.method == "sshsig" for approval in run.approvals)
    return signed or bool(rules and rules.require_signatures)


def no_others(_: Run) -> tuple[Other, ...]:
    """Know of no other run: where there is no ledger."""
    return ()


def around(
    workspace: Workspace,
    content: Content,
    environ: Mapping[str, str],
    others: Callable[[], Iterable[Other]] = tuple,
) -> Around:
    """Say what policy may know of a workspace."""
    return Around(
        policies=workspace.policies,
        state=workspace.state,
        environ=environ,
        catalog=content.catalog,
        inventory=content.inventory,
        inventory_digest=inventory_digest(content.inventory),
        others=others,
    )


@dataclass(slots=True)
class Local:
    """Everything outside the machine, on this computer."""

    workspace: Workspace
    run_now: Callable[[], Run]
    """The run as it stands when an act begins: its outputs are the inputs of later steps."""
    environ: Mapping[str, str]
    wake_fd: int | None
    run_id: str
    content: Content | None = None
    """What was read of the workspace: read once, so that a driver judges by one state of it."""
    others: Callable[[Run], Iterable[Other]] = no_others
    """What other live runs hold or want of the same things."""
    acts: ChildActs = field(init=False)
    _checked_s: float = float("-inf")
    _warrants: tuple[str, Warrants] | None = None
    _carried: tuple[str, Warrants, dict[str, str]] | None = None

    def __post_init__(self) -> None:
        self.acts = ChildActs(
            directory=self.workspace.state / "acts" / self.run_id,
            warrant_for=self._warrant,
            timeout_s_for=self._timeout_s,
            environ=self.environ,
            variables_for=self._variables,
            wake_fd=self.wake_fd,
        )

    def check(self, run: Run) -> None:
        """Refuse to go on where the workspace cannot be read or is not what was planned."""
        self.content = readied(self.workspace, run)
        if run.phase != "drafting":  # a new plan is still to be compared
            self._checked_s = time.monotonic()

    def ask(self, command: Propose | Vet | Diagnose, run: Run, now_ms: int) -> Event:
        """Ask the planner or policy."""
        match command:
            case Propose():
                return self._propose(run, now_ms)
            case Vet(mode=mode):
                if not self._fresh():
                    if mode == "start":
                        self.content = None  # a driver may have waited long for its window
                    _refuse_changed(self.workspace, run, self._read())
                decision = self._vet(run, mode, now_ms)
                return Vetted(at_ms=now_ms, plan_digest=run.plan_digest, decision=decision)
            case _:
                raise Unavailable(
                    f"{run.id} asks for a RecoveryAgent, and none is configured",
                    next_step=f"choose a remedy yourself: interlock recover {run.id}",
                )

    def _fresh(self) -> bool:
        return time.monotonic() - self._checked_s <= FRESH_S

    def _vet(self, run: Run, mode: str, now_ms: int) -> Decision:
        # Policy sees only consent that stands now; what does not is said in its warnings.
        settings, environment = self.workspace.settings, run.planned.environment
        if not _needs_trust(self.workspace, run):
            return vet(run, mode, now_ms, settings, self._around(run))
        trust = read_trust(self.workspace.root, settings)
        purpose = Purpose(
            run=run.id,
            plan_digest=run.plan_digest,
            environment=environment,
            trust_digest=trust.digest(settings, environment),
            now_ms=now_ms,
        )
        unlike = problem_with_carried(run)
        if unlike is None:
            purpose = purpose._replace(earlier=taken_from(run))
        good, problems = standing(run.approvals, trust, purpose)
        run = run._replace(approvals=good)
        decision = vet(run, mode, now_ms, settings, self._around(run))
        said = (*((unlike,) if unlike else ()), *problems, *local_identities(good, trust))
        warnings = tuple(Denial(rule="consent", message=words[:MAX_WARNING]) for words in said)
        return decision.model_copy(update={"warnings": (*decision.warnings, *warnings)})

    def _around(self, run: Run) -> Around:
        return around(self.workspace, self._read(), self.environ, lambda: self.others(run))

    def _propose(self, run: Run, now_ms: int) -> Event:
        catalog, _, inventory = self._read()
        here = around(self.workspace, self._read(), self.environ)
        hidden = withheld(run.ticket, run.by, now_ms, self.workspace.settings, here)
        limits = replace(self.workspace.limits(), withheld=hidden)
        return propose(run, now_ms, catalog=catalog, inventory=inventory, limits=limits)

    def _warrant(self, act: Act, directory: Path) -> Warrant:
        run = self.run_now()
        if self._warrants is None or self._warrants[0] != run.plan_digest:
            self._warrants = (run.plan_digest, Warrants(run.planned))
        index = run.shaped.place[act.step]
        brief = self._brief(run, index, act, directory)
        return self._warrants[1].make(
            run.id,
            index,
            brief,
            approvals=run.approvals,
            settings=self.workspace.kind_settings(brief.spec.kind),
            earlier=self._earlier(run, act.step),
        )

    def _earlier(self, run: Run, name: str) -> EarlierStep | None:
        event = run.carried
        if event is None:
            return None
        if self._carried is None or self._carried[0] != run.plan_digest:
            names = same_steps(run.planned, event.earlier_plan)
            if names is None:
                raise Corrupted(
                    f"the plan of {event.earlier_run} is not equivalent to that of {run.id}",
                    next_step="do not run it; keep the ledger for inspection and plan anew",
                )
            self._carried = (run.plan_digest, Warrants(event.earlier_plan), names)
        _, warrants, names = self._carried
        return warrants.earlier(event.earlier_run, names[name])

    def _variables(self, warrant: Warrant) -> dict[str, str]:
        sources = self.workspace.settings.secrets
        wanted = variables_in(names_in(warrant.step).values(), sources) if sources else ()
        return {name: self.environ[name] for name in wanted if name in self.environ}

    def _brief(self, run: Run, index: int, act: Act, directory: Path) -> Brief:
        _, folders, inventory = self._read()
        objects = {thing.name: thing for thing in inventory.objects}
        step, spec = run.shaped.steps[index], run.actor(index)
        return Brief(
            key=f"{run.id}/{act.step}/{act.verb}/{act.attempt}",
            verb=act.verb,
            attempt=act.attempt,
            folder=str(folders[step.actor]),
            spec=spec,
            params=inputs(run, index),
            targets=tuple(
                Target(
                    name=name,
                    object=objects[name].object,
                    labels=objects[name].labels,
                    connection=objects[name].connection,
                )
                for name in step.targets
            ),
            timeout_s=self._timeout_s(act),
            workdir=str(directory),
            unchanged=run.step(index).unchanged if run.work else (),
        )

    def _timeout_s(self, act: Act) -> int:
        run = self.run_now()
        return limit_s(run.actor(run.shaped.place[act.step]).timeouts, act.verb)

    def _read(self) -> Content:
        if self.content is None:
            self.content = read_content(self.workspace)
        return self.content
