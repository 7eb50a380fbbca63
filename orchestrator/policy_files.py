"""What authors and operators write beside the rules: metadata, cases, levels and waivers.

1. A rule without metadata is refused: nobody could say what it wants.
2. A level or a waiver for a rule, a finding or an environment that does not exist is refused: it
   would bind nothing, and nobody would notice.
3. A missing `levels.yaml` or `waivers.yaml` sets nothing; a broken one stops everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from pydantic import ValidationError

from actors.fitting import nearest
from actors.spec import Name
from orchestrator.errors import InvalidInput
from orchestrator.owned import fitted, parsed, raw
from orchestrator.pure.cases import Cases, document_of
from orchestrator.pure.fields import Line, Model, Prose
from orchestrator.pure.levels import (
    FindingCard,
    LevelsFile,
    RuleCard,
    Severity,
    WaiversFile,
    Weights,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from actors.reading import Read

__all__ = ["LEVELS", "WAIVERS", "read_base", "read_card", "read_cases", "read_weights"]

LEVELS: Final = "levels.yaml"
WAIVERS: Final = "waivers.yaml"
BASE: Final = "base.yaml"
RULES: Final = "rules"
ENDING: Final = "_cases.yaml"
MAX_BYTES: Final = 2_000_000

M = TypeVar("M", bound=Model)


class _Custom(Model):
    """Our part of it."""

    severity: Severity
    narrows: bool = False
    findings: dict[Name, FindingCard]


class _Metadata(Model):
    """The comment above a rule's package, as OPA reads it too."""

    title: Line
    description: Prose
    scope: Literal["package"]
    schemas: tuple[dict[str, str], ...]
    custom: _Custom


def read_weights(
    folder: Path, modules: Mapping[str, str], environments: Collection[str]
) -> Weights:
    """Read how the rules of a folder bind; `modules` are their texts by path below it."""
    cards = {
        path.rpartition("/")[2].removesuffix(".rego"): read_card(folder / path, text)
        for path, text in sorted(modules.items())
        if path.startswith(f"{RULES}/")
    }
    levels = _levels(folder / LEVELS, cards, environments)
    return Weights(cards, levels.levels, _waivers(folder / WAIVERS, cards, environments).waivers)


def read_card(path: Path, text: str) -> RuleCard:
    """Read the METADATA of a rule."""
    lines = text.splitlines()
    try:
        begin = lines.index("# METADATA") + 1
        end = next(n for n, line in enumerate(lines) if line.startswith("package "))
    except (ValueError, StopIteration):
        begin, end = 0, -1
    block = lines[begin:end]
    if not block or not all(line.startswith("#") for line in block):
        raise InvalidInput(
            f"{path}:1: has no METADATA right above its package",
            next_step="say title, description, severity and findings there (policies/README.md)",
        )
    yaml = "\n".join([""] * begin + [line[1:].removeprefix(" ") for line in block])
    said = fitted(_Metadata, path, parsed(path, yaml.encode(), MAX_BYTES))
    custom = said.custom
    return RuleCard(
        title=said.title,
        description=said.description.strip(),
        severity=custom.severity,
        findings=custom.findings,
        narrows=custom.narrows,
    )


def read_cases(folder: Path, rules: Iterable[str]) -> dict[str, Cases]:
    """Read the cases of every rule; a rule without cases is refused."""
    rules = sorted(rules)
    strays = sorted(
        path
        for path in (folder / RULES).glob(f"*{ENDING}")
        if path.name.removesuffix(ENDING) not in rules
    )
    if strays:
        raise InvalidInput(
            f"{strays[0]}: there is no rule of this name",
            next_step="name the file after its rule, or remove it",
        )
    return {rule: _model(Cases, folder / RULES / f"{rule}{ENDING}") for rule in rules}


def read_base(folder: Path) -> dict[str, Any]:
    """Read the input that cases patch; it must be a whole one."""
    path = folder / BASE
    value: dict[str, Any] = _read(path).value
    try:
        document_of(value, {})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidInput(
            f"{path}: is no whole input: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            next_step="restore the file that was shipped",
        ) from None
    return value


def _levels(path: Path, cards: Mapping[str, RuleCard], known: Collection[str]) -> LevelsFile:
    if not path.exists():
        return LevelsFile(format=1, levels={})
    read = _read(path)
    file = fitted(LevelsFile, path, read)
    for name, level in file.levels.items():
        line = read.line_of(("levels", name))
        _refuse_rule(f"{path}:{line}", name, cards)
        for environment in level if isinstance(level, dict) else ():
            _refuse_environment(f"{path}:{line}", environment, known)
    return file


def _waivers(path: Path, cards: Mapping[str, RuleCard], known: Collection[str]) -> WaiversFile:
    if not path.exists():
        return WaiversFile(format=1, waivers=())
    read = _read(path)
    file = fitted(WaiversFile, path, read)
    seen: set[str] = set()
    for number, waiver in enumerate(file.waivers):
        where = f"{path}:{read.line_of(('waivers', number))}"
        _refuse_rule(where, waiver.rule, cards)
        _refuse_environment(where, waiver.environment, known)
        if waiver.id in seen:
            raise InvalidInput(
                f"{where}: the waiver {waiver.id} is there already",
                next_step="give each waiver a name of its own",
            )
        seen.add(waiver.id)
    return file


def _refuse_rule(where: str, name: str, cards: Mapping[str, RuleCard]) -> None:
    rule, _, what = name.partition(".")
    if rule not in cards:
        raise InvalidInput(
            f"{where}: there is no rule {rule}; {nearest(rule, cards)}",
            next_step="name a rule, or one of its findings: rule.finding",
        )
    if what and what not in cards[rule].findings:
        raise InvalidInput(
            f"{where}: {rule} has no finding {what}; {nearest(what, cards[rule].findings)}",
            next_step="name a finding that the rule declares in its METADATA",
        )


def _refuse_environment(where: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise InvalidInput(
            f"{where}: there is no environment {name}; {nearest(name, known)}",
            next_step="name one of those in interlock.yaml",
        )


def _model(model: type[M], path: Path) -> M:
    return fitted(model, path, _read(path))


def _read(path: Path) -> Read:
    return parsed(path, raw(path, MAX_BYTES), MAX_BYTES)
