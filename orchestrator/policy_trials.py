"""Tries every rule on its cases, on every engine that is here, and says where they differ.

1. All rules are loaded together, with the parameters of their own cases: `data.yaml` has no say.
2. An engine that is not here is named with the reason, never passed over in silence.
3. Where Open Policy Agent is, it also checks the rules strictly against the input's schema.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import ValidationError

from orchestrator.errors import InterlockError, InvalidInput, Unavailable
from orchestrator.policy_binary import OpaBinary, find_binary
from orchestrator.policy_bundle import bundle_of, read_bundle
from orchestrator.policy_embedded import Embedded, refuse_unportable
from orchestrator.policy_engines import answer_of, input_schema
from orchestrator.policy_files import read_base, read_cases, read_weights
from orchestrator.pure.cases import case_data, document_of, gaps, unlike
from orchestrator.pure.policy_answer import Answer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from orchestrator.policy_bundle import Bundle
    from orchestrator.policy_engines import Engine
    from orchestrator.pure.cases import Case, Cases
    from orchestrator.pure.policy_input import PolicyInput

__all__ = ["Trial", "Trials", "engines_here", "tried"]

TIMEOUT_S: Final = 30.0
CHECK_S: Final = 60


class Trial(NamedTuple):
    """One case on one engine."""

    rule: str
    case: str
    engine: str
    problems: tuple[str, ...]


class Trials(NamedTuple):
    """All that was tried."""

    engines: tuple[str, ...]
    absent: tuple[str, ...]
    """Engines that are not here or may not judge these rules, and why."""
    trials: tuple[Trial, ...]
    gaps: dict[str, tuple[str, ...]]
    """For each rule, what no case promises."""
    differ: tuple[str, ...]
    """Cases in which two engines said different things."""
    checks: tuple[tuple[str, bool, str], ...]
    """What Open Policy Agent's own tools say: which, whether it is well, and the words."""

    @property
    def passed(self) -> bool:
        """Say whether every promise holds on every engine."""
        broken = any(trial.problems for trial in self.trials) or any(self.gaps.values())
        return bool(self.trials) and not (
            broken or self.differ or any(not well for _, well, _ in self.checks)
        )


class _Tried(NamedTuple):
    rule: str
    case: Case
    document: PolicyInput | str


def tried(folder: Path, environments: Collection[str], only: str | None = None) -> Trials:
    """Try all rules, or one."""
    bundle = read_bundle(folder)
    weights = read_weights(folder, bundle.modules, environments)
    cases, base = read_cases(folder, bundle.rules), read_base(folder)
    chosen = {rule: file for rule, file in cases.items() if only in (None, rule)}
    asked = list(_asked(chosen, base))
    trial_bundle = bundle_of(bundle.modules, case_data(cases))
    engines, absent = engines_here(trial_bundle)
    names, trials = [], []
    said: dict[tuple[str, str], dict[str, Answer | str]] = {}
    for engine in engines:
        with contextlib.closing(engine):
            answers = [_answered(engine, trial_bundle, one.document) for one in asked]
            names.append(engine.name)
        for one, answer in zip(asked, answers, strict=True):
            trials.append(Trial(one.rule, one.case.name, names[-1], _problems(one, answer)))
            said.setdefault((one.rule, one.case.name), {})[names[-1]] = answer
    return Trials(
        engines=tuple(names),
        absent=absent,
        trials=tuple(trials),
        gaps={rule: gaps(rule, weights.cards[rule], file) for rule, file in chosen.items()},
        differ=tuple(_differences(said)),
        checks=tuple(_checks(folder, bundle)),
    )


def engines_here(bundle: Bundle) -> tuple[list[Engine], tuple[str, ...]]:
    """Make every engine that can judge on this machine, and say why others cannot."""
    engines: list[Engine] = []
    absent = []
    try:
        refuse_unportable(bundle, input_schema())
        engines.append(Embedded(bundle, TIMEOUT_S))
    except InvalidInput as error:
        absent.append(f"embedded: {error.what}")
    try:
        engines.append(OpaBinary(find_binary(), bundle, input_schema(), TIMEOUT_S))
    except Unavailable:
        absent.append("opa: no program opa is on PATH")
    return engines, tuple(absent)


def _asked(chosen: dict[str, Cases], base: dict[str, Any]) -> Iterator[_Tried]:
    for rule, file in chosen.items():
        for case in file.cases:
            try:
                yield _Tried(rule, case, document_of(base, case.patch))
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                place = ".".join(map(str, first["loc"]))
                yield _Tried(rule, case, f"no plan could be so: {place}: {first['msg']}")


def _answered(engine: Engine, bundle: Bundle, document: PolicyInput | str) -> Answer | str:
    if isinstance(document, str):
        return document
    try:
        return answer_of(engine, bundle, document)
    except InterlockError as error:
        return error.what


def _problems(one: _Tried, answer: Answer | str) -> tuple[str, ...]:
    return (answer,) if isinstance(answer, str) else unlike(one.rule, one.case, answer)


def _differences(said: dict[tuple[str, str], dict[str, Answer | str]]) -> Iterator[str]:
    for (rule, case), answers in said.items():
        names = list(answers)
        for one, other in pairwise(names):
            if _plain(answers[one]) != _plain(answers[other]):
                yield f"{rule}: {case}: {one} and {other} do not say the same"


def _plain(answer: Answer | str) -> str:
    # How an engine words its own failure is its own affair; that it fails is not.
    return answer.model_dump_json() if isinstance(answer, Answer) else "no answer"


def _checks(folder: Path, bundle: Bundle) -> Iterator[tuple[str, bool, str]]:
    try:
        program = find_binary()
    except Unavailable:
        return
    files = [str(folder / path) for path in bundle.modules]
    with tempfile.TemporaryDirectory(prefix="interlock-policy-") as scratch:
        schema = Path(scratch) / "input.json"
        schema.write_text(json.dumps(input_schema()), encoding="utf-8")
        yield _told("opa check --strict", [program, "check", "--strict", "-s", scratch, *files])
    own = sorted(str(path) for path in (folder / "tests").glob("*.rego"))
    if own:
        yield _told("opa test", [program, "test", *files, *own])


def _told(name: str, command: list[str]) -> tuple[str, bool, str]:
    try:
        done = subprocess.run(  # noqa: S603 - the program was found on PATH, its files are ours
            command, env={}, capture_output=True, text=True, timeout=CHECK_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return name, False, f"did not run: {error}"
    words = (done.stdout + done.stderr).strip()
    return name, done.returncode == 0, words[:4_000]
