"""What an act's process finds out for itself, so that a driver that lies gets no effect.

1. The workspace is the one in which the act's directory lies; where the machine lists the
   workspaces it serves (`/etc/interlock/workspaces`), it is one of those.
2. Settings, rules of consent, keys and inventory are read from there, not from the warrant.
3. Secrets are told after consent only, also for a verb that needs none, but where `interlock.yaml`
   lets a dry run have them.
4. To apply and to undo needs the consent that the environment asks for, signatures verified here.
5. Consent that was carried over from an earlier run counts for one run only, and only while that
   earlier run has not acted: whichever begins first, the other no longer can.
6. An approval that ran out does not keep a change from being undone; a revoked key does.

What this cannot do: whoever may write the workspace, or acts as this user without this process, is
not held by it. That is what accounts are for; `docs/adr` says how to set them apart.
"""

from __future__ import annotations

import contextlib
import os
import stat
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from actors.spec import Target
from orchestrator.act_secrets import names_in
from orchestrator.approvals import read_trust, standing
from orchestrator.errors import InterlockError
from orchestrator.pure.consent import Earlier, Purpose, missing_approvals
from orchestrator.pure.model import Inventory
from orchestrator.workspace import inventory_digest, open_workspace
from orchestrator.workspace_files import MARKER, STATE

if TYPE_CHECKING:
    from orchestrator.pure.model import InventoryObject
    from orchestrator.pure.warrant import Warrant
    from orchestrator.workspace import Workspace

__all__ = ["MACHINE", "problem_with_act", "problem_with_secrets", "workspace_of"]

MACHINE: Final = Path("/etc/interlock/workspaces")
"""One path a line; only root may write it. Where it is, acts are done for these workspaces only."""
CHANGING: Final = ("apply", "undo")
LASTING: Final = ("undo", "verify")
"""What may have to be done when an approval ran out meanwhile."""
CARRIED: Final = "carried"
"""The folder that holds, for each run whose approvals were carried over, where to."""


def problem_with_act(
    warrant: Warrant, directory: Path, now_ms: int, machine: Path = MACHINE
) -> str | None:
    """Say why an act must not begin here and now, or nothing."""
    real = Path(os.path.realpath(directory))
    brief = warrant.brief
    if real.name != f"{warrant.step.id}.{brief.verb}.{brief.attempt}":
        return "its directory is another act's"
    if real.parent.name != warrant.run or real.parts[-4:-2] != (STATE, "acts"):
        return "its directory is not among the run's acts"
    try:
        problem = _problem_with_machine(real.parents[3], machine)
        if problem:
            return problem
        workspace = workspace_of(directory)
        return _problem_with_brief(warrant, workspace) or _problem_with_consent(
            warrant, workspace, now_ms
        )
    except InterlockError as error:
        return f"{error.what}; {error.next_step}"


def problem_with_secrets(warrant: Warrant, directory: Path, now_ms: int) -> str | None:
    """Say why an act that needs no consent must not be told its step's secrets, or nothing."""
    if warrant.brief.verb in CHANGING:
        return None
    workspace = workspace_of(directory)
    if warrant.brief.verb == "check":
        sources = workspace.settings.secrets
        if all(n in sources and sources[n].dry_run for n in names_in(warrant.step).values()):
            return None
    try:
        return _missing_consent(warrant, workspace, now_ms)
    except InterlockError as error:
        return f"{error.what}; {error.next_step}"


def workspace_of(directory: Path) -> Workspace:
    """Open the workspace in which the directory of an act lies."""
    return open_workspace(Path(os.path.realpath(directory)).parents[3])


def _problem_with_machine(root: Path, machine: Path) -> str | None:
    try:
        status = machine.stat()
        listed = machine.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return f"{machine} cannot be read"
    if status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{machine} can be changed by others than root"
    return None if str(root) in listed else f"{machine} does not list {root}"


def _problem_with_brief(warrant: Warrant, workspace: Workspace) -> str | None:
    brief = warrant.brief
    playbooks = os.path.realpath(workspace.playbooks)
    if not Path(os.path.realpath(brief.folder)).is_relative_to(playbooks):
        return "the actor's folder is not the workspace's"
    if dict(warrant.settings) != workspace.kind_settings(brief.spec.kind):
        return f"the settings of the kind {brief.spec.kind} are not those in {MARKER}"
    objects = _objects(workspace, str(warrant.header.get("inventory_digest")))
    if objects is None:
        return "the inventory is not the one that the plan was made for"
    for target in brief.targets:
        thing = objects.get(target.name)
        if thing is None or target != _target(thing):
            return f"{target.name} is not described as in the inventory"
    return None


def _problem_with_consent(warrant: Warrant, workspace: Workspace, now_ms: int) -> str | None:
    if warrant.brief.verb not in CHANGING:
        return None
    problem = _missing_consent(warrant, workspace, now_ms)
    return problem or _problem_with_runs(warrant, workspace)


def _missing_consent(warrant: Warrant, workspace: Workspace, now_ms: int) -> str | None:
    settings, environment = workspace.settings, str(warrant.header.get("environment"))
    rules = settings.environments.get(environment)
    if rules is None:
        return f"{MARKER} has no rules for the environment {environment}"
    if not rules.approvals:
        return None
    trust = read_trust(workspace.root, settings)
    purpose = Purpose(
        run=warrant.run,
        plan_digest=warrant.plan_digest,
        environment=environment,
        trust_digest=trust.digest(settings, environment),
        now_ms=now_ms,
        going_back=warrant.brief.verb in LASTING,
        earlier=_earlier(warrant),
    )
    good, problems = standing(warrant.approvals, trust, purpose)
    if rules.require_signatures:
        good = tuple(approval for approval in good if approval.method == "sshsig")
    missing = missing_approvals(good, rules.approvals, never=(), holds=settings.holds)
    if not missing:
        return None
    wanted = ", ".join(f"{m.count} x {m.role}" for m in missing)
    return "; ".join([f"consent is missing: {wanted}", *problems])


def _earlier(warrant: Warrant) -> Earlier | None:
    """Say for which earlier plan consent may have been given; that it holds the step is known."""
    earlier = warrant.earlier
    return None if earlier is None else Earlier(earlier.run, earlier.plan_digest)


def _problem_with_runs(warrant: Warrant, workspace: Workspace) -> str | None:
    """See that an approval serves one run: first leave word, then look, so that two cannot miss."""
    state = workspace.state
    gone_to = _carried_to(state, warrant.run)
    if gone_to is not None and warrant.approvals:
        return f"its approvals were carried over to {gone_to}"
    if warrant.earlier is None:
        return None
    earlier = warrant.earlier.run
    if "/" in earlier or earlier.startswith("."):
        return f"{earlier} is no run"
    folder = state / CARRIED
    folder.mkdir(mode=0o700, exist_ok=True)
    # Linked, so that whoever finds it finds it whole: acts of one run begin side by side.
    beside = folder / f".{os.getpid()}"
    beside.write_text(warrant.run, encoding="utf-8")
    with contextlib.suppress(FileExistsError):
        (folder / earlier).hardlink_to(beside)
    beside.unlink()
    if _carried_to(state, earlier) != warrant.run:
        return f"the approvals of {earlier} were carried over to another run"
    acts = state / "acts" / earlier
    names = [path.name for path in acts.iterdir()] if acts.exists() else []
    if any(name.split(".")[-2] in CHANGING for name in names if name.count(".") >= 2):
        return f"{earlier}, from which its approvals were carried over, has acted itself"
    return None


def _carried_to(state: Path, run: str) -> str | None:
    try:
        return (state / CARRIED / run).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _objects(workspace: Workspace, wanted: str) -> dict[str, InventoryObject] | None:
    """Read the inventory with this digest: the copy kept by its digest, or else the files."""
    try:
        raw = workspace.frozen_inventory(wanted).read_bytes()
        kept = sha256(raw).hexdigest() == wanted
        inventory = Inventory.model_validate_json(raw) if kept else workspace.inventory()
    except (OSError, ValueError):
        kept, inventory = False, workspace.inventory()
    if not kept and inventory_digest(inventory) != wanted:
        return None
    return {thing.name: thing for thing in inventory.objects}


def _target(thing: InventoryObject) -> Target:
    return Target(
        name=thing.name, object=thing.object, labels=thing.labels, connection=thing.connection
    )
