"""The embedded engine and the local binary: they may die, hang and grow, and decide nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from edges.policy_case import HEAD, POLICIES, document, one_rule, shipped
from opa import opa_program
from orchestrator.errors import InvalidInput, Unavailable
from orchestrator.policy_binary import OpaBinary, find_binary
from orchestrator.policy_bundle import read_bundle
from orchestrator.policy_embedded import MAX_CLASSES, Embedded, refuse_unportable
from orchestrator.policy_engines import engine_name, input_schema, judge, opened
from orchestrator.policy_files import read_weights
from orchestrator.policy_proof import refuse_unproved
from orchestrator.settings import PolicySettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.policy_bundle import Bundle
    from orchestrator.pure.policy_answer import Answer

LONG: Final = "a" * 200_000
HANGS: Final = f'regex.match("^(a+)+$", "{"a" * 40}b")'
CRASHES: Final = f'regex.match("^(a|b)*$", "{LONG}")'
GROWS: Final = "count(numbers.range(1, 4000000)) > 1"
PATIENCE_S: Final = 20.0


@contextlib.contextmanager
def embedded(bundle: Bundle, timeout_s: float = PATIENCE_S, **more: Any) -> Iterator[Embedded]:
    with contextlib.closing(Embedded(bundle, timeout_s, **more)) as engine:
        yield engine


def refused(engine: Embedded | OpaBinary, bundle: Bundle) -> str:
    with pytest.raises(Unavailable) as caught:
        judge(engine, bundle, document())
    assert caught.value.next_step
    return caught.value.what


def answer_to(bundle: Bundle) -> Answer:
    with embedded(bundle) as engine:
        return judge(engine, bundle, document())


def _pid(engine: Embedded) -> int:
    child = engine._child
    assert child is not None
    return child.pid


# --- it judges ------------------------------------------------------------------------------------


def test_it_judges_by_the_rules_that_are_shipped() -> None:
    answer = answer_to(shipped())
    assert answer.rules == shipped().rules
    assert answer.input_digest == document().digest


def test_a_finding_comes_through() -> None:
    (found,) = answer_to(one_rule('input.mode == "plan"')).findings
    assert (found.rule, found.id, found.subject, found.msg) == ("sample", "sample", "plan", "no")


def test_one_child_answers_many_questions() -> None:
    bundle = one_rule("input.run.revision > 0")
    with embedded(bundle) as engine:
        assert judge(engine, bundle, document()).findings == ()
        first = _pid(engine)
        assert judge(engine, bundle, document(run={"revision": 1})).findings
        assert _pid(engine) == first


# --- it breaks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "reason"),
    [(CRASHES, "died of SIG"), (HANGS, "did not answer within 1 s and was stopped")],
    ids=["crashes", "hangs"],
)
def test_a_rule_that_kills_or_holds_it_decides_nothing_and_the_next_question_is_answered(
    condition: str, reason: str
) -> None:
    bundle, sound = one_rule(condition), one_rule("true")
    with embedded(bundle, 1.0 if "within" in reason else PATIENCE_S) as engine:
        assert reason in refused(engine, bundle)
        assert engine._child is None, "what broke is gone"
        engine.bundle, engine.timeout_s = sound, PATIENCE_S
        assert judge(engine, sound, document()).findings


def test_a_rule_that_eats_the_machine_is_stopped() -> None:
    bundle = one_rule(GROWS)
    with embedded(bundle, max_rss_bytes=150_000_000) as engine:
        assert "grew to" in refused(engine, bundle)


def test_a_child_that_somebody_kills_is_an_error_and_then_made_anew() -> None:
    bundle = one_rule("true")
    with embedded(bundle) as engine:
        judge(engine, bundle, document())
        os.kill(_pid(engine), signal.SIGKILL)
        assert "died of SIGKILL" in refused(engine, bundle)
        assert judge(engine, bundle, document()).findings


@pytest.mark.parametrize("engine", ["embedded", "opa"])
def test_no_engine_outlives_its_driver(engine: str, tmp_path: Path) -> None:
    program = opa_program() if engine == "opa" else None
    script = tmp_path / "driver.py"
    script.write_text(
        "import sys, time\n"
        f"sys.path[:0] = {[str(POLICIES.parent / 'tests'), str(POLICIES.parent)]!r}\n"
        "from edges.policy_case import document, shipped\n"
        "from orchestrator.policy_engines import judge, opened\n"
        "from orchestrator.settings import PolicySettings\n"
        f"told = {{'engine': {engine!r}, 'program': {program!r}}}\n"
        "with opened(PolicySettings.model_validate(told), shipped(), {}) as engine:\n"
        "    judge(engine, shipped(), document())\n"
        "    print(engine._child.pid, flush=True)\n"
        "    time.sleep(60)\n",
        encoding="utf-8",
    )
    with subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as driver:
        assert driver.stdout is not None
        pid = int(driver.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        driver.kill()
    until_s = time.monotonic() + PATIENCE_S
    while _lives(pid):
        assert time.monotonic() < until_s, "the engine is still there"
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2][1] != "Z"
    except OSError:
        return False


def test_what_a_rule_prints_is_no_answer() -> None:
    (found,) = answer_to(one_rule('print("{}")')).findings
    assert found.rule == "sample"


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ('net.cidr_contains("10.0.0.0/8", "10.0.0.1")', "the rule sample fails"),
        ('concat(",", input.run.revision) == ""', "the rule sample fails"),
        ("nothing(1)", "the rule sample fails"),
    ],
)
def test_a_builtin_or_a_type_that_is_wrong_decides_nothing(condition: str, reason: str) -> None:
    bundle = one_rule(condition)
    with embedded(bundle) as engine:
        assert reason in refused(engine, bundle)


def test_an_entry_point_that_says_nothing_decides_nothing() -> None:
    bundle = one_rule("true")
    entry = "package interlock.main\n\nimport rego.v1\n\ndecision := 1 if false\n"
    silent = bundle._replace(modules={**bundle.modules, "decision.rego": entry})
    with embedded(silent) as engine:
        assert "the entry point fails" in refused(engine, silent)


def test_an_entry_point_that_forgets_a_rule_decides_nothing() -> None:
    bundle = one_rule("true")
    entry = bundle.modules["decision.rego"].replace("{name | data.interlock.rules[name]}", '{"a"}')
    short = bundle._replace(modules={**bundle.modules, "decision.rego": entry})
    with embedded(short) as engine:
        assert "missing: sample; unknown: a" in refused(engine, short)


def test_broken_rego_is_said_with_file_and_line() -> None:
    bundle = one_rule("input.mode == ")
    with embedded(bundle) as engine, pytest.raises(InvalidInput) as caught:
        judge(engine, bundle, document())
    assert caught.value.what.startswith("policies: rules/sample.rego: line 5: ")


def test_a_plan_with_too_many_different_steps_is_left_to_another_engine() -> None:
    told = document().document()
    (first, *_) = told["plan"]["classes"]
    told["plan"]["classes"] = [first] * (MAX_CLASSES + 1)
    with embedded(one_rule("true")) as engine, pytest.raises(Unavailable) as caught:
        engine.answer(told)
    assert "judges 5000" in caught.value.what
    assert "policy: engine: opa" in caught.value.next_step


# --- what it is not asked -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "condition", [CRASHES, HANGS, 'sprintf("%d", [1]) == "1"', "max([9, 10]) > 9"]
)
def test_what_could_break_it_is_refused_before_it_sees_it(condition: str) -> None:
    with pytest.raises(InvalidInput, match="does not give one answer in all engines"):
        refuse_unportable(one_rule(condition), input_schema())


def test_a_mistyped_field_is_refused_before_a_rule_is_silent_about_it() -> None:
    with pytest.raises(InvalidInput, match="the input has no enviroment"):
        refuse_unportable(one_rule('input.enviroment.name == "prod"'), input_schema())


# --- rules are proved -----------------------------------------------------------------------------


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A folder of policies with one rule and its cases."""
    folder = tmp_path / "policies"
    (folder / "rules").mkdir(parents=True)
    for name in ("decision.rego", "base.yaml"):
        shutil.copy(POLICIES / name, folder / name)
    write_rule(folder, 'input.mode == "apply"')
    (folder / "rules" / "sample_cases.yaml").write_text(CASES, encoding="utf-8")
    return folder


METADATA: Final = """# METADATA
# title: A sample
# description: It denies.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   severity: high
#   findings:
#     bad:
#       level: hard
#       satisfy: Do something else.
"""
CASES: Final = """format: 1
cases:
  - name: it fires
    patch: {mode: apply}
    expect: {findings: [{id: sample.bad}]}
  - name: it is silent
    patch: {}
    expect: {}
"""


def write_rule(folder: Path, condition: str) -> None:
    denies = 'deny contains {"id": "sample.bad", "subject": "plan", "msg": "no"} if '
    text = f"{METADATA}{HEAD}{denies}{condition}\n"
    (folder / "rules" / "sample.rego").write_text(text, encoding="utf-8")


def prove(folder: Path) -> None:
    bundle = read_bundle(folder)
    weights = read_weights(folder, bundle.modules, ("prod", "staging"))
    refuse_unproved(folder, bundle, weights.cards, folder.parent / "state")


def test_rules_that_their_cases_move_are_proved_once(policies: Path) -> None:
    prove(policies)
    (kept,) = (policies.parent / "state/policy-proof").iterdir()
    before = kept.stat().st_mtime_ns
    prove(policies)
    assert kept.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "condition",
    [
        'input.mode == aply\n\naply := "aply"',
        "some x in input.approvals\n\tx.by == y",
        'input.mode == "apply"\n\tinput.run.revision > 5',
    ],
    ids=["a wrong word", "never bound", "one condition too many"],
)
def test_a_rule_that_never_fires_judges_nothing(policies: Path, condition: str) -> None:
    prove(policies)
    write_rule(
        policies, "{\n\t" + condition.replace("\n\n", "\n}\n\n") + "\n}" * ("\n\n" not in condition)
    )
    with pytest.raises(InvalidInput, match=r"sample: it fires: is silent about sample\.bad"):
        prove(policies)


def test_a_rule_without_a_firing_case_judges_nothing(policies: Path) -> None:
    cases = policies / "rules/sample_cases.yaml"
    cases.write_text(CASES.replace("{mode: apply}", "{}").replace("[{id: sample.bad}]", "[]"))
    with pytest.raises(InvalidInput, match=r"no case in which sample\.bad fires"):
        prove(policies)


def test_a_case_that_no_plan_could_be_proves_nothing(policies: Path) -> None:
    cases = policies / "rules/sample_cases.yaml"
    cases.write_text(CASES.replace("{mode: apply}", "{mode: aply}"))
    with pytest.raises(InvalidInput, match="it fires: no plan could be so: mode"):
        prove(policies)


def test_an_edit_of_a_case_needs_a_new_proof(policies: Path) -> None:
    prove(policies)
    cases = policies / "rules/sample_cases.yaml"
    cases.write_text(CASES.replace("{mode: apply}", "{mode: plan}"))
    with pytest.raises(InvalidInput):
        prove(policies)


# --- the bundle -----------------------------------------------------------------------------------


def test_no_rules_are_no_permission(policies: Path) -> None:
    (policies / "rules/sample.rego").unlink()
    with pytest.raises(InvalidInput, match="holds no rules"):
        read_bundle(policies)


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("rules/sample.rego", "package interlock.rules.other\n", "must begin with `package inter"),
        ("decision.rego", "package main\n", "must begin with `package interlock.main`"),
        ("rules/more.rego", "", "must begin with `package interlock.rules.more`"),
        (
            "rules/sample.rego",
            f"{HEAD}x := http.send({{}})\n",
            r"sample\.rego:5: http\.send reads or changes the world",
        ),
        ("data.yaml", "- a\n", "must be a mapping"),
        ("data.yaml", "a: 1\na: 2\n", r"data\.yaml:2: has the key 'a' twice"),
    ],
)
def test_what_is_no_bundle_is_refused_with_its_place(
    policies: Path, path: str, text: str, reason: str
) -> None:
    (policies / path).write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=reason):
        read_bundle(policies)


def test_unreadable_rules_are_refused(policies: Path) -> None:
    (policies / "rules/sample.rego").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_bundle(policies)
    (policies / "rules/sample.rego").write_text("#" * 1_000_001, encoding="utf-8")
    with pytest.raises(InvalidInput, match="larger than"):
        read_bundle(policies)
    (policies / "decision.rego").unlink()
    with pytest.raises(InvalidInput, match=r"decision\.rego: cannot be read"):
        read_bundle(policies)


def test_any_edit_of_rules_or_data_is_another_digest(policies: Path) -> None:
    digests = [read_bundle(policies).digest]
    (policies / "data.yaml").write_text("sample: {a: 1}\n", encoding="utf-8")
    digests.append(read_bundle(policies).digest)
    write_rule(policies, 'input.mode == "plan"')
    digests.append(read_bundle(policies).digest)
    with (policies / "decision.rego").open("a", encoding="utf-8") as file:
        file.write("# more\n")
    digests.append(read_bundle(policies).digest)
    assert len(set(digests)) == 4


# --- the local binary -----------------------------------------------------------------------------


@contextlib.contextmanager
def binary(bundle: Bundle, timeout_s: float = PATIENCE_S) -> Iterator[OpaBinary]:
    engine = OpaBinary(opa_program(), bundle, input_schema(), timeout_s)
    with contextlib.closing(engine):
        yield engine


def test_the_local_binary_judges_and_names_its_version() -> None:
    settings = PolicySettings.model_validate({"engine": "opa", "program": opa_program()})
    with opened(settings, shipped(), {}) as engine:
        assert judge(engine, shipped(), document()) == answer_to(shipped())
        assert engine_name(settings) == f"{engine.name} at {opa_program()}"


def test_the_local_binary_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with binary(shipped()) as engine:
        judge(engine, shipped(), document())
        (folder,) = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o077 == 0
        child = engine._child
        assert child is not None
    assert list(tmp_path.iterdir()) == []
    assert child.returncode is not None


def test_the_local_binary_is_asked_again_after_it_was_killed() -> None:
    with binary(shipped()) as engine:
        judge(engine, shipped(), document())
        child = engine._child
        assert child is not None
        child.kill()
        child.wait()
        assert "it ended with -9" in refused(engine, shipped())
        assert judge(engine, shipped(), document()).rules == shipped().rules


@pytest.mark.parametrize(
    ("bundle", "reason"),
    [
        (one_rule("input.mode =="), "rules/sample.rego:8: rego_parse_error"),
        (one_rule("input.mode == unknown_word"), "unknown_word is unsafe"),
        (
            one_rule('http.send({"method": "get", "url": "x"}).status_code == 1'),
            "undefined function",
        ),
        (one_rule("time.now_ns() > 1"), "undefined function time.now_ns"),
    ],
    ids=["broken", "unsafe", "reaches outside", "reads the clock"],
)
def test_the_local_binary_refuses_rules_before_it_serves_them(bundle: Bundle, reason: str) -> None:
    with binary(bundle) as engine, pytest.raises(InvalidInput) as caught:
        judge(engine, bundle, document())
    assert reason in "\n".join(caught.value.details)


def test_the_local_binary_refuses_a_mistyped_field() -> None:
    bundle = one_rule('input.enviroment.name == "prod"')
    rule = bundle.modules["rules/sample.rego"]
    typed = "# METADATA\n# schemas:\n#   - input: schema.input\n" + rule
    bundle = bundle._replace(modules={**bundle.modules, "rules/sample.rego": typed})
    with binary(bundle) as engine, pytest.raises(InvalidInput) as caught:
        judge(engine, bundle, document())
    assert "undefined ref: input.enviroment.name" in "\n".join(caught.value.details)


SLOW_TO_LISTEN = """#!/bin/sh
if [ "$1" = run ]; then
    {python} -c 'import os, socket, time
socket.socket(socket.AF_UNIX).bind("opa.sock"); time.sleep(0.5); os.unlink("opa.sock")'
fi
exec {opa} "$@"
"""


def test_the_local_binary_is_asked_when_it_listens_not_when_its_socket_is_there(
    tmp_path: Path,
) -> None:
    program = tmp_path / "opa"
    program.write_text(SLOW_TO_LISTEN.format(python=sys.executable, opa=opa_program()))
    program.chmod(0o755)
    engine = OpaBinary(str(program), shipped(), input_schema(), PATIENCE_S)
    with contextlib.closing(engine):
        assert judge(engine, shipped(), document()) == answer_to(shipped())


@pytest.mark.parametrize(
    ("program", "reason"),
    [("/bin/true", "does not speak as Open Policy"), ("/bin/false", "refuses the rules")],
)
def test_a_program_that_is_no_opa_decides_nothing(program: str, reason: str) -> None:
    engine = OpaBinary(program, one_rule("true"), input_schema(), PATIENCE_S)
    with contextlib.closing(engine), pytest.raises((InvalidInput, Unavailable), match=reason):
        judge(engine, one_rule("true"), document())


def test_a_missing_binary_is_said() -> None:
    with pytest.raises(Unavailable, match="no program /nowhere/opa is on PATH"):
        find_binary("/nowhere/opa")
