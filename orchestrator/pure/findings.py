"""Findings: how the ladder says why a draft does not compile, and what the smallest edit would be.

1. Every code stands in `CODES`; none is ever renamed or reused, since people and planners quote it.
2. A report is sorted and bounded: at most `REPORTED` findings, then one that counts the others.
3. An edit names one place of the draft to add, replace or remove; `apply_edit` does just that.
"""

from __future__ import annotations

import difflib
from bisect import bisect_left
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from actors.spec import SecretRef
from orchestrator.pure.draft import Edit, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actors.strict import Json, UnreadableError

__all__ = [
    "CODES",
    "Names",
    "Path",
    "add",
    "apply_edit",
    "finding",
    "listed",
    "remove",
    "replace",
    "report",
    "unreadable",
]

Path = tuple[str | int, ...]

CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "R0-unreadable": "two readers could take the text for two different values",
        "R0-too-large": "the draft has more bytes than are read",
        "R0-too-many-steps": "the draft has more steps than are compiled",
        "R1-not-an-object": "a place that needs an object holds something else",
        "R1-wrong-decision": "the decision is not plan, refuse or ask",
        "R1-missing-field": "a field that must be there is missing",
        "R1-unknown-field": "a field that does not exist",
        "R1-wrong-type": "a value of the wrong type",
        "R1-bad-name": "a text that does not have the form of a name, an output or a selector",
        "R1-out-of-range": "a number, text or list outside its limits",
        "R1-not-allowed": "a word that is not on the closed list",
        "R1-no-steps": "a plan without a step",
        "R2-unknown-actor": "the catalog has no such actor",
        "R2-disabled-actor": "the actor is switched off",
        "R2-wrong-environment": "the actor may not be used in the ticket's environment",
        "R2-no-evidence": "the actor's own tests have not passed for this digest",
        "R2-not-offered": "policy withholds the actor from this ticket",
        "R3-duplicate-id": "two steps have the same id",
        "R3-duplicate-wave": "two waves have the same id",
        "R3-unknown-after": "`after` names a step that is not there",
        "R3-repeated-after": "`after` names the same step twice",
        "R3-unknown-reference": "a param refers to a step that is not there",
        "R3-unknown-condition": "a condition refers to a step that is not there",
        "R3-unknown-wave": "the step names a wave that is not there",
        "R3-unused-wave": "no step belongs to the wave",
        "R4-unknown-param": "the actor has no such param",
        "R4-missing-param": "a required param is missing",
        "R4-bad-value": "the value does not fit the param's declaration",
        "R4-bad-default": "the actor's own default does not fit its declaration",
        "R4-literal-secret": "a secret stands in the draft itself, not by its name",
        "R4-unknown-secret": "the workspace has no secret of this name",
        "R4-wrong-secret": "the secret may not be used in the ticket's environment",
        "R4-not-an-instant": "the text is not a date and time with an offset",
        "R5-reference-in-gate": "a gate of the machine takes no output",
        "R5-target-reference": "targets never come from an output",
        "R5-own-output": "the step refers to its own output",
        "R5-unknown-output": "the actor of the named step has no such output",
        "R5-type-mismatch": "the output's type does not fit into the param",
        "R5-condition-type": "outputs of this type cannot be compared in this way",
        "R5-condition-value": "the output can never have the value it is compared with",
        "R5-conditional-output": "the output may never exist, since its step is conditional",
        "R5-wave-output": "an output of a wave is used outside that wave",
        "R5-unordered-reference": "the step that puts the output out is not known to come before",
        "R6-cycle": "steps wait for each other",
        "R6-wave-crossed": "a wave waits for a step that itself waits for the wave",
        "R6-too-deep": "the longest chain of steps is too long",
        "R6-too-wide": "too many steps wait for one step",
        "R7-unknown-target": "the selector binds to nothing in the inventory",
        "R7-ambiguous-target": "the selector could mean several objects",
        "R7-wrong-environment": "the target belongs to another environment",
        "R7-wrong-object": "the target is another kind of object",
        "R7-empty-exclusion": "the exclusion excludes nothing",
        "R7-outside-ticket": "the target lies outside the ticket's targets",
        "R7-ticket-targets": "one of the ticket's own selectors does not bind",
        "R7-target-count": "fewer or more targets than the actor takes",
        "R7-wave-needs-targets": "a step of a wave has an actor without targets",
        "R7-wave-targets-given": "a step of a wave names its own targets",
        "R7-wave-mixed-objects": "the steps of a wave touch different kinds of objects",
        "R7-wave-too-wide": "a wave's copies are too many or wait for too many others",
        "R7-too-many-targets": "the steps together have more targets than are compiled",
        "R7-confirm-without-targets": "the gate asks for a number of targets, but none follow it",
        "R7-too-many-confirms": "more gates than can be counted in so large a plan",
        "R8-conflict": "two steps without an order touch the same thing",
        "R8-order-unproven": "two steps touch the same thing, and no order was found within bounds",
        "R8-needs-before": "another actor must act on the target before",
        "R8-needs-after": "another actor must act on the target afterwards",
        "R8-over-budget": "more targets of one failure domain are disturbed at once than allowed",
        "R8-label-too-long": "a shared label's value is too long to be locked",
        "R10-no-undo": "the step cannot be undone, and nobody has accepted that",
        "R10-needless-acceptance": "the step can be undone, yet its undoing is waived",
        "R11-window-too-short": "the worst case with rollback does not fit into the window",
        "R11-endless": "the worst case is longer than any window can be",
        "R11-hold-after-window": "the run would wait beyond the end of the window",
    }
    | {f"R{rung}-more": "more findings of the same rung than are shown" for rung in range(12)}
)
"""Every code, and what it means."""

REPORTED: Final = 50
SUGGESTED: Final = 64
POOL: Final = 400


class Names:
    """A closed list of words that can say which of them a misspelt one resembles.

    Answers are bounded: beyond `SUGGESTED` questions nobody reads on, so there are no more answers.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._words = sorted(set(words))
        self._answers: dict[str, tuple[str, ...]] = {}

    def nearest(self, word: str) -> tuple[str, ...]:
        """Return up to three similar words, the most similar first."""
        if word not in self._answers and len(self._answers) < SUGGESTED:
            near = difflib.get_close_matches(word[:100], self._around(word), n=3)
            self._answers[word] = tuple(near)
        return self._answers.get(word, ())

    def starting_with(self, prefix: str, most: int) -> tuple[str, ...]:
        """Return the first words that start so."""
        first = bisect_left(self._words, prefix)
        return tuple(w for w in self._words[first : first + most] if w.startswith(prefix))

    def _around(self, word: str) -> list[str]:
        if len(self._words) <= POOL:
            return self._words
        middle = bisect_left(self._words, word)
        return self._words[max(0, middle - POOL // 2) : middle + POOL // 2]


def finding(code: str, message: str, path: Path = (), *, edit: Edit | None = None) -> Finding:
    """Say one finding; its rung stands in its code."""
    place = tuple(_printable(part) if isinstance(part, str) else part for part in path)
    rung = int(code[1 : code.index("-")])
    text = _shortened(_printable(message), 1000)
    return Finding(rung=rung, code=code, message=text, path=place, edit=edit)


def unreadable(error: UnreadableError) -> Finding:
    """Say what the strict door refused, for the edge that reads drafts."""
    found = finding("R0-unreadable", f"the draft {error.reason}", error.pointer)
    return found.model_copy(update={"line": error.line})


def add(path: Path, value: Json, says: str) -> Edit:
    """Propose to put a new value here; a number at the end of the path inserts into a list."""
    return Edit(op="add", path=path, value=value, says=_shortened(says, 500))


def replace(path: Path, value: Json, says: str) -> Edit:
    """Propose another value for what is here."""
    return Edit(op="replace", path=path, value=value, says=_shortened(says, 500))


def remove(path: Path, says: str) -> Edit:
    """Propose to take this away."""
    return Edit(op="remove", path=path, says=_shortened(says, 500))


def listed(words: Iterable[str], most: int = 5) -> str:
    """Name a few of several words, and how many more there are."""
    everything = list(words)
    shown = ", ".join(everything[:most])
    more = len(everything) - most
    return f"{shown} and {more} more" if more > 0 else shown


def report(findings: Iterable[Finding], lines: Mapping[Path, int]) -> tuple[Finding, ...]:
    """Sort, bound, and add the lines that are known."""
    everything = sorted(findings, key=_by_place)
    shown = [f.model_copy(update={"line": f.line or _line(f.path, lines)}) for f in everything]
    more = len(shown) - REPORTED
    if more <= 0:
        return tuple(shown)
    rung = shown[0].rung
    rest = finding(f"R{rung}-more", f"{more} more findings of rung {rung}; mend these first")
    return (*shown[:REPORTED], rest)


def apply_edit(value: Json, edit: Edit) -> Json:
    """Return the draft's value with one edit made; the original stays as it is."""
    return _edited(value, edit.path, edit)


def _edited(value: Json, path: Path, edit: Edit) -> Json:
    place, *deeper = path
    copy: Json = dict(value) if isinstance(value, dict) else list(value)
    if deeper:
        copy[place] = _edited(copy[place], tuple(deeper), edit)
        return copy
    if edit.op == "remove":
        del copy[place]
    elif edit.op == "add" and isinstance(copy, list):
        copy.insert(int(place), _plain(edit.value))
    else:
        copy[place] = _plain(edit.value)
    return copy


def _plain(value: Json) -> Json:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, SecretRef):
        return value.model_dump()
    return list(value) if isinstance(value, tuple) else value


def _by_place(found: Finding) -> tuple[object, ...]:
    places = tuple((isinstance(part, str), part) for part in found.path)
    return (places, found.code, found.message)


def _line(path: Path, lines: Mapping[Path, int]) -> int | None:
    nearest = (path[:end] for end in range(len(path), -1, -1))
    return next((lines[place] for place in nearest if place in lines), None)


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
