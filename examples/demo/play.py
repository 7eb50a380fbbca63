"""Lives a change ticket from its words to its record, with a crash in the middle.

Everything is done by the `interlock` command in a fresh workspace; this file only types for you.
The hosts are three small web servers on this machine, each with a folder of its own: Ansible really
acts on them, by its local connection, so that neither root nor sshd is needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
COMMAND = [sys.executable, "-m", "orchestrator.cli"]
BOLD, DIM, END = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")
RELEASES = ("1.9.0", "2.0.0", "2.1.0")


def main() -> int:
    """Play the demo; its exit code is 0 only if every stage ended as it should."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="interlock-demo-") as folder:
        desk = Desk(Path(folder) / "workspace")
        with hosts(Path(folder) / "hosts") as sites:
            desk.begin(sites)
            roll_forward(desk, sites)
            roll_back(desk, sites)
            refusal(desk)
        say("The last word", "what is in the ledger now")
        desk.type("list", expect=0)
    print(f"\n{BOLD}All stages ended as they should, in {time.monotonic() - begun:.0f} s.{END}")
    return 0


def roll_forward(desk: Desk, sites: list[Site]) -> None:
    """A rolling change over three hosts, with a crash and a resume."""
    say("1. A ticket", "in a person's words; they carry no authority")
    desk.read("roll-forward.ticket.yaml")
    desk.look(sites, "1.9.0", "1.9.0", "1.9.0")
    say("2. A plan", "the draft is compiled, closed, counted, and vetted as a whole")
    run = desk.plan("roll-forward")
    say("3. A dry run", "Ansible predicts on every host; nothing is written")
    desk.type("dry-run", run, expect=0, lines=20)
    desk.look(sites, "1.9.0", "1.9.0", "1.9.0")
    say("4. Consent", "a person approves this digest and no other; here by name, unsigned")
    desk.approve(run)
    say("5. It acts", "and while the second host is switched we kill the driver: kill -9")
    desk.run_and_kill(run, after_acts=2)
    desk.type("status", run, expect=0)
    say("6. It goes on", "what was under way is found or verified, never begun blindly again")
    desk.type("resume", run, expect=0, lines=14, tail=True)
    desk.look(sites, "2.0.0", "2.0.0", "2.0.0")
    say("7. The record", "anybody can verify it with one file and no ledger")
    record = desk.root / "record.jsonl"
    desk.type("audit", "export", run, "-o", str(record), expect=0)
    desk.type("audit", "verify", str(record), expect=0)
    raw = bytearray(record.read_bytes())
    raw[len(raw) // 2] ^= 1
    record.write_bytes(raw)
    say("   … and one flipped bit", "is found, and where")
    desk.type("audit", "verify", str(record), expect=8)


def roll_back(desk: Desk, sites: list[Site]) -> None:
    """A change that fails in a way its actor declared, and goes back."""
    say("8. A foreseen failure", "2.1.0 is not well on the second host; no model is asked")
    desk.read("roll-back.ticket.yaml")
    run = desk.plan("roll-back", lines=0)
    desk.approve(run)
    desk.type("run", run, expect=5, lines=14, tail=True)
    print("   what was done is undone, newest first:")
    desk.look(sites, "2.0.0", "2.0.0", "2.0.0")


def refusal(desk: Desk) -> None:
    """A ticket that no actor fits."""
    say("9. A ticket that is refused", "a refusal is an answer, with a reason and a next step")
    folder = "examples/refusal"
    desk.type("plan", f"{folder}/ticket.yaml", "--draft", f"{folder}/draft.yaml", expect=3)


def say(what: str, how: str) -> None:
    """Announce a stage."""
    print(f"\n{BOLD}── {what}{END} {DIM}{how}{END}", flush=True)


# --- the hosts ------------------------------------------------------------------------------------


class Site(NamedTuple):
    """One host: a folder, and a process that serves it."""

    name: str
    root: Path
    url: str

    def answer(self) -> str:
        """Ask the site for its page, as a visitor does."""
        try:
            with urlopen(self.url, timeout=5) as page:  # noqa: S310 - its own http URL
                return str(page.read().decode()).strip()
        except HTTPError as error:
            return f"{error.code}: {error.read().decode().strip()}"


@contextlib.contextmanager
def hosts(folder: Path) -> Iterator[list[Site]]:
    """Bring three hosts up; the second cannot serve 2.1.0."""
    with contextlib.ExitStack() as running:
        yield [
            running.enter_context(host(folder / name, cannot))
            for name, cannot in (("handbook-1", "-"), ("handbook-2", "2.1.0"), ("handbook-3", "-"))
        ]


@contextlib.contextmanager
def host(root: Path, cannot: str) -> Iterator[Site]:
    """Serve a folder until the block ends."""
    for version in RELEASES:
        (root / "releases" / version).mkdir(parents=True)
        (root / "releases" / version / "index.txt").write_text(f"handbook {version}\n")
    (root / "current").symlink_to(f"releases/{RELEASES[0]}")
    server = subprocess.Popen(
        [sys.executable, str(HERE / "site_host.py"), str(root), "0", "--cannot", cannot],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None  # noqa: S101 - it is a pipe
        yield Site(root.name, root, f"http://127.0.0.1:{int(server.stdout.readline())}")
    finally:
        server.kill()
        server.communicate()


# --- the desk -------------------------------------------------------------------------------------


class Desk:
    """A terminal in a fresh workspace."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.env = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONWARNINGS": "ignore"}

    def begin(self, sites: list[Site]) -> None:
        """Make the workspace, and tell its inventory of the hosts."""
        done = subprocess.run(
            [*COMMAND, "init", str(self.root)], env=self.env, check=False, stdout=subprocess.DEVNULL
        )
        check("init", done.returncode, 0)
        connection = {"transport": "local", "python": sys.executable}
        objects = [
            {
                "name": site.name,
                "groups": ["handbook"],
                "labels": {"site_root": str(site.root), "site_url": f"{site.url}/healthz"},
                "connection": connection,
            }
            for site in sites
        ]
        inventory = {"format": 1, "environment": "staging", "objects": objects}
        (self.root / "inventory" / "handbook.yaml").write_text(json.dumps(inventory))
        settings = self.root / "interlock.yaml"
        keep = self.root / ".interlock" / "keep"
        with settings.open("a", encoding="utf-8") as file:
            file.write(f"  ansible:\n    keep_dir: {keep}\n")

    def read(self, ticket: str) -> None:
        """Show a ticket."""
        print("\n".join(f"   {line}" for line in (HERE / ticket).read_text().splitlines()))

    def plan(self, name: str, *, lines: int = 40) -> str:
        """Plan a ticket; return the run's name."""
        ticket, draft = (str(HERE / f"{name}.{part}.yaml") for part in ("ticket", "draft"))
        shown = f"plan {name}.ticket.yaml --draft {name}.draft.yaml"
        self.type("plan", ticket, "--draft", draft, expect=4, lines=lines, shown=shown)
        return str(self.document("list", "-n", "1")["runs"][0]["run"])

    def approve(self, run: str) -> None:
        """Let a colleague of the requester approve the digest."""
        digest = self.document("show", run)["plan_digest"]
        words = ("approve", run, "--as", "otto.weber", "--digest", digest[:16])
        self.type(*words, expect=0, lines=6)

    def look(self, sites: list[Site], *wanted: str) -> None:
        """Visit the sites, and make sure that they serve what they should."""
        answers = [site.answer() for site in sites]
        print("\n".join(f"   {s.name} answers: {a}" for s, a in zip(sites, answers, strict=True)))
        check("what the sites serve", answers, [f"handbook {version}" for version in wanted])

    def type(
        self,
        *words: str,
        expect: int,
        lines: int = 40,
        tail: bool = False,
        shown: str = "",
    ) -> None:
        """Type a command, show what it answers, and check how it ended."""
        print(f"{BOLD}$ interlock {shown or ' '.join(words)}{END}", flush=True)
        done = subprocess.run(
            [*COMMAND, *words], cwd=self.root, env=self.env, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        answer = done.stdout.rstrip().splitlines()
        left_out = max(0, len(answer) - lines)
        for line in answer[-lines:] if tail and lines else answer[:lines]:
            print(f"   {line}")
        if left_out:
            print(f"   {DIM}… {left_out} more lines{END}")
        if done.returncode != expect:
            print("\n".join(answer))
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


def check(what: str, got: object, wanted: object) -> None:
    """Stop the demo when a stage did not end as it should."""
    if got != wanted:
        raise SystemExit(f"the demo failed: {what} ended with {got}, not {wanted}")


if __name__ == "__main__":
    sys.exit(main())
