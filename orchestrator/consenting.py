"""How a person consents: sees the plan, shows that they read it, and signs exactly that.

1. What is asked for is a number or a name that stands in the plan, never yes or no.
2. Where nobody can be asked, the digest is handed in; for a point of no return that answer as well.
3. An approval that would not count is refused here, with the reason, and nothing is recorded.
4. What was signed for an equivalent plan is carried over as it is; nobody signs in another's place.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator import show as shown
from orchestrator.approvals import problem_with, read_trust, signed, signed_by_agent, standing
from orchestrator.approvals_signers import LOCAL
from orchestrator.approvals_ssh import make_key
from orchestrator.errors import InvalidInput
from orchestrator.pure.canonical import digest as digest_of
from orchestrator.pure.carrying import is_free
from orchestrator.pure.consent import NAMESPACE, Purpose, requested_by
from orchestrator.pure.equivalence import equivalence_digest
from orchestrator.pure.events import Carried
from orchestrator.pure.model import Approval, Seen
from orchestrator.session import login_name
from orchestrator.workspace import open_workspace
from orchestrator.workspace_files import MARKER, STATE, find_workspace

if TYPE_CHECKING:
    from orchestrator.approvals import Trust
    from orchestrator.pure.model import Plan
    from orchestrator.pure.state import Run
    from orchestrator.view import View
    from orchestrator.workspace import Workspace

__all__ = ["Pen", "carry", "consent", "make_identity", "refuse_unread", "view_digest"]

DIGEST_SHOWN: Final = 12
"""So many characters of a digest tell one plan from another."""
PAGE: Final = 100
NAME: Final = 100
"""So much of a name that somebody typed is said back."""


@dataclass(frozen=True, slots=True)
class Pen:
    """With what a person signs: a key file, the agent, or nothing but their word."""

    key: Path | None = None
    agent: bool = False


def consent(
    workspace: Workspace, run: Run, *, who: str, role: str, pen: Pen, head: str, now_ms: int
) -> Approval:
    """Make the approval of a plan that was read, signed where there is a pen."""
    settings, environment = workspace.settings, run.planned.environment
    _refuse_unheld(workspace, run, who, role)
    rules = settings.environments.get(environment)
    has_pen = pen.agent or pen.key is not None
    if rules and rules.require_signatures and not has_pen:
        raise InvalidInput(
            f"{environment} counts only signed approvals; nothing was recorded",
            next_step=f"sign it: interlock approve {run.id} --key ~/.ssh/id_ed25519, or --agent",
        )
    if has_pen and settings.allowed_signers is None:
        raise InvalidInput(
            f"{MARKER} names no allowed_signers, so that no signature could count",
            next_step=f"name the file of keys in {MARKER}: allowed_signers: allowed_signers",
        )
    trust = read_trust(workspace.root, settings)
    approval = Approval(
        principal=who,
        role=role,
        run=run.id,
        environment=environment,
        plan_digest=run.plan_digest,
        nonce=secrets.token_hex(16),
        issued_ms=now_ms,
        expires_ms=now_ms + settings.approval_hours * 3_600_000,
        method="sshsig" if has_pen else "claimed",
        seen=_seen(run, trust.digest(settings, environment), head),
    )
    return _signed(approval, trust, pen) if has_pen else approval


def carry(workspace: Workspace, run: Run, earlier: Run, *, by: str, now_ms: int) -> Carried:
    """Let the consent that an earlier run has count for the equivalent plan of another."""
    settings, environment = workspace.settings, run.planned.environment
    if earlier.id == run.id or not is_free(earlier, run.id):
        same_run = earlier.id == run.id
        state = "that run itself" if same_run else earlier.phase.replace("_", " ")
        raise InvalidInput(
            f"{earlier.id} is {state}: its consent does not go over; nothing was recorded",
            next_step="consent goes over from a run that waits or is approved, and has not acted",
        )
    same = equivalence_digest(run.planned)
    if equivalence_digest(earlier.planned) != same:
        raise InvalidInput(
            f"the plans of {earlier.id} and {run.id} differ in more than names and order of their "
            "steps: consent does not go over; nothing was recorded",
            next_step=f"see what differs: interlock diff {earlier.id} {run.id}; then approve it",
        )
    trust = read_trust(workspace.root, settings)
    purpose = Purpose(
        run=earlier.id,
        plan_digest=earlier.plan_digest,
        environment=environment,
        trust_digest=trust.digest(settings, environment),
        now_ms=now_ms,
    )
    asked = requested_by(run.ticket.requester, run.by)
    signed_ = [a for a in earlier.approvals if a.run == earlier.id and a.method == "sshsig"]
    good, problems = standing([a for a in signed_ if a.principal not in asked], trust, purpose)
    if not good:
        raise InvalidInput(
            f"{earlier.id} has no signed approval that could go over to {run.id}; "
            "nothing was recorded",
            next_step=f"ask for new ones: interlock approve {run.id} --key KEY",
            details=problems,
        )
    return Carried(
        at_ms=now_ms,
        by=by,
        plan_digest=run.plan_digest,
        earlier_run=earlier.id,
        earlier_digest=earlier.plan_digest,
        earlier_plan=earlier.planned,
        equivalence_digest=same,
        approvals=good,
    )


def view_digest(run: Run) -> str:
    """Take the digest of what is shown to approvers, as plain text 100 characters wide."""
    return sha256(_page(run, PAGE, color=False).encode()).hexdigest()


def refuse_unread(view: View, run: Run, digest: str | None, answer: str | None) -> None:
    """Make sure that the person saw this plan: by its digest, by a number or a name in it."""
    question, expected = _question(run)
    if digest is not None:
        _refuse_other_digest(run, digest)
        if _finals(run.planned) and answer is None:
            raise InvalidInput(
                f"{run.id} has a point of no return; nothing was recorded",
                next_step=f"say also with --answer: {question}",
            )
        if answer is not None:
            _refuse_other_answer(run, answer, expected)
        return
    if not view.can_ask:
        raise InvalidInput(
            f"there is no terminal here to ask whether you reviewed {run.id}",
            next_step=f"give the digest that `interlock show {run.id}` told you: "
            f"interlock approve {run.id} --digest DIGEST",
        )
    page = _page(run, view.width, color=view.color)
    _refuse_other_answer(run, view.ask(page, f"To approve, type {question}: "), expected)


def make_identity(view: View, where: Path | None, principal: str | None) -> int:
    """Make a key for trying out, and let it sign in this workspace."""
    workspace = open_workspace(find_workspace(Path.cwd(), where))
    who, named = principal or login_name(), workspace.settings.allowed_signers
    if named is None:
        raise InvalidInput(
            f"{MARKER} names no allowed_signers, so that no key could count",
            next_step=f"add `allowed_signers: allowed_signers` to {MARKER}, then try again",
        )
    folder = workspace.root / STATE / "identity"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key, signers = folder / who, workspace.root / named
    if os.path.lexists(key):
        raise InvalidInput(
            f"{key}: is there already", next_step=f"sign with it: interlock approve RUN --key {key}"
        )
    public = make_key(key, f"{LOCAL} {who}")
    words = public.split(" ")
    line = f'{who} namespaces="{NAMESPACE}" {words[0]} {words[1]} {LOCAL}\n'
    before = signers.read_bytes() if signers.exists() else b""
    gap = "\n" if before and not before.endswith(b"\n") else ""
    with signers.open("a", encoding="ascii") as file:
        file.write(gap + line)
    read_trust(workspace.root, workspace.settings)
    view.say(
        lambda: (
            f"a local identity for {who}, for trying out only: its key has no passphrase and "
            f"lies in {key}\n  next: interlock approve RUN --as {who} --key {key}"
        ),
        lambda: {"format": 1, "key": str(key), "principal": who, "local": True},
    )
    return 0


def _page(run: Run, width: int, *, color: bool) -> str:
    pages = [shown.run_text(run, width=width, color=color)]
    if run.preview is not None:
        pages.append(shown.preview_text(run, width=width, color=color))
    return "\n".join(pages)


def _seen(run: Run, trust_digest: str, head: str) -> Seen:
    decision = run.decision.model_dump(mode="json") if run.decision else None
    return Seen(
        requested_by=requested_by(run.ticket.requester, run.by),
        ticket_digest=run.ticket_digest,
        equivalence_digest=equivalence_digest(run.planned),
        view_digest=view_digest(run),
        decision_digest=digest_of(decision),
        trust_digest=trust_digest,
        ledger_head=head,
    )


def _signed(approval: Approval, trust: Trust, pen: Pen) -> Approval:
    if pen.key is not None:
        approval = signed(approval, pen.key, os.environ)
    else:
        approval = signed_by_agent(approval, trust, os.environ)
    seen = approval.seen
    purpose = Purpose(
        run=approval.run,
        plan_digest=approval.plan_digest,
        environment=approval.environment,
        trust_digest=seen.trust_digest if seen else "",
        now_ms=approval.issued_ms,
    )
    problem = problem_with(approval, trust, purpose)
    if problem:
        raise InvalidInput(
            f"{approval.principal}'s signature does not count: {problem}; nothing was recorded",
            next_step="sign with a key that the workspace allows for you, or name yourself "
            "with --as",
        )
    return approval


def _refuse_unheld(workspace: Workspace, run: Run, who: str, role: str) -> None:
    if not workspace.settings.holds(who, role):
        raise InvalidInput(
            f"{who[:NAME]} does not hold the role {role[:NAME]}; nothing was recorded",
            next_step=f"ask somebody who does (roles in {MARKER})",
        )
    if who in (run.by, run.ticket.requester):
        raise InvalidInput(
            f"{who[:NAME]} asked for {run.id} or opened it: a requester's own consent never counts",
            next_step="ask somebody else who holds the role",
        )


def _finals(plan: Plan) -> list[str]:
    final = {name for name, pinned in plan.actors.items() if pinned.spec.point_of_no_return}
    return [step.id for step in plan.steps if step.gate is None and step.actor in final]


def _question(run: Run) -> tuple[str, str]:
    targets = list(dict.fromkeys(name for step in run.planned.steps for name in step.targets))
    finals = _finals(run.planned)
    lost = f"after {', '.join(finals[:4])} there is no way back; " if finals else ""
    if finals and len(targets) == 1:
        return f"{lost}the name of the only target that {run.id} touches", targets[0]
    return f"{lost}the number of targets that {run.id} touches", str(len(targets))


def _refuse_other_digest(run: Run, digest: str) -> None:
    if len(digest) < DIGEST_SHOWN:
        raise InvalidInput(
            f"'{digest}' is too short to tell one plan from another",
            next_step=f"give at least {DIGEST_SHOWN} characters of the digest",
        )
    if not run.plan_digest.startswith(digest.lower()):
        raise InvalidInput(
            f"'{digest[:64]}' is not the digest of the plan of {run.id}; nothing was recorded",
            next_step=f"read what would be approved: interlock show {run.id}",
        )


def _refuse_other_answer(run: Run, answer: str, expected: str) -> None:
    if answer != expected:
        raise InvalidInput(
            f"'{answer[:64]}' is not what the plan of {run.id} touches; nothing was recorded",
            next_step=f"read it once more: interlock show {run.id}",
        )
