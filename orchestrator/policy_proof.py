"""Proof that rules fire: the embedded engine judges by no rule that its own cases did not move.

1. Not every mistake is an error there: a mistyped variable makes a rule silent. So every finding
   that a rule declares must have fired, here, in one of its cases, and each case must be as told.
2. A proof holds for these very files and this engine; it is kept below `.interlock/`, and whatever
   changes one of them needs a new one.
3. Each rule is proved alone with the entry point: no other rule can speak for it.
"""

from __future__ import annotations

import contextlib
import os
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from orchestrator.errors import InvalidInput
from orchestrator.policy_bundle import ENTRY, Bundle, bundle_of
from orchestrator.policy_embedded import Embedded
from orchestrator.policy_engines import answer_of
from orchestrator.policy_files import read_base, read_cases
from orchestrator.pure.canonical import digest
from orchestrator.pure.cases import case_data, document_of, gaps, unlike
from orchestrator.pure.policy_answer import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from orchestrator.pure.cases import Cases
    from orchestrator.pure.levels import RuleCard

__all__ = ["refuse_unproved"]

TIMEOUT_S: Final = 30.0
MAX_SHOWN: Final = 20


def refuse_unproved(
    policies: Path, bundle: Bundle, cards: Mapping[str, RuleCard], state: Path
) -> None:
    """Refuse rules that their cases do not prove; a proof that was kept is not made again."""
    engine = Embedded.version_name()
    proof = digest([engine, bundle.digest, _cases_digest(policies, bundle)])
    kept = state / "policy-proof" / proof
    if kept.exists():
        return
    base, cases = read_base(policies), read_cases(policies, bundle.rules)
    with contextlib.closing(Embedded(bundle, TIMEOUT_S)) as prover:
        found = [
            f"policies/rules/{rule}: {says}"
            for rule in bundle.rules
            for says in (
                *gaps(rule, cards[rule], cases[rule]),
                *_problems(rule, prover, bundle, base, cases[rule]),
            )
        ]
    if found:
        raise InvalidInput(
            f"rules that their cases do not prove judge nothing: {found[0]}",
            next_step="mend the rule or its cases; `interlock policy test` tries all of them",
            details=tuple(found[:MAX_SHOWN]),
        )
    _keep(kept)


def _problems(
    rule: str, prover: Embedded, whole: Bundle, base: dict[str, Any], cases: Cases
) -> Iterator[str]:
    path = f"rules/{rule}.rego"
    modules = {ENTRY: whole.modules[ENTRY], path: whole.modules[path]}
    prover.bundle = alone = bundle_of(modules, case_data({rule: cases}))
    for case in cases.cases:
        try:
            document = document_of(base, case.patch)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            yield f"{case.name}: no plan could be so: {place}: {first['msg']}"
            continue
        answer = answer_of(prover, alone, document)
        if isinstance(answer, Answer):
            yield from (f"{case.name}: {says}" for says in unlike(rule, case, answer))
        else:
            yield f"{case.name}: {answer}"


def _cases_digest(policies: Path, bundle: Bundle) -> str:
    paths = [policies / "base.yaml"]
    paths += [policies / "rules" / f"{rule}_cases.yaml" for rule in bundle.rules]
    texts = []
    for path in paths:
        with contextlib.suppress(OSError):  # whoever reads the cases says what is missing
            texts.append([path.name, sha256(path.read_bytes()).hexdigest()])
    return digest(texts)


def _keep(kept: Path) -> None:
    with contextlib.suppress(OSError):  # it only spares the next vet the work
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(kept, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
