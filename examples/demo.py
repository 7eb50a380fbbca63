"""Lives a change ticket from its words to its record, with a crash in the middle.

Everything is done by the `interlock` command in a fresh workspace; this file only types for you.
The hosts are rehearsed: their actors follow a script and write their effects to a file.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
COMMAND = [sys.executable, "-m", "orchestrator.cli"]
BOLD, DIM, END = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


def main() -> int:
    """Play the demo; its exit code is 0 only if every stage ended as it should."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="interlock-demo-") as folder:
        desk = Desk(Path(folder) / "workspace")
        desk.begin()
        openssl(desk)
        foreseen_failure(desk)
        refusal(desk)
        say("The last word", "what is in the ledger now")
        desk.type("list", expect=0)
    print(f"\n{BOLD}All stages ended as they should, in {time.monotonic() - begun:.0f} s.{END}")
    return 0


def openssl(desk: Desk) -> None:
    """A rolling change over seven servers, with a crash and a resume."""
    say("1. A ticket", "in a person's words; they carry no authority")
    desk.ticket("openssl-web-tier")
    say("2. A plan", "the draft is compiled, closed, counted, and vetted as a whole")
    run = desk.plan("openssl-web-tier", expect=4)
    desk.type("show", run, "--graph", expect=0, lines=30)
    say("3. A dry run", "every step is checked; nothing is written")
    desk.type("dry-run", run, expect=0, lines=16)
    say("4. Consent", "two people approve this digest and no other; here by name, unsigned")
    digest = desk.document("show", run)["plan_digest"]
    for name in ("ines.ferreira", "otto.weber"):
        role = "change_manager" if name == "ines.ferreira" else "operator"
        desk.type("approve", run, "--as", name, "--role", role, "--digest", digest[:16], lines=6)
    say("5. It acts", "and in the middle of the third act we kill the driver: kill -9")
    desk.run_and_kill(run, after_acts=3)
    desk.type("status", run, expect=0)
    say("6. It goes on", "what was under way is found or verified, never begun blindly again")
    desk.type("resume", run, expect=0, lines=14, tail=True)
    desk.effects(run)
    say("7. The record", "anybody can verify it with one file and no ledger")
    record = desk.root / "record.jsonl"
    desk.type("audit", "export", run, "-o", str(record), expect=0)
    desk.type("audit", "verify", str(record), expect=0)
    raw = bytearray(record.read_bytes())
    raw[len(raw) // 2] ^= 1
    record.write_bytes(raw)
    say("   … and one flipped bit", "is found, and where")
    desk.type("audit", "verify", str(record), expect=8)


def foreseen_failure(desk: Desk) -> None:
    """A change that fails in a way its actor declared, and goes back."""
    say("8. A foreseen failure", "no model is asked: what was done is undone, newest first")
    desk.ticket("foreseen-failure")
    run = desk.plan("foreseen-failure", expect=4, lines=0)
    digest = desk.document("show", run)["plan_digest"]
    desk.type("approve", run, "--as", "otto.weber", "--digest", digest[:16], expect=0, lines=3)
    desk.type("run", run, expect=5, lines=12, tail=True)


def refusal(desk: Desk) -> None:
    """A ticket that no actor fits."""
    say("9. A ticket that is refused", "a refusal is an answer, with a reason and a next step")
    desk.ticket("refusal")
    desk.plan("refusal", expect=3)


def say(what: str, how: str) -> None:
    """Announce a stage."""
    print(f"\n{BOLD}── {what}{END} {DIM}{how}{END}", flush=True)


class Desk:
    """A terminal in a fresh workspace."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.env = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONWARNINGS": "ignore"}

    def begin(self) -> None:
        """Make the workspace."""
        done = subprocess.run(
            [*COMMAND, "init", str(self.root)], env=self.env, check=False, stdout=subprocess.DEVNULL
        )
        check("init", done.returncode, 0)

    def ticket(self, example: str) -> None:
        """Show a ticket, its window moved to now, so that it can act today."""
        path = self.root / "examples" / example / "ticket.yaml"
        now = datetime.now(UTC).replace(microsecond=0)
        text = path.read_text(encoding="utf-8")
        for field, instant in (
            ("start", now - timedelta(minutes=5)),
            ("end", now + timedelta(hours=4)),
        ):
            text = re.sub(rf"(?m)^(\s+{field}: ).*$", rf"\g<1>{instant.isoformat()}", text)
        path.write_text(text, encoding="utf-8")
        body = [line for line in text.splitlines() if not line.startswith("#")]
        print("\n".join(f"   {line}" for line in body))

    def plan(self, example: str, *, expect: int, lines: int = 34) -> str:
        """Plan an example; return the run's name."""
        folder = f"examples/{example}"
        self.type(
            "plan", f"{folder}/ticket.yaml", "--draft", f"{folder}/draft.yaml",
            expect=expect, lines=lines,
        )  # fmt: skip
        return str(self.document("list", "-n", "1")["runs"][0]["run"])

    def type(
        self,
        *words: str,
        expect: int | None = None,
        lines: int = 40,
        tail: bool = False,
    ) -> None:
        """Type a command, show what it answers, and check how it ended."""
        print(f"{BOLD}$ interlock {' '.join(words)}{END}", flush=True)
        done = subprocess.run(
            [*COMMAND, *words], cwd=self.root, env=self.env, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        answer = done.stdout.rstrip().splitlines()
        left_out = max(0, len(answer) - lines)
        shown = answer[-lines:] if tail and lines else answer[:lines]
        for line in shown:
            print(f"   {line}")
        if left_out:
            print(f"   {DIM}… {left_out} more lines{END}")
        if expect is not None:
            check(" ".join(words), done.returncode, expect)
            print(f"   {DIM}exit {done.returncode}{END}")

    def document(self, *words: str) -> Any:
        """Ask for the JSON that a program would read."""
        done = subprocess.run(
            [*COMMAND, *words, "--json"], cwd=self.root, env=self.env, check=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        )  # fmt: skip
        return json.loads(done.stdout)

    def run_and_kill(self, run: str, *, after_acts: int) -> None:
        """Start a run, and kill its driver while an act is under way."""
        print(f"{BOLD}$ interlock run {run}{END}", flush=True)
        driver = subprocess.Popen(
            [*COMMAND, "run", run], cwd=self.root, env=self.env, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        acts = self.root / ".interlock" / "acts" / run
        while len(list(acts.glob("*.apply.*"))) < after_acts and driver.poll() is None:
            time.sleep(0.02)
        driver.send_signal(signal.SIGKILL)
        _, heard = driver.communicate()
        for line in heard.splitlines():
            print(f"   {line}")
        print(f"   {DIM}kill -9 {driver.pid}{END}")
        check("the kill", driver.returncode, -signal.SIGKILL)

    def effects(self, run: str) -> None:
        """Count what has really happened in the rehearsed world, and that nothing did twice."""
        path = self.root / ".interlock" / "rehearsal" / "effects.jsonl"
        effects = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        keys = [effect["key"] for effect in effects if effect["run"] == run]
        print(f"   the world saw {len(keys)} effects, none of them twice")
        check("effects twice", len(keys) - len(set(keys)), 0)


def check(what: str, got: int, wanted: int) -> None:
    """Stop the demo when a stage did not end as it should."""
    if got != wanted:
        raise SystemExit(f"the demo failed: {what} ended with {got}, not {wanted}")


if __name__ == "__main__":
    sys.exit(main())
