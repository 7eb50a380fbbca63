"""The words for phases, and what a person may type next; the only place that knows both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.show_text import Style

__all__ = ["PHASES", "TYPED", "Wording", "in_words", "next_commands", "standing", "wording"]


class Wording(NamedTuple):
    """How a phase is said, how loud, and which verbs help: (verb and its arguments, what for).

    `resume` helps where nobody drives the run, `watch` and `pause` where somebody does.
    """

    words: str
    style: Style
    verbs: tuple[tuple[str, str], ...]


_SHOW = ("show {run}", "read the plan")
_DRY = ("dry-run {run}", "check every step against the real targets; changes nothing")
_APPROVE = ("approve {run}", "consent to exactly this plan")
_CANCEL = ("cancel {run}", "call it off")
_WATCH = ("watch {run}", "follow it")
_RESUME = ("resume {run}", "let it go on")
_BACK = ("rollback {run}", "undo what was done, newest first")
_RECOVER = ("recover {run}", "see the remedies offered, and choose one")
_PAUSE = ("pause {run}", "begin nothing new for now; what is under way settles")
_REJECT = ("reject {run} --reason WHY", "say no to it")
_RUN = ("run {run}", "let it act")
_WHY = ("show {run}", "read why policy denied the start")
_AGAIN = ("run {run}", "ask again, once what was denied is mended")
_REPLAY = ("audit replay {run}", "read what happened, line by line")

PHASES: Final[Mapping[str, Wording]] = {
    "drafting": Wording("being drafted", "cyan", (_WATCH, _RESUME, _CANCEL)),
    "asking": Wording(
        "waits for an answer",
        "warn",
        (("answer {run} TEXT", "answer the planner's question"), _CANCEL),
    ),
    "vetting": Wording("being vetted", "cyan", (_WATCH, _RESUME, _CANCEL)),
    "waiting": Wording("waits for approval", "warn", (_SHOW, _DRY, _APPROVE, _REJECT)),
    "previewing": Wording("dry run", "cyan", (_WATCH, _RESUME, _CANCEL)),
    "approved": Wording("approved", "green", (_SHOW, _DRY, _RUN, _CANCEL)),
    "starting": Wording("about to start", "cyan", (_WATCH, _RESUME, _CANCEL)),
    "running": Wording("running", "cyan", (_WATCH, _RESUME, _PAUSE, _CANCEL)),
    "diagnosing": Wording("being diagnosed", "warn", (_RESUME, _RECOVER, _BACK)),
    "held": Wording("held for a person", "alarm", (_SHOW, _RECOVER, _BACK)),
    "rolling_back": Wording("going back", "warn", (_WATCH, _RESUME)),
    "returning": Wording("asked to go back", "warn", (_WATCH, _RESUME, _CANCEL)),
    "succeeded": Wording("succeeded", "green", (_REPLAY, _BACK)),
    "declined": Wording("declined", "yellow", (_SHOW, ("plan TICKET", "hand it in again, mended"))),
    "rejected": Wording("rejected", "red", (_SHOW, ("plan TICKET", "hand it in again, mended"))),
    "rolled_back": Wording("rolled back", "yellow", (_SHOW, _REPLAY)),
    "cancelled": Wording("cancelled", "yellow", (_REPLAY,)),
    "taken_over": Wording("taken over by hand", "warn", (_REPLAY,)),
}


TYPED: Final[Mapping[str, str]] = {
    "answered": "answer",
    "approved": "approve",
    "cancelled": "cancel",
    "carried": "approve --from",
    "confirmed": "confirm",
    "paused": "pause",
    "preview_requested": "dry-run",
    "rejected": "reject",
    "remedy_chosen": "recover",
    "rollback_requested": "rollback",
    "start_requested": "run",
    "unpaused": "resume",
}
"""Which verb a person types to make an event happen."""


def wording(phase: str) -> Wording:
    """Say a phase in words; one that is not known is shown as it is."""
    return PHASES.get(phase) or Wording(phase, "", (_SHOW,))


def in_words(words: str, reason: str) -> str:
    """Say how a run stands, and why, nothing twice."""
    for said in (f"{words}; ", "waiting for approval: "):
        reason = reason.removeprefix(said)
    return words if reason in ("", words) else f"{words}: {reason}"


def standing(phase: str, *, paused: bool) -> tuple[str, Style]:
    """Say how a run stands, and how loud; a pause holds up the way forward alone."""
    said = wording(phase)
    return ("paused", "warn") if paused and phase == "running" else (said.words, said.style)


def next_commands(
    phase: str, run_id: str, *, paused: bool = False, driven: bool = False, denied: bool = False
) -> list[tuple[str, str]]:
    """List what a person may type now, and what for."""
    unfit = {_RESUME} if driven else {_WATCH, _PAUSE}
    if paused and phase == "running":
        unfit = {_PAUSE} if driven else unfit
    instead = {_SHOW: _WHY, _RUN: _AGAIN} if denied and phase == "approved" else {}
    verbs = [instead.get(verb, verb) for verb in wording(phase).verbs if verb not in unfit]
    return [(f"interlock {verb.format(run=run_id)}", what_for) for verb, what_for in verbs]
