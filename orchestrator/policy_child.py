"""The process in which an engine runs that may crash, hang or eat the machine.

1. It dies with whoever started it: no engine outlives its driver.
2. One line in, one line out, each JSON; whatever an engine prints goes nowhere.
3. It holds no secret: its environment is empty, its input was redacted.

    python -m orchestrator.policy_child rego                 the embedded engine
    python -m orchestrator.policy_child exec PROGRAM ARG...  becomes that program
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

__all__ = ["main"]

PR_SET_PDEATHSIG: Final = 1
QUERY: Final = "x := data.interlock.main.decision"
MAX_ERROR: Final = 2_000


def main(arguments: list[str]) -> int:
    """Be the embedded engine, or become a program."""
    _die_with_parent(int(arguments[0]))
    if arguments[1] == "exec":
        os.execv(arguments[2], arguments[2:])  # noqa: S606 - the program was found on PATH
    lines = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    _serve(lines, replies)
    return 0


def _die_with_parent(parent: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before the kernel knew
        os._exit(1)


class _Engine(NamedTuple):
    """Rules that were compiled once, for all questions."""

    interpreter: Any
    compiled: Any
    rules: list[str]


def _serve(lines: BinaryIO, replies: BinaryIO) -> None:
    engine: _Engine | None = None
    told: dict[str, Any]
    for line in lines:
        asked = json.loads(line)
        try:
            if "modules" in asked:
                engine, told = _loaded(asked), {"loaded": True}
            elif engine is None:
                told = {"error": "no rules are loaded"}
            else:
                told = _answered(engine, asked["input"])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told and nothing decided
            told = {"error": f"{type(error).__name__}: {error}"[:MAX_ERROR]}
        replies.write(json.dumps(told).encode() + b"\n")
        replies.flush()


def _loaded(asked: dict[str, Any]) -> _Engine:
    from regopy import (  # type: ignore[import-untyped]  # noqa: PLC0415 - only loaded here
        Interpreter,
    )

    interpreter = Interpreter()
    interpreter.strict_built_in_errors = True
    for path, text in asked["modules"].items():
        try:
            interpreter.add_module(path, text)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told with its place
            raise ValueError(f"{path}: {_place(str(error), text)}") from None
    interpreter.add_data_json(asked["data"])
    return _Engine(interpreter, interpreter.build(QUERY, []), asked["rules"])


def _place(words: str, text: str) -> str:
    """Say in one line what a tree of errors says, with the line of the first."""
    import re  # noqa: PLC0415 - only for a broken rule

    said = re.search(r"errormsg (?:\d+:)?([^\n)]*)", words)
    where = re.search(r"errorast [^|\n]*\|(\d+)\|", words)
    line = text.encode()[: int(where[1])].count(b"\n") + 1 if where else 1
    return f"line {line}: {said[1] if said else words[:200]}"


def _answered(engine: _Engine, document: str) -> dict[str, Any]:
    interpreter = engine.interpreter
    interpreter.set_input_term(document)
    value = _value(lambda: interpreter.query_bundle(engine.compiled))
    if value is None:
        broken = [rule for rule in engine.rules if _fails(interpreter, rule)]
        blamed = f"the rule {', '.join(broken)} fails" if broken else "the entry point fails"
        return {"error": f"{blamed} on this input: a builtin, a function or a type is wrong"}
    return {"answer": value}


def _fails(interpreter: Any, rule: str) -> bool:
    return _value(lambda: interpreter.query(f"x := data.interlock.rules.{rule}")) is None


def _value(query: Callable[[], Any]) -> Any:
    """Return what a query binds, or nothing when it is undefined or an error."""
    try:
        return json.loads(str(query()))["bindings"]["x"]
    except (ValueError, KeyError, TypeError):
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
