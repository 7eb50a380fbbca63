"""All engines say the same: of every case beside the rules, and of inputs that nobody thought of.

An input is a case's or the shipped one, changed in a few places to other values that its schema
allows; the seed is fixed. CONFORMANCE_INPUTS says how many are tried.
"""

from __future__ import annotations

import contextlib
import os
import random
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import pytest
from pydantic import ValidationError

from edges.policy_case import POLICIES, shipped
from opa import opa_program
from orchestrator.policy_binary import OpaBinary
from orchestrator.policy_bundle import Bundle, bundle_of
from orchestrator.policy_embedded import Embedded
from orchestrator.policy_engines import answer_of, input_schema
from orchestrator.policy_files import read_base, read_cases
from orchestrator.pure.cases import case_data, document_of
from orchestrator.pure.policy_answer import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.pure.policy_input import PolicyInput

INPUTS: Final = int(os.environ.get("CONFORMANCE_INPUTS", "1500"))
PARTS: Final = 3
EDITS: Final = 4
ENOUGH: Final = 0.2
"""At least so many of the inputs must move some rule, else nothing is compared."""
NEARLY_ALL: Final = 0.95
"""At least so many must be judged; of the others, both engines say what no machine could keep."""

NUMBERS: Final = (0, 1, 2, 3, 5, 9, 10, 19, 20, 21, 50, 99, 100, 101, 1_795_000_000, 2**53 - 1)
NAMES: Final = (
    "operator",
    "change_manager",
    "web",
    "db",
    "prod",
    "staging",
    "linux.reboot_if_needed",
)
WORDS: Final[dict[str, tuple[str, ...]]] = {
    "mode": ("plan", "dry-run", "apply", "recovery", "rollback"),
    "class": ("standard", "normal", "emergency"),
    "risk": ("low", "medium", "high"),
    "method": ("claimed", "sshsig"),
    "effect": ("none", "read", "change", "destroy"),
    "undo": ("full", "partial", "none"),
    "gate": ("none", "confirm", "hold"),
    "evidence": ("fresh", "stale", "none"),
    "source": ("draft", "default", "ticket", "output"),
    "secret": ("none", "reference", "literal"),
    "kind": ("file", "routine", "model"),
    "state": ("held", "wanted"),
    "name": ("prod", "staging", "lab"),
    "actor": ("linux.package_update", "lb.member_drain", "service.restart", "no.such_actor"),
    "weekday": ("monday", "friday", "sunday"),
}
MAPS: Final = frozenset(
    {
        *("roles", "groups", "touches", "environments", "before", "after", "needs_before"),
        *("needs_after", "params"),
    }
)


@cache
def _seeds() -> tuple[dict[str, Any], ...]:
    base, cases = read_base(POLICIES), read_cases(POLICIES, shipped().rules)
    patches = [case.patch for file in cases.values() for case in file.cases]
    return tuple(document_of(base, patch).document() for patch in ({}, *patches))


@cache
def _of_cases() -> Bundle:
    """Return the rules with the parameters that their cases were written for."""
    return bundle_of(shipped().modules, case_data(read_cases(POLICIES, shipped().rules)))


@pytest.fixture(scope="module", params=["as shipped", "as in the cases"])
def engines(request: pytest.FixtureRequest) -> Iterator[tuple[Bundle, Embedded, OpaBinary]]:
    bundle = shipped() if request.param == "as shipped" else _of_cases()
    with (
        contextlib.closing(Embedded(bundle, 60)) as ours,
        contextlib.closing(OpaBinary(opa_program(), bundle, input_schema(), 60)) as opa,
    ):
        yield bundle, ours, opa


def said(engines: tuple[Bundle, Embedded, OpaBinary], document: PolicyInput) -> Answer | str:
    """Return what both engines say of an input, or why that does not count: one thing."""
    bundle, ours, opa = engines
    first, second = (answer_of(engine, bundle, document) for engine in (ours, opa))
    assert first == second, document.document()
    return first


def test_engines_agree_on_every_case(engines: tuple[Bundle, Embedded, OpaBinary]) -> None:
    answers = [said(engines, document_of(seed, {})) for seed in _seeds()]
    whole = [answer for answer in answers if isinstance(answer, Answer)]
    spoken = {found.rule for answer in whole for found in answer.findings}
    assert len(whole) == len(answers) > 100
    assert len(spoken) > len(shipped().rules) // 2


@pytest.mark.parametrize("part", range(PARTS))
def test_engines_agree_on_inputs_that_nobody_thought_of(
    engines: tuple[Bundle, Embedded, OpaBinary], part: int
) -> None:
    chance = random.Random(part)
    wanted = INPUTS // PARTS // 2
    answers = [said(engines, _any_input(chance)) for _ in range(wanted)]
    whole = [answer for answer in answers if isinstance(answer, Answer)]
    assert len(whole) >= NEARLY_ALL * wanted
    assert sum(bool(answer.findings) for answer in whole) >= ENOUGH * wanted


def _any_input(chance: random.Random) -> PolicyInput:
    """Change a seed in a few places until it is an input again."""
    while True:
        document = _copied(chance.choice(_seeds()))
        for _ in range(chance.randint(1, EDITS)):
            _edit(chance, document)
        with contextlib.suppress(ValidationError):
            return document_of(document, {})


def _copied(value: Any) -> Any:
    match value:
        case dict():
            return {key: _copied(item) for key, item in value.items()}
        case list():
            return [_copied(item) for item in value]
        case _:
            return value


def _edit(chance: random.Random, document: dict[str, Any]) -> None:
    places = [
        (holder, key)
        for holder, key in _places(document)
        if key not in ("schema", "digest", "sample")
    ]
    holder, key = chance.choice(places)
    holder[key] = _other(chance, str(key), holder[key])


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield value, key
        if isinstance(item, (dict, list)):
            yield from _places(item)


def _other(chance: random.Random, key: str, value: Any) -> Any:
    if key in WORDS and isinstance(value, str):
        return chance.choice(WORDS[key])
    match value:
        case bool():
            return not value
        case int():
            return chance.choice((*NUMBERS, value + 1, max(0, value - 1)))
        case dict() if key in MAPS and all(item is True for item in value.values()):
            return dict.fromkeys(chance.sample(NAMES, chance.randint(0, 3)), True)
        case list() if value:
            kept = [item for item in value if chance.random() < 0.7]
            return kept + kept[:1] if chance.random() < 0.2 else kept
        case str():
            return chance.choice((value, *NAMES, 'quo"te\\ and ü'))
        case _:
            return value
