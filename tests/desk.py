"""An operator's desk for tests: a fresh workspace, and the command as somebody types it.

Whatever is typed is held to the promises of every verb: no traceback on any stream, an exit code of
the table, and with `--json` exactly one document on the standard output.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest import mock

from orchestrator.cli import answered

ROOT: Final = Path(__file__).parent.parent
COMMAND: Final = (sys.executable, "-m", "orchestrator.cli")
CODES: Final = frozenset({0, 2, 3, 4, 5, 6, 7, 8})
"""Every code of the table but 1, which is a bug."""
PATIENCE_S: Final = 60
BASIC: Final = "examples/basic-update"


class Typed(NamedTuple):
    """What came back."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Read the one JSON document."""
        return json.loads(self.out)


class Desk:
    """A workspace, and a shell in it."""

    def __init__(self, root: Path, user: str = "operator") -> None:
        self.root = root
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(root.parent),
            "USER": user,
            "LOGNAME": user,
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "100",
        }
        for name in os.environ:
            if name.startswith("COVERAGE"):
                self.env[name] = os.environ[name]

    @classmethod
    def fresh(cls, folder: Path, engine: str = "builtin") -> Desk:
        """Lay down a workspace and sit down at it; `embedded` is what people get, and slower."""
        desk = cls(folder / "workspace")
        done = subprocess.run(
            [*COMMAND, "init", str(desk.root)], env=desk.env, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        if engine != "embedded":
            desk.edit("interlock.yaml", "engine: embedded", f"engine: {engine}")
        # The evidence that is shipped gets older; a transcript does not.
        desk.edit("policies/data.yaml", "longest_days: 365", "longest_days: 100000")
        return desk

    def type(
        self,
        *words: str,
        expect: int | None = None,
        stdin: bytes | None = None,
        env: dict[str, str | None] | None = None,
        cwd: Path | None = None,
    ) -> Typed:
        """Type one command without a terminal, and judge what every command must keep."""
        done = subprocess.run(
            [*COMMAND, *words],
            cwd=cwd or self.root,
            env=self.changed(env),
            input=b"" if stdin is None else stdin,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        typed = Typed(done.returncode, done.stdout.decode(), done.stderr.decode())
        judge(typed, words)
        if expect is not None:
            assert typed.code == expect, f"{words}\n{typed.out}\n{typed.err}"
        return typed

    def type_inside(self, *words: str, expect: int | None = None, cwd: Path | None = None) -> Typed:
        """Type one command within this process: for tables of many, where no act is begun."""
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(cwd or self.root),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch.dict(os.environ, self.env, clear=True),
            mock.patch.object(sys, "argv", ["interlock", *words]),
            mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO())),
        ):
            code = answered()
        typed = Typed(code, out.getvalue(), err.getvalue())
        judge(typed, words)
        if expect is not None:
            assert typed.code == expect, f"{words}\n{typed.out}\n{typed.err}"
        return typed

    def changed(self, env: dict[str, str | None] | None) -> dict[str, str]:
        """Return the environment, with some variables set, and those that are None unset."""
        both: dict[str, str | None] = {**self.env, **(env or {})}
        return {name: value for name, value in both.items() if value is not None}

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command and do not wait for it."""
        return subprocess.Popen(
            [*COMMAND, *words],
            cwd=self.root,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def plan(self, example: str = BASIC) -> str:
        """Plan an example, and return the name of its run."""
        ticket, draft = f"{example}/ticket.yaml", f"{example}/draft.yaml"
        return str(
            self.type_inside("plan", ticket, "-d", draft, "--json", expect=4).document["run"]
        )

    def digest(self, run: str) -> str:
        """Return the digest of a run's plan."""
        return str(self.type_inside("show", run, "--json", expect=0).document["plan_digest"])

    def approved(self, example: str = BASIC, name: str = "jonas.weber") -> str:
        """Plan an example and let somebody approve it."""
        run = self.plan(example)
        self.type_inside("approve", run, "--as", name, "--digest", self.digest(run), expect=0)
        return run

    def edit(self, file: str, old: str, new: str) -> None:
        """Change a file of the workspace."""
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{file} does not hold {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def slow_down(self, actor: str, milliseconds: int) -> None:
        """Let an actor of the rehearsal take its time, so that something can happen meanwhile."""
        script = self.root / "playbooks" / actor / "rehearsal.yaml"
        lines = script.read_text(encoding="utf-8").splitlines()
        slow = f"durations_ms: {{check: 1, apply: {milliseconds}, verify: 1, undo: 1}}"
        lines = [slow if line.startswith("durations_ms") else line for line in lines]
        script.write_text("\n".join(lines) + "\n", encoding="utf-8")
        settings = self.root / "interlock.yaml"
        if "require_evidence: false" not in settings.read_text(encoding="utf-8"):
            self.edit("interlock.yaml", "  staging:\n", "  staging:\n    require_evidence: false\n")

    def everything(self) -> dict[str, bytes]:
        """Return every file of the workspace and its bytes: two of these tell what was written."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }


def judge(typed: Typed, words: tuple[str, ...]) -> None:
    """Hold what came back to the promises of every verb."""
    for stream in (typed.out, typed.err):
        assert "Traceback" not in stream, f"{words}\n{stream}"
        assert "a bug:" not in stream, f"{words}\n{stream}"
    assert typed.code in CODES, f"{words} ended with {typed.code}\n{typed.out}\n{typed.err}"
    if "--json" in words and "--help" not in words:
        document = json.loads(typed.out)
        assert document["format"] == 1, words
        if "error" in document:
            assert document["error"]["exit_code"] == typed.code
            assert typed.err == "", "an error in JSON is told once"
    elif "error: " in typed.err:
        assert "\nnext: " in typed.err, f"{words} gives no advice\n{typed.err}"
