"""The linter of the Rego that all engines share: a table of what is refused, and what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from orchestrator.pure.policy_input import PolicyInput
from orchestrator.pure.rego import outside, package_of, tokens, troubles, undefined_paths

ROOT: Final = Path(__file__).parent.parent.parent
HEAD: Final = "package interlock.rules.sample\n\nimport rego.v1\n\n"
SHIPPED: Final = (
    ROOT / "policies/decision.rego",
    *sorted((ROOT / "policies/rules").glob("*.rego")),
)


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return PolicyInput.model_json_schema()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_we_ship_is_portable(path: Path, schema: dict[str, Any]) -> None:
    text = path.read_text(encoding="utf-8")
    assert [*troubles(text), *undefined_paths(text, schema), *outside(text)] == []


@pytest.mark.parametrize(
    "body",
    [
        "",
        'deny contains {"id": "a"} if count(input.plan.classes) > 3',
        "deny contains 1 if every c in input.plan.classes { c.count > 1 }",
        "names := {c.actor | some c in input.plan.classes}",
        "few(list) if count(list) < 3\n\nok if few(input.approvals)",
        "x := input.plan.classes[0].params[name] if some name, _ in input.ticket.params",
        'x := "http.send(not a call)" # http.send({})',
        "x := `time.now_ns()`",
        "y := 3 + 4\n\nx := [1, 2 - 1]",
        "x if data.interlock.lib.ok(1)",
        "x := 123456789012345",
        "x if not few(1)\n\nfew(a) if a > 1",
        "default x := false",
        "x if not (input.run.revision > 1)",
        'x := {"a": [y + 1 | some y in [1]]}',
    ],
)
def test_what_all_engines_share_is_let_through(body: str) -> None:
    assert troubles(HEAD + body + "\n") == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("x := max([9, 10])", "max() does not give one answer"),
        ("x := sort([9, 10])", "sort() does not give one answer"),
        ('x := sprintf("%d", [1])', "sprintf() does not"),
        ('x if regex.match("a+", "b")', "regex.match() does not"),
        ('x if net.cidr_contains("10.0.0.0/8", "10.0.0.1")', "net.cidr_contains() does not"),
        ("x if time.parse_rfc3339_ns(input.run.id) > 1", "time.parse_rfc3339_ns() does not"),
        ("x if data.interlock.y with input as {}", "`with` kills the embedded engine"),
        ("x := [v | some k, v in input.ticket.params]", "`| some k, v in o` is not read by all"),
        ("x := {v | some k, v in input.ticket.params}", "`| some k, v in o` is not read by all"),
        ("x := input.plan.classes[i + 1]", "`+` inside [ ]"),
        ("x := f(1)[i - 1]", "`-` inside [ ]"),
        ("x := input.plan.classes[0][i * 2]", "`*` inside [ ]"),
        ("by[c.actor] := c if some c in input.plan.classes", "by[: write `by contains ... if`"),
        ("deny { true }", "deny{: write"),
        ("a.b := 1", "a.: write"),
        ("import data.system", "import data.system: only rego.v1"),
        ("import future.keywords", "import future.keywords: only"),
        ("x := 1.5", "1.5: only whole numbers"),
        ("x := 1e3", "1e3: only whole numbers"),
        ("x := 1234567890123456", "has too many digits"),
        ('x := $"a {input.a}"', "the sign '$' is not part"),
        ('x := "never ends', "the sign '\"' is not part"),
        ("x if not is_string(data.params.a)", "`not is_string(...)` of something undefined"),
        ("x if not contains(input.run.id, 1)", "`not contains(...)`"),
    ],
)
def test_what_engines_do_differently_is_refused_with_its_line(body: str, says: str) -> None:
    found = troubles(HEAD + body + "\n")
    assert any(says in trouble.message for trouble in found), found
    assert {trouble.line for trouble in found} == {5}


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("package a.b\n", "a.b"),
        ("# words\n\npackage a # more\n", "a"),
        ("import rego.v1\npackage a\n", None),
        ("package", None),
        ("", None),
        ("package a.\n", "a"),
    ],
)
def test_a_module_names_its_package_first(text: str, package: str | None) -> None:
    assert package_of(text) == package


def test_a_module_without_a_package_is_refused() -> None:
    assert [says for _, says in troubles("x := 1\n")] == ["a module begins with its package"]


def test_a_package_named_like_a_builtin_is_refused() -> None:
    (trouble,) = troubles("package interlock.rules.sum\n")
    assert trouble.message == "a package may not be named like the builtin sum"


@pytest.mark.parametrize(
    "call",
    [
        "http.send({})",
        "time.now_ns()",
        "opa.runtime()",
        'net.lookup_ip_addr("a")',
        "rand.intn(1, 2)",
    ],
)
def test_no_engine_sees_a_builtin_that_reaches_outside(call: str) -> None:
    (trouble,) = outside(f"{HEAD}\nx := y if {{\n  y := {call}\n}}\n")
    assert trouble.line == 7
    assert "policy sees only its input" in trouble.message


def test_a_builtin_cannot_hide_behind_an_alias() -> None:
    assert outside(HEAD + "f := http.send\n")
    assert outside(HEAD + "x if walk(http.send, y)\n")


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("input.enviroment.name", "enviroment"),
        ("input.environment.nam", "environment.nam"),
        ("input.plan.waves.any.slices", None),
        ("input.plan.waves.any.slice", "plan.waves.any.slice"),
        ("input.ticket.window.start.epoch_s", None),
        ("input.ticket.window.start.epoch", "ticket.window.start.epoch"),
        ("input.requester.roles.operator", None),
        ("input.inventory.domains.rack.r1.size", None),
        ("input.now.zones.UTC.minute", "now.zones.UTC.minute"),
        ("input", None),
        ("inputs.anything", None),
    ],
)
def test_a_path_that_the_input_cannot_have_is_refused(
    path: str, wrong: str | None, schema: dict[str, Any]
) -> None:
    found = undefined_paths(f"{HEAD}x := {path}\n", schema)
    expected = [] if wrong is None else [f"{path}: the input has no {wrong}"]
    assert [trouble.message for trouble in found] == expected


def test_tokens_know_where_they_stand() -> None:
    cut = tokens('a := `two\nlines`\n  b == "c"\n')
    assert [(token.text, token.line, token.column) for token in cut] == [
        ("a", 1, 1),
        (":=", 1, 3),
        ("`two\nlines`", 1, 6),
        ("b", 3, 3),
        ("==", 3, 5),
        ('"c"', 3, 8),
    ]
