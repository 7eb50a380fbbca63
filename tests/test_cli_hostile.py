"""What an attacker, a crash or a bad day does to a workspace: refused in words, never followed."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

import pytest

from desk import BASIC, COMMAND, Desk, Typed, judge

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("cli-hostile")

PLAN: Final = ("plan", f"{BASIC}/ticket.yaml", "-d", f"{BASIC}/draft.yaml")
LEDGER: Final = ".interlock/ledger.db"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk.fresh(tmp_path)


def _ended(process: subprocess.Popen[bytes]) -> Typed:
    out, err = process.communicate(timeout=60)
    typed = Typed(process.returncode, out.decode(), err.decode())
    judge(typed, ())
    return typed


def _rewrite(desk: Desk, statement: str, *values: object) -> None:
    """Change the ledger as somebody who has its file and no scruples."""
    connection = sqlite3.connect(desk.root / LEDGER)
    triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
    kept = triggers.fetchall()
    for name, _ in kept:
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(statement, values)
    for _, sql in kept:
        connection.execute(sql)
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


# --- the ledger -----------------------------------------------------------------------------------


def test_a_ledger_with_one_changed_byte_is_never_acted_on(desk: Desk) -> None:
    run = desk.approved()
    _rewrite(
        desk,
        "UPDATE events SET envelope = CAST(replace(CAST(envelope AS TEXT), 'web-stg-02',"
        " 'web-stg-03') AS BLOB) WHERE id = (SELECT max(id) - 4 FROM events)",
    )
    _rewrite(
        desk,
        "UPDATE events SET envelope = CAST(replace(CAST(envelope AS TEXT), 'openssl', 'opensst')"
        " AS BLOB)",
    )
    for words in (("run", run), ("show", run), ("audit", "verify", run), ("cancel", run)):
        typed = desk.type(*words, expect=8)
        assert "record" in typed.err
    desk.type_inside("audit", "replay", run, "--json", expect=8)
    assert "bad      ledger" in desk.type_inside("doctor", expect=8).out
    desk.type_inside("audit", "export", run, "-o", "out.jsonl", expect=8)
    assert not (desk.root / "out.jsonl").exists()
    assert not (desk.root / ".interlock/rehearsal").exists()


def test_a_ledger_that_is_no_ledger_is_left_alone(desk: Desk) -> None:
    run = desk.plan()
    path = desk.root / LEDGER
    good = path.read_bytes()
    for content in (b"", b"not a database", good[:5_000], os.urandom(20_000)):
        path.write_bytes(content)
        for words in (("status", run), PLAN, ("doctor",)):
            desk.type_inside(*words, expect=8)
        assert path.read_bytes() == content


def test_a_ledger_of_a_newer_version_is_left_to_that_version(desk: Desk) -> None:
    run = desk.plan()
    connection = sqlite3.connect(desk.root / LEDGER)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    for words in (("status", run), ("run", run), PLAN):
        typed = desk.type(*words, expect=2)
        assert "has ledger format 99; this version reads format 1" in typed.err
    desk.type("doctor", expect=2)


def test_a_run_that_does_not_stand_as_it_is_listed_is_never_acted_on(desk: Desk) -> None:
    run = desk.approved()
    _rewrite(desk, "UPDATE runs SET phase = 'succeeded'")
    for words in (
        ("run", run), ("show", run), ("watch", run), ("cancel", run), ("audit", "verify", run),
        ("audit", "replay", run),
    ):  # fmt: skip
        typed = desk.type_inside(*words, expect=8)
        assert f"the ledger lists {run} as " in typed.err
    assert f"the ledger lists {run} as " in desk.type_inside("doctor", expect=8).out
    assert not (desk.root / ".interlock/rehearsal").exists()


def test_a_run_that_is_listed_as_ended_keeps_what_it_holds(desk: Desk) -> None:
    desk.slow_down("linux.package_update", 2_000)
    first, second = desk.approved(), desk.approved()
    driver = desk.begin("run", first)
    while desk.type_inside("status", first, "--json").document["phase"] != "running":
        assert driver.poll() is None
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    _rewrite(desk, "UPDATE runs SET phase = 'succeeded' WHERE run = ?", first)
    typed = desk.type("run", second, expect=7)
    assert f"{first} holds" in typed.err


def test_an_export_that_was_changed_does_not_verify(desk: Desk) -> None:
    run = desk.plan()
    desk.type_inside("audit", "export", run, "-o", "out.jsonl", expect=0)
    path = desk.root / "out.jsonl"
    good = path.read_bytes()
    place = good.index(b"web-stg-01")
    for bad in (
        good.replace(b"web-stg-01", b"web-stg-03", 1),
        good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :],
        good[: good.rindex(b"\n", 0, -1) + 1],
        good + b"x",
        b"",
        b"\xff" * 100,
    ):
        path.write_bytes(bad)
        typed = desk.type_inside("audit", "verify", "out.jsonl", expect=8)
        assert "does not verify" in typed.err
        told = desk.type_inside("audit", "verify", "out.jsonl", "--json", expect=8).document
        assert told["error"]["kind"] == "Corrupted"


TWO_DAYS_AGO: Final = """
import time
now = time.time_ns
time.time_ns = lambda: now() - 2 * 86_400 * 10**9
from orchestrator.cli import main
main()
"""


def test_a_clock_that_went_back_stops_the_driver(desk: Desk) -> None:
    run = desk.approved()
    before = desk.type_inside("status", run, "--json").document
    done = subprocess.run(
        [sys.executable, "-c", TWO_DAYS_AGO, "run", run],
        cwd=desk.root,
        env=desk.env,
        capture_output=True,
        check=False,
    )
    typed = Typed(done.returncode, done.stdout.decode(), done.stderr.decode())
    judge(typed, ())
    assert typed.code == 7, typed
    assert "the clock stands" in typed.err
    after = desk.type_inside("status", run, "--json").document
    assert after["head"] == before["head"] or after["phase"] == "approved", "nothing has begun"


VERIFYING: Final = """
import sys
from orchestrator.auditing import verify
from orchestrator.view import View
for _ in range(60):
    verify(View.here(as_json=True), None, sys.argv[1], [])
"""


def test_two_who_verify_one_run_at_once_do_not_disturb_each_other(desk: Desk) -> None:
    run = desk.plan()
    both = [
        subprocess.Popen(
            [sys.executable, "-c", VERIFYING, run],
            cwd=desk.root,
            env=desk.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300)[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], said


# --- crashes and neighbours -----------------------------------------------------------------------


def test_a_driver_that_was_killed_is_followed_by_the_next(desk: Desk) -> None:
    desk.slow_down("linux.package_update", 1_000)
    run = desk.approved()
    process = desk.begin("run", run)
    acts = desk.root / ".interlock/acts" / run
    while not (acts.exists() and any(acts.iterdir())):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 60
    while desk.type_inside("status", run, "--json", expect=0).document["driver"]:
        assert time.monotonic() < deadline, "the lock of a dead driver was never let go"
    desk.type("resume", run, expect=0)
    effects = (desk.root / ".interlock/rehearsal/effects.jsonl").read_text(encoding="utf-8")
    applied = [json.loads(line) for line in effects.splitlines() if "update/apply" in line]
    assert len({effect["key"] for effect in applied}) == 1


def test_two_terminals_plan_at_once_and_both_are_given_a_run(desk: Desk) -> None:
    both = [desk.begin(*PLAN, "--json") for _ in range(4)]
    runs = {json.loads(_ended(process).out)["run"] for process in both}
    assert runs == {f"CHG-1001.{number}" for number in (1, 2, 3, 4)}
    assert "verify" in desk.type_inside("doctor", expect=0).out


def test_two_terminals_run_at_once_and_one_drives(desk: Desk) -> None:
    desk.slow_down("linux.package_update", 1_500)
    run = desk.approved()
    codes = sorted(_ended(process).code for process in [desk.begin("run", run) for _ in range(3)])
    assert codes == [0, 7, 7]


def test_two_runs_do_not_touch_one_host_together(desk: Desk) -> None:
    desk.slow_down("linux.package_update", 6_000)
    first, second = desk.approved(), desk.approved()
    driver = desk.begin("run", first)
    while desk.type_inside("status", first, "--json").document["phase"] != "running":
        assert driver.poll() is None
    typed = desk.type("run", second, expect=7)
    assert first in typed.err
    assert _ended(driver).code == 0
    desk.type("run", second, expect=0)


# --- disks and rights -----------------------------------------------------------------------------


FULL: Final = """
set -e
cp -a .interlock aside
mount -t tmpfs -o size=16m none .interlock
cp -a aside/. .interlock
dd if=/dev/zero of=.interlock/filler bs=4k 2>/dev/null || true
$INTERLOCK approve $RUN --as a.b --digest $DIGEST && echo "approve 0" || echo "approve $?"
$INTERLOCK plan $BASIC/ticket.yaml -d $BASIC/draft.yaml && echo "plan 0" || echo "plan $?"
rm .interlock/filler
$INTERLOCK status $RUN
$INTERLOCK doctor
"""


def test_a_full_disk_is_said_and_nothing_is_assumed(desk: Desk) -> None:
    """The small disk lives in a name space of its own and goes with it."""
    alone = ("unshare", "--mount", "--propagation", "private", "bash", "-c")
    if subprocess.run([*alone, "mount -t tmpfs none /mnt"], capture_output=True).returncode:  # noqa: PLW1510 - the code is the answer
        pytest.skip("this machine does not let us mount a small disk")
    run = desk.plan()
    env = {"INTERLOCK": " ".join(COMMAND), "RUN": run, "DIGEST": desk.digest(run), "BASIC": BASIC}
    done = subprocess.run(
        [*alone, FULL],
        cwd=desk.root,
        env={**desk.env, **env},
        capture_output=True,
        check=False,
    )
    typed = Typed(done.returncode, done.stdout.decode(), done.stderr.decode())
    judge(typed, ())
    assert typed.code == 0, typed
    assert "ledger: " in typed.out
    assert "verify" in typed.out
    assert re.search(r"approve [07]\n", typed.out), typed
    assert re.search(r"plan [47]\n", typed.out), typed


READ_ONLY: Final = """
mount --bind "$PWD" "$PWD" && mount -o remount,ro,bind "$PWD" && cd "$PWD" || exit 99
for words in "status $RUN" "list --json" "show $RUN" "audit verify $RUN" "run $RUN" "actors list" \\
    "plan $BASIC/ticket.yaml -d $BASIC/draft.yaml" "actors test service.restart" "doctor"; do
  $INTERLOCK $words >/dev/null; echo "$?"
done
"""


def test_a_workspace_that_cannot_be_written_is_read_or_refused(desk: Desk) -> None:
    alone = ("unshare", "--mount", "--propagation", "private", "bash", "-c")
    run = desk.approved()
    env = {"INTERLOCK": " ".join(COMMAND), "RUN": run, "BASIC": BASIC}
    done = subprocess.run(
        [*alone, READ_ONLY],
        cwd=desk.root,
        env={**desk.env, **env},
        capture_output=True,
        check=False,
    )
    if done.returncode in (1, 99):
        pytest.skip("this machine does not let us mount a folder read-only")
    codes = [int(line) for line in done.stdout.split()]
    judge(Typed(0, "", done.stderr.decode()), ())
    assert set(codes) <= {0, 2, 7}, (codes, done.stderr)
    assert codes[3] == 0, "to verify takes no right to write"
    assert codes[4] != 0, "nothing acts that cannot be recorded"


# --- words ----------------------------------------------------------------------------------------

EVIL: Final = {
    "escapes": '"\\e]0;owned\\a\\e[2J\\e[31mred"',
    "bidi": '"left\\u202Eright\\u2066"',
    "markup": '"[bold red]run[/] <script>alert(1)</script> `rm -rf /` ${HOME} {{ 7*7 }}"',
    "zero width": '"a\\u200bb\\u00adc"',
    "combining": '"' + "e\\u0301\\u0301\\u0301\\u0301\\u0301\\u0301" * 20 + '"',
    "a megabyte": '"' + "x" * 1_000_000 + '"',
}


@pytest.mark.parametrize("words", EVIL.values(), ids=EVIL)
def test_a_tickets_words_do_nothing_to_a_terminal(desk: Desk, words: str) -> None:
    ticket = (desk.root / BASIC / "ticket.yaml").read_text(encoding="utf-8")
    lines = [
        line
        for line in ticket.splitlines()
        if line.startswith(("id:", "environment:", "requester:", "class:", "risk:"))
    ]
    evil = "\n".join([*lines, f"title: {words}", f"request: {words}"]) + "\n"
    typed = desk.type("plan", "-", "-d", f"{BASIC}/draft.yaml", stdin=evil.encode())
    shown = typed.out + typed.err
    if typed.code != 2:
        shown += desk.type_inside("list").out + desk.type_inside("status", "CHG-1001").out
    assert not set(shown) & set("\x1b\x07\x9b\u202e\u2066\u200b\u00ad")
    assert len(shown) < 200_000


def test_ten_thousand_hosts_are_counted_and_not_listed(desk: Desk) -> None:
    hosts = "".join(f"  - {{name: big-{number:05}}}\n" for number in range(10_000))
    inventory = f"format: 1\nenvironment: staging\ngroups: [big]\nobjects:\n{hosts}"
    (desk.root / "inventory/big.yaml").write_text(inventory, encoding="utf-8")
    ticket = (
        "id: CHG-2000\ntitle: Look at every host\nrequest: Look at every host.\nclass: standard\n"
        'environment: staging\nrequester: a.b\nrisk: low\ntargets: ["@big"]\n'
    )
    (desk.root / "big.yaml").write_text(ticket, encoding="utf-8")
    draft = (
        "decision: plan\nrationale: Fifty at a time.\n"
        'waves:\n  - {id: all, targets: ["@big"], size: 50, stop_after: 1}\n'
        "steps:\n  - {id: look, actor: http.health_check, wave: all, why: all of them}\n"
    )
    (desk.root / "draft.yaml").write_text(draft, encoding="utf-8")
    typed = desk.type("plan", "big.yaml", "-d", "draft.yaml")
    assert typed.code in (3, 4)
    assert "10,000" in typed.out or "findings" in typed.out or "max_targets" in typed.out
    assert len(typed.out.splitlines()) < 400
