"""The verbs of policy authors: test, explain, mutate, backtest."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from actors.fitting import nearest
from orchestrator import show_policy as shown
from orchestrator.errors import InvalidInput
from orchestrator.ledger import Ledger
from orchestrator.local import around, read_content
from orchestrator.policy import judging, vet
from orchestrator.policy_bundle import read_bundle
from orchestrator.policy_calendar import freezes
from orchestrator.policy_edits import Grounds, mended
from orchestrator.policy_files import read_weights
from orchestrator.policy_mutants import mutated
from orchestrator.policy_past import Asked, Past, backtested
from orchestrator.policy_trials import tried
from orchestrator.pure.events import Opened, Vetted
from orchestrator.pure.model import Inventory
from orchestrator.pure.run import evolve, opened
from orchestrator.session import Session, clock_ms
from orchestrator.workspace import open_workspace
from orchestrator.workspace_files import LEDGER, find_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.local import Content
    from orchestrator.pure.levels import Weights
    from orchestrator.pure.model import Decision
    from orchestrator.pure.state import Run
    from orchestrator.settings import Settings
    from orchestrator.view import View
    from orchestrator.workspace import Workspace

__all__ = ["backtest", "explain", "mutate", "test"]

AHEAD_MS: Final = 400 * 86_400_000
"""How far ahead a window may be moved out of freezes."""


def test(view: View, where: Path | None, rule: str | None, junit: Path | None) -> int:
    """Try rules on their cases, on every engine that is here."""
    workspace = _workspace(where)
    if rule is not None:
        _refuse_unknown(rule, read_bundle(workspace.policies).rules)
    trials = tried(workspace.policies, list(workspace.settings.environments), rule)
    if junit is not None:
        _write(junit, shown.junit(trials))
    view.say(
        lambda: shown.trials_text(trials, color=view.color), lambda: shown.trials_document(trials)
    )
    return 0 if trials.passed else InvalidInput.exit_code


def mutate(view: View, where: Path | None) -> int:
    """Break the gate in every known way; each must deny."""
    workspace = _workspace(where)
    mutants = list(mutated(workspace.policies, tuple(workspace.settings.environments)))
    view.say(
        lambda: shown.mutants_text(mutants, color=view.color),
        lambda: {
            "format": 1,
            "denied": sum(mutant.denied for mutant in mutants),
            "mutants": [mutant._asdict() for mutant in mutants],
        },
    )
    return 0 if all(mutant.denied for mutant in mutants) else InvalidInput.exit_code


def explain(view: View, where: Path | None, what: str, sarif: Path | None, *, edits: bool) -> int:
    """Explain a rule, or what policy says of a run now and how it would pass."""
    workspace = _workspace(where)
    bundle = read_bundle(workspace.policies)
    environments = list(workspace.settings.environments)
    weights = read_weights(workspace.policies, bundle.modules, environments)
    rule = what.partition(".")[0]
    if rule in weights.cards:
        params = bundle.data["params"].get(rule)
        view.say(
            lambda: shown.rule_text(rule, weights, environments, params, color=view.color),
            lambda: shown.rule_document(rule, weights, environments, params),
        )
        return 0
    if not (workspace.root / LEDGER).exists():
        _refuse_unknown(what, weights.cards)
    with Session.open(where) as session:
        run = session.load(what)
    return _explained(view, workspace, run, weights, sarif, edits=edits)


def backtest(view: View, where: Path | None, wanted: Path) -> int:
    """Ask what other rules would have said of past changes."""
    workspace = _workspace(where)
    policies, state = workspace.policies, workspace.state
    asked = Asked(policies, state, _here(workspace.settings), os.environ)
    with Ledger.open(workspace.root / LEDGER) as ledger:
        pasts = list(_pasts(workspace, ledger))
    verdicts = list(backtested(pasts, asked, wanted))
    view.say(
        lambda: shown.past_text(verdicts, wanted.name, color=view.color),
        lambda: {
            "format": 1,
            "judged": len(verdicts),
            "changes": [
                {**one._asdict(), "reasons": list(one.reasons)} for one in verdicts if one.changed
            ],
        },
    )
    return 0


def _explained(
    view: View, workspace: Workspace, run: Run, weights: Weights, sarif: Path | None, *, edits: bool
) -> int:
    if run.plan is None:
        raise InvalidInput(
            f"{run.id} has no plan: policy was never asked",
            next_step=f"see why: interlock show {run.id}",
        )
    content, now_ms = read_content(workspace), clock_ms()
    with _asking(workspace, content, now_ms) as ask:
        decision = ask(run)
        found = None
        if edits and decision.denials:
            found = mended(run, _grounds(workspace, content, ask, now_ms))
    if sarif is not None:
        _write(sarif, shown.sarif(decision, weights, run.id))
    place = run.planned.environment
    view.say(
        lambda: shown.reasons_text(run.id, place, decision, weights, found, color=view.color),
        lambda: {
            "format": 1,
            "run": run.id,
            "decision": decision.model_dump(mode="json"),
            "edits": [edit._asdict() for edit in found.edits] if found else [],
            "left": [denial.model_dump(mode="json") for denial in found.left] if found else [],
        },
    )
    return 0


@contextlib.contextmanager
def _asking(
    workspace: Workspace, content: Content, now_ms: int
) -> Iterator[Callable[[Run], Decision]]:
    """Open the real gate for plans as they would be vetted now; nothing is recorded."""
    settings, here = workspace.settings, around(workspace, content, os.environ)
    if settings.policy.engine == "builtin":
        yield lambda run: vet(run, "plan", now_ms, settings)
        return
    with judging(settings, workspace.policies, workspace.state, os.environ) as judge_one:
        yield lambda run: judge_one(run, "plan", now_ms, here)


def _grounds(
    workspace: Workspace, content: Content, ask: Callable[[Run], Decision], now_ms: int
) -> Grounds:
    params = read_bundle(workspace.policies).data["params"]
    near = freezes(params, workspace.settings.environments, now_ms, now_ms + AHEAD_MS)
    catalog, inventory = content.catalog, content.inventory
    return Grounds(catalog, inventory, workspace.limits(), ask, near, now_ms)


def _here(settings: Settings) -> Settings:
    """Judge by rules in files: a server knows no candidates, and the built-in engine no rules."""
    if settings.policy.engine in ("embedded", "opa"):
        return settings
    policy = settings.policy.model_copy(update={"engine": "embedded"})
    return settings.model_copy(update={"policy": policy})


def _pasts(workspace: Workspace, ledger: Ledger) -> Iterator[Past]:
    today = workspace.inventory()
    for row in reversed(ledger.rows()):
        run: Run | None = None
        for recorded in ledger.read(row.run):
            event = recorded.event
            if run is None:
                run = opened(row.run, event) if isinstance(event, Opened) else None
                continue
            if isinstance(event, Vetted):
                inventory = _inventory_of(workspace, run.planned.inventory_digest)
                exact = inventory is not None
                yield Past(run, event.at_ms, row.phase, inventory or today, exact)
                break
            run = evolve(run, event)


def _inventory_of(workspace: Workspace, digest: str) -> Inventory | None:
    try:
        raw = workspace.frozen_inventory(digest).read_bytes()
        return Inventory.model_validate_json(raw)
    except (OSError, ValidationError):
        return None


def _workspace(where: Path | None) -> Workspace:
    return open_workspace(find_workspace(Path.cwd(), where))


def _refuse_unknown(name: str, known: object) -> None:
    names = [str(one) for one in known] if isinstance(known, (tuple, dict)) else []
    if name not in names:
        raise InvalidInput(
            f"there is no rule {name[:60]}; {nearest(name[:60], names)}",
            next_step="the rules are the files in policies/rules/",
        )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            f"{path}: cannot be written: {error.strerror}",
            next_step="name another file, or check who may write there",
        ) from None
