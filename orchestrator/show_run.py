"""A run on paper: its ticket, policy's decision, consent, the dry run, incidents, what is next."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from orchestrator.denied import is_denied
from orchestrator.pure.preview import grades
from orchestrator.show_events import remedy_words
from orchestrator.show_text import Span, clean, count, hidden, instant, joined, short
from orchestrator.show_words import next_commands, standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.pure.model import (
        Decision,
        Denial,
        Obligations,
        Remedy,
        Ticket,
        WaiverUse,
    )
    from orchestrator.pure.state import Run
    from orchestrator.show_text import Page, Style

__all__ = [
    "add_approvals",
    "add_decision",
    "add_head",
    "add_incidents",
    "add_next",
    "add_preview",
]

MOST: Final = 40
NAMED: Final = 4
MOST_DIFF_LINES: Final = 60
"""So many lines of one diff are shown; the rest is counted."""
MOST_REQUEST: Final = 600
GRADES: Final[tuple[tuple[str, Style, str], ...]] = (
    ("predicted", "green", "in full"),
    ("partial", "yellow", "in part"),
    ("none", "red", "not at all"),
)

DIFF: Final[dict[str, Style]] = {"+": "green", "-": "red", "@": "cyan"}


def add_head(page: Page, run: Run) -> None:
    """Say which run this is and where it stands."""
    words, style = standing(run.phase, paused=run.paused)
    page.line(Span(run.id, "bold"), "  ", Span(words, style), "  ", run.ticket.title)
    if run.reason:
        page.field("why", run.reason, style)
    if words == "paused":
        page.field("paused", "no new act begins until a person lets it go on", "warn")
    _add_ticket(page, run.ticket, run.by)
    page.field("opened", instant(run.opened_ms))
    if run.plan_digest:
        page.field("digest", run.plan_digest, "bold")
    if run.revision:
        page.field("plan no.", f"{run.revision + 1}: an earlier plan went back")


def _add_ticket(page: Page, ticket: Ticket, by: str) -> None:
    page.field("ticket", f"{ticket.id}, {ticket.ticket_class} change, risk {ticket.risk}")
    handed = f", handed in by {by}" if by != ticket.requester else ""
    page.field("requester", f"{ticket.requester}{handed}")
    page.field("where", ticket.environment)
    request = " ".join(clean(ticket.request).split())
    if request:
        whole = len(request) <= MOST_REQUEST
        page.field("request", request if whole else f"{request[:MOST_REQUEST].rstrip()}…")
    unseen = hidden(ticket.title) + hidden(ticket.request)
    if unseen:
        what = count(unseen, "character")
        page.field("beware", f"the ticket's words held {what} that nobody can see", "warn")
    if ticket.targets:
        page.field("within", joined(ticket.targets, 8))


def add_next(page: Page, run: Run, *, driven: bool = False) -> None:
    """Say what a person may type now."""
    page.head("NEXT")
    denied = is_denied(run)
    page.commands(next_commands(run.phase, run.id, paused=run.paused, driven=driven, denied=denied))


# --- policy and consent -------------------------------------------------------------------------


def add_decision(page: Page, decision: Decision) -> None:
    """Show policy's answer, reasons first."""
    denied = decision.outcome == "deny"
    words = "denied" if denied else "allowed"
    page.head("POLICY", note=f"{decision.engine}, policy {short(decision.policy_digest)}")
    if not denied and decision.missing:
        page.field("decision", "allowed, once the missing approvals are given", "yellow")
    else:
        page.field("decision", words, "alarm" if denied else "green")
    _add_denials(page, "denial", decision.denials, "red")
    _add_denials(page, "warning", decision.warnings, "yellow")
    for missing in decision.missing:
        page.field("missing", f"{count(missing.count, 'approval')} by {missing.role}", "warn")
    _add_obligations(page, decision.obligations)
    for use in decision.waivers:
        _add_waiver(page, use)


def _add_obligations(page: Page, bound: Obligations) -> None:
    if bound.max_parallel is not None:
        page.field("obligation", f"at most {count(bound.max_parallel, 'step')} at a time")
    if bound.stop_after is not None:
        slices = count(bound.stop_after, "failed slice")
        page.field("obligation", f"goes back after {slices} of a wave")
    if bound.not_after_ms is not None:
        page.field("obligation", f"nothing forward begins after {instant(bound.not_after_ms)}")


def _add_denials(page: Page, label: str, denials: Sequence[Denial], style: Style) -> None:
    for denial in denials[:MOST]:
        _add_denial(page, label, denial, style)
    if len(denials) > MOST:
        page.field(label, f"… and {len(denials) - MOST:,} more: interlock show RUN --json", style)


def _add_denial(page: Page, label: str, denial: Denial, style: Style) -> None:
    where = f"{denial.step}: " if denial.step else ""
    others = (denial.count or 1) - 1
    more = f" (and {count(others, 'more step')})" if others else ""
    name = f"{denial.rule}.{denial.finding}" if denial.finding else denial.rule
    level = f", {denial.level}" if denial.level else ""
    waived = f", waived by {denial.waiver}" if denial.waiver else ""
    page.field(label, f"{where}{denial.message}{more}  [{name}{level}{waived}]", style)
    if denial.edit:
        page.field("", f"would pass: {denial.edit}")


def _add_waiver(page: Page, use: WaiverUse) -> None:
    styles: dict[str, Style] = {"applied": "warn", "expired": "alarm", "unused": "dim"}
    until = f"{'since' if use.state == 'expired' else 'until'} {instant(use.until_ms)}"
    words = f"{use.id}, {use.state}: {use.rule}, {until}, {use.owner} ({use.ticket}): {use.reason}"
    page.field("waiver", words, styles[use.state])


def add_approvals(page: Page, run: Run) -> None:
    """List who consented, and to what, where it was not to this very plan."""
    if not run.approvals:
        return
    page.head("APPROVALS")
    for given in run.approvals:
        signed = "signed" if given.method == "sshsig" else "typed, not signed"
        words = f"{given.role}, {signed}, at {instant(given.issued_ms)}"
        page.field(given.principal, f"{words}, until {instant(given.expires_ms)}")
    event = run.carried
    if event is not None:
        names = ", ".join(given.principal for given in event.approvals)
        words = f"{names} signed the plan {short(event.earlier_digest)} of {event.earlier_run}"
        page.field("carried over", f"{words}; {event.by} carried it over", "yellow")
        page.field("", "the two plans differ in the names and the order of their steps alone")


# --- the dry run --------------------------------------------------------------------------------


def add_preview(page: Page, run: Run, *, diffs: bool = True) -> None:
    """Show what the dry run predicts, and say plainly what it could not."""
    preview = run.preview
    if preview is None:
        return
    page.head("DRY RUN", note="nothing was changed; predicted:")
    counts, total = grades(run), len(run.shaped.steps)
    for grade, style, words in GRADES:
        if counts[grade]:
            share = f"{counts[grade] * 100 // total}%"
            page.field(words, f"{counts[grade]:,} of {count(total, 'step')} ({share})", style)
    if preview.left:
        page.field("open", f"{preview.left:,} checks have not reported", "warn")
    if counts["none"] or counts["partial"]:
        page.field("beware", "what was not predicted may do more than is shown here", "warn")
    _add_predictions(page, run, diffs=diffs)


def _add_predictions(page: Page, run: Run, *, diffs: bool) -> None:
    # Steps of which the same was said are shown once, those that would change something first.
    steps, alike = run.shaped.steps, dict[tuple[object, ...], list[int]]()
    for index in range(len(steps)):
        said = run.previewing.results.get(index)
        if said is not None:
            actor = "" if said.changes else steps[index].actor
            what = tuple(dict.fromkeys((change.summary, change.diff) for change in said.changes))
            alike.setdefault((not what, said.grade, said.message, what, actor), []).append(index)
    groups = sorted(alike.values(), key=lambda found: not run.previewing.results[found[0]].changes)
    for indices in groups[:MOST]:
        _add_prediction(page, run, indices, diffs=diffs)
    rest = sum(len(indices) for indices in groups[MOST:])
    if rest:
        page.line(Span(f"… and {count(rest, 'more step', 'more steps')}", "dim"), indent=2)


def _add_prediction(page: Page, run: Run, indices: Sequence[int], *, diffs: bool) -> None:
    results = [run.previewing.results[index] for index in indices]
    first, steps = results[0], run.shaped.steps
    names = joined((steps[index].id for index in indices[:NAMED]), NAMED, len(indices))
    style, words = next((style, words) for grade, style, words in GRADES if grade == first.grade)
    if not first.changes:
        said = first.message or ("no change" if first.grade == "predicted" else "nothing was said")
        page.words(f"{names}: {said}", "red" if first.grade == "none" else "dim", indent=2, hang=2)
        return
    changes = count(sum(len(result.changes) for result in results), "change")
    page.line(Span(names, "bold"), f"  {changes}, predicted ", Span(words, style), indent=2)
    if first.message:
        page.words(first.message, indent=4, hang=2)
    where: dict[tuple[str, str], list[str]] = {}
    for change in (change for result in results for change in result.changes):
        where.setdefault((change.summary, change.diff), []).append(change.target or "")
    for (summary, diff), targets in islice(where.items(), MOST):
        on = joined(dict.fromkeys(filter(None, targets)), NAMED)
        page.words(f"{on}: {summary}" if on else summary, indent=4, hang=2)
        if diff and diffs:
            _add_diff(page, diff)
    if len(where) > MOST:
        page.line(Span(f"… and {len(where) - MOST:,} other changes", "dim"), indent=4)


def _add_diff(page: Page, diff: str) -> None:
    lines = diff.splitlines()
    for line in lines[:MOST_DIFF_LINES]:
        page.line(Span(line, _diff_style(line)), indent=6)
    if len(lines) > MOST_DIFF_LINES:
        rest = count(len(lines) - MOST_DIFF_LINES, "line")
        page.line(Span(f"… and {rest} more of this diff", "dim"), indent=6)


def _diff_style(line: str) -> Style:
    if line.startswith(("+++", "---")):
        return "bold"
    return DIFF.get(line[:1], "dim")


# --- incidents ----------------------------------------------------------------------------------


def add_incidents(page: Page, run: Run, offered: Sequence[Remedy]) -> None:
    """Show what nobody foresaw, and what may be chosen."""
    if not run.incidents and not offered:
        return
    page.head("INCIDENTS", "alarm", note=f"{len(run.incidents)} open")
    why = {
        "unexpected": "unexpected",
        "in_doubt": "nobody knows whether it happened",
        "undo_failed": "its undo failed",
        "slices_failed": "slices failed",
    }
    for incident in run.incidents[:MOST]:
        page.line(
            Span(incident.step, "bold"),
            Span(f"  {incident.verb}: {why[incident.reason]}", "red"),
            indent=2,
        )
        page.words(incident.message, indent=4, hang=2)
    if len(run.incidents) > MOST:
        page.line(Span(f"… and {len(run.incidents) - MOST:,} more", "dim"), indent=2)
    if not offered:
        return
    page.line()
    page.line("One of these may be chosen:", indent=2)
    rows = [
        (
            f"interlock recover {run.id} {remedy.name}",
            remedy_words(remedy.kind, remedy.step),
        )
        for remedy in offered[:MOST]
    ]
    page.commands(rows, indent=4)
    if len(offered) > MOST:
        page.line(Span(f"… and {len(offered) - MOST:,} more", "dim"), indent=4)
