"""The rules that a team owns: `policies/` read once, as what an engine is given.

1. A bundle is the entry point, every `rules/*.rego` and `data.yaml`; its digest covers their bytes.
2. One file is one rule: `rules/NAME.rego` is the package `interlock.rules.NAME`. No rules is an
   error: nothing is allowed by silence.
3. What reaches outside its input is refused here, whatever the engine.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from orchestrator.errors import InvalidInput
from orchestrator.owned import parsed, raw
from orchestrator.pure.canonical import canonical, digest
from orchestrator.pure.rego import outside, package_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ENTRY", "Bundle", "bundle_of", "read_bundle"]

ENTRY: Final = "decision.rego"
DATA: Final = "data.yaml"
RULES: Final = "rules"
MAX_FILE_BYTES: Final = 1_000_000
MAX_RULES: Final = 500


class Bundle(NamedTuple):
    """What an engine is given."""

    modules: dict[str, str]
    """Path below `policies/` → text."""
    data: dict[str, Any]
    """What rules find below `data`."""
    rules: tuple[str, ...]
    digest: str
    """Of modules and data together: also the revision that a server must serve."""
    data_digest: str

    def data_json(self) -> str:
        """Return the data as one line."""
        return canonical(self.data).decode()


def read_bundle(folder: Path) -> Bundle:
    """Read the rules; whatever is wrong with them is said at once."""
    paths = [folder / ENTRY, *sorted((folder / RULES).glob("*.rego"))]
    rules = tuple(path.stem for path in paths[1:])
    if not rules:
        raise InvalidInput(
            f"{folder / RULES}: holds no rules; a plan that no rule judges is not allowed",
            next_step="put the rules back (interlock init shows which), or set policy: engine: "
            "builtin to be judged by interlock.yaml alone",
        )
    if len(rules) > MAX_RULES:
        raise InvalidInput(
            f"{folder / RULES}: {len(rules)} rules, {MAX_RULES} at most", next_step="merge some"
        )
    modules = {path.relative_to(folder).as_posix(): _text(path) for path in paths}
    _refuse(folder, modules)
    data = {"params": _data(folder / DATA)}
    return bundle_of(modules, data)


def bundle_of(modules: dict[str, str], data: dict[str, Any]) -> Bundle:
    """Make a bundle of modules and data."""
    data_digest = digest(data)
    files = [[path, sha256(modules[path].encode()).hexdigest()] for path in sorted(modules)]
    rules = (path for path in modules if path != ENTRY)
    return Bundle(
        modules=modules,
        data=data,
        rules=tuple(sorted(path.rpartition("/")[2].removesuffix(".rego") for path in rules)),
        digest=digest({"files": files, "data": data_digest}),
        data_digest=data_digest,
    )


def _refuse(folder: Path, modules: dict[str, str]) -> None:
    found = []
    for path, text in modules.items():
        name = path.rpartition("/")[2].removesuffix(".rego")
        wanted = "interlock.main" if path == ENTRY else f"interlock.rules.{name}"
        if package_of(text) != wanted:
            found.append(f"{folder / path}:1: must begin with `package {wanted}`")
        found += [f"{folder / path}:{line}: {says}" for line, says in outside(text)]
    if found:
        raise InvalidInput(
            found[0],
            next_step="mend the rule; `interlock policy test` tries all of them",
            details=tuple(found),
        )


def _data(path: Path) -> Any:
    if not path.exists():
        return {}
    value = parsed(path, _text(path), MAX_FILE_BYTES).value
    if not isinstance(value, dict):
        raise InvalidInput(
            f"{path}:1: must be a mapping of a rule's name to its values",
            next_step="mend the file and try again",
        )
    return json.loads(json.dumps(value))


def _text(path: Path) -> str:
    content = raw(path, MAX_FILE_BYTES)
    try:
        text = content.decode("utf-8")
    except ValueError as error:
        raise _unreadable(path, str(error)) from None
    if len(content) > MAX_FILE_BYTES:
        raise _unreadable(path, f"it is larger than {MAX_FILE_BYTES} bytes")
    return text


def _unreadable(path: Path, reason: str) -> InvalidInput:
    return InvalidInput(f"{path}: cannot be read: {reason}", next_step="mend or restore the file")
