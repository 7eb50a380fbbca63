"""One table of cases: a draft, and what the first rung that fails says of it; see cases/."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.strict import UnreadableError
from orchestrator.pure import findings as findings_module
from orchestrator.pure.compile import Limits, unreadable
from orchestrator.pure.draft import Finding, Question, Refusal
from orchestrator.pure.findings import CODES, apply_edit
from pure.small_world import CASES, compiled, tuples

RUNGS = ("rung_00_01", "rung_02_03", "rung_04_05", "rung_06_07", "rung_08_11")
BEYOND_THE_TABLE = {"R7-too-many-targets", "R7-too-many-confirms", "R8-label-too-long"}
BEYOND_THE_TABLE |= {"R8-order-unproven"} | {f"R{rung}-more" for rung in range(12)}
"""These need more steps than a table should hold; test_compile_limits.py has them."""


def cases() -> list[Any]:
    """Every case of every file."""
    return [
        pytest.param(case, id=f"{rung}: {case['name']}")
        for rung in RUNGS
        for case in yaml.safe_load((CASES / f"{rung}.yaml").read_text())
    ]


def findings_of(case: Any, draft: Any) -> tuple[Finding, ...]:
    """Compile a case's draft and take its findings."""
    limits = {name: tuples(value) for name, value in case.get("limits", {}).items()}
    answer = compiled(draft, limits=Limits(**limits), **case.get("ticket", {}))
    return answer if isinstance(answer, tuple) else ()


@pytest.mark.parametrize("case", cases())
def test_each_draft_gets_exactly_these_findings(case: Any) -> None:
    before = deepcopy(case["draft"])
    found = findings_of(case, case["draft"])
    said = [
        [each.code, "/".join(map(str, each.path)), each.edit.op if each.edit else None]
        for each in found
    ]
    assert said == case["expect"]
    assert case.get("says", "") in " ".join(each.message for each in found)
    assert case["draft"] == before


@pytest.mark.parametrize("case", cases())
def test_an_edit_makes_its_finding_disappear(case: Any) -> None:
    for found in findings_of(case, case["draft"]):
        if found.edit is not None:
            mended = findings_of(case, apply_edit(case["draft"], found.edit))
            key = (found.code, found.path, found.message)
            assert key not in [(other.code, other.path, other.message) for other in mended]


def test_every_code_is_met_by_some_case() -> None:
    met = {code for case in cases() for code, _, _ in case.values[0]["expect"]}
    assert met | BEYOND_THE_TABLE == set(CODES)


def test_every_code_in_the_source_has_a_meaning() -> None:
    folder = Path(findings_module.__file__).parent
    names = ("binding", "compile", "conflicts", "params", "selection", "shape", "waves", "window")
    text = "".join((folder / f"{name}.py").read_text() for name in names)
    used = set(re.findall(r'"(R\d{1,2}-[a-z-]+)"', text)) | {"R0-unreadable"}
    assert used - set(CODES) == set()
    computed = {"R8-needs-before", "R8-needs-after"} | {f"R{rung}-more" for rung in range(12)}
    assert set(CODES) - used - computed == set()


def test_no_message_shows_the_validators_own_words() -> None:
    for case in cases():
        for found in findings_of(case.values[0], case.values[0]["draft"]):
            assert "pydantic" not in found.message
            assert "Input should" not in found.message


def test_a_line_is_that_of_the_nearest_place_known() -> None:
    draft = {"steps": [{"id": "a", "actor": "zz.qq"}, {"id": "b", "actor": "zz.rr"}]}
    lines = {(): 1, ("steps", 0): 3, ("steps", 1): 5, ("steps", 1, "actor"): 6}
    answer = compiled(draft, lines=lines)
    assert isinstance(answer, tuple)
    assert [found.line for found in answer] == [3, 6]


def test_what_the_strict_door_refuses_becomes_a_finding() -> None:
    found = unreadable(UnreadableError("has the key 'a' twice", ("steps", "\ud800"), 7))
    assert found.message == "the draft has the key 'a' twice"
    assert (found.code, found.line) == ("R0-unreadable", 7)
    assert found.path == ("steps", "\\ud800")


SAY_ALL = """
from pure.small_world import compiled
import yaml, sys
for case in yaml.safe_load(sys.stdin):
    print(compiled(case["draft"], **case.get("ticket", {})))
"""


def test_findings_are_the_same_under_every_hash_seed() -> None:
    root = Path(__file__).parents[2]
    text = (CASES / "rung_08_11.yaml").read_text() + (CASES / "rung_02_03.yaml").read_text()
    said = {
        subprocess.run(
            [sys.executable, "-c", SAY_ALL],
            input=text,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1


def test_a_refusal_and_a_question_pass_as_they_are() -> None:
    refusal = {"decision": "refuse", "code": "no_actor", "reason": "none fits", "next_step": "ask"}
    assert isinstance(compiled(refusal), Refusal)
    question = compiled({"decision": "ask", "question": "which host?", "choices": ["a", "b"]})
    assert question == Question(question="which host?", choices=("a", "b"))
