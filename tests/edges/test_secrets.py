"""Secrets are picked by name, known in the act's own process alone, and written nowhere."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from actors.spec import Done, Failed, Found, InDoubt, Predicted, Unexpected
from desk import Desk
from edges import rig
from edges.rig import Mishap, Process
from edges.rig_watch import noted, outcomes
from edges.teller import found_in, needles
from orchestrator.act import main, read_outcome
from orchestrator.local import Local
from orchestrator.pure.commands import Act
from orchestrator.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CHANGE: Final = rig.CHANGE.replace(
    "outputs:\n",
    "  password: {type: secret, summary: The new password.}\n"
    "outputs:\n"
    "  note: {type: text, summary: A note., pattern: '^.*$', max_length: 4000, required: false}\n",
)
SETTINGS: Final = """\
secrets:
  by_env: {{env: CANARY_ENV}}
  by_file: {{file: {folder}/key.pem}}
  by_command:
    {{command: [{python}, {folder}/vault.py, kv, get], passes: [VAULT_ADDR], timeout_s: 5}}
  elsewhere: {{env: CANARY_ENV, environments: [lab]}}
"""
VAULT: Final = """\
import os, pathlib, sys
assert sys.argv[1:] == ["kv", "get"], sys.argv
assert os.environ["VAULT_ADDR"] == "https://vault.test", dict(os.environ)
assert "CANARY_ENV" not in os.environ and "OPENAI_API_KEY" not in os.environ
print("a vault's noise", file=sys.stderr)
print(pathlib.Path(__file__).with_name("value").read_text())
"""
ENVIRON: Final = {"VAULT_ADDR": "https://vault.test", "OPENAI_API_KEY": "sk-no-child-gets-this"}


APPLY: Final = Act("a", "apply", 1)


class Canaries:
    """Three secrets that nobody has seen before, outside the workspace."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.env = f"Env/+{secrets.token_urlsafe(12)}'\"\\ é&<{secrets.token_hex(3)}"
        lines = [base64.b64encode(secrets.token_bytes(48)).decode() for _ in range(5)]
        begin, end = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
        self.file = "\n".join([begin, *lines, end])
        self.command = f"hvs.{secrets.token_urlsafe(24)}"
        self.folder = folder
        (folder / "key.pem").write_text(self.file + "\n")
        (folder / "key.pem").chmod(0o600)
        (folder / "vault.py").write_text(VAULT)
        (folder / "value").write_text(self.command)

    @property
    def settings(self) -> str:
        return SETTINGS.format(folder=self.folder, python=sys.executable) + rig.SETTINGS

    @property
    def values(self) -> list[str]:
        return [self.env, self.file, self.command]

    @property
    def environ(self) -> dict[str, str]:
        return {"CANARY_ENV": self.env, **ENVIRON}


@pytest.fixture
def canaries(tmp_path: Path) -> Canaries:
    return Canaries(tmp_path / "outside")


def drafted(*names: str) -> str:
    steps = [
        f"  - {{id: {step}, actor: lab.change, after: [{', '.join(before)}], "
        f"params: {{targets: [h0{place}], password: {{secret: {name}}}}}}}"
        for place, (step, name, before) in enumerate(
            zip("abc", names, ([], ["a"], ["b"]), strict=False), 1
        )
    ]
    return "\n".join(["decision: plan", "steps:", *steps]) + "\n"


def workspace(ws: Path, canaries: Canaries, how: str = "", change: str = CHANGE) -> Path:
    rig.build(ws, settings=canaries.settings, change=change, how=how)
    return ws


def shown(ws: Path, run: str) -> str:
    """Type every command that says something of a run."""
    desk = Desk(ws)
    typed = [
        desk.type_inside("show", run),
        desk.type_inside("show", run, "--json"),
        desk.type_inside("audit", "replay", run),
        desk.type_inside("audit", "export", run, "--output", str(ws / "evidence.jsonl")),
        desk.type_inside("status", run, "--json"),
    ]
    assert all(one.out for one in typed)
    return "\n".join(one.out + one.err for one in typed)


def nowhere(ws: Path, canaries: Canaries, *said: str) -> None:
    """Look through the workspace, ledger and exports with it, and through what was printed."""
    assert list(found_in(ws, canaries.values)) == []
    for value in canaries.values:
        for needle in needles(value):
            assert not [text for text in said if needle in text.encode()]
    assert "sk-no-child-gets-this" not in "".join(said)


# --- they arrive --------------------------------------------------------------------------------


def test_a_secret_of_each_source_arrives_and_the_plan_holds_its_name(
    ws: Path, canaries: Canaries
) -> None:
    workspace(ws, canaries)
    run = rig.opened(ws, drafted("by_env", "by_file", "by_command"))
    driver = Process(ws, run, None, None, **canaries.environ)
    driver.ends("succeeded")
    assert [effect["secrets"] for effect in rig.effects(ws)] == [["password"]] * 3
    assert all("password" not in effect["params"] for effect in rig.effects(ws))
    said = shown(ws, run)
    assert "the secret by_command" in said
    nowhere(ws, canaries, driver.said, said)


def test_the_digest_of_a_plan_covers_the_name_and_not_the_value(
    ws: Path, canaries: Canaries
) -> None:
    workspace(ws, canaries)
    digests = []
    for place, name in enumerate(("by_env", "by_env", "by_file")):
        run = rig.folded(ws, rig.opened(ws, drafted(name), ticket=f"CHG-{place}"))
        plan = run.planned.model_copy(update={"ticket_digest": "0" * 64})
        digests.append(plan.digest())
        (canaries.folder / "key.pem").write_text(secrets.token_hex(40))
    assert digests[0] == digests[1] != digests[2]


# --- they are told, in every way ------------------------------------------------------------------

ENDS: Final[Mapping[str, tuple[str, type[Any]]]] = {
    "tells": ("succeeded", Done),
    "tells and fails": ("rolled_back", Failed),
    "tells unexpectedly": ("held", Unexpected),
    "tells and raises": ("succeeded", InDoubt),
    "tells as it exits": ("succeeded", InDoubt),
    "tells in its output": ("held", Unexpected),
    "tells and dies": ("succeeded", InDoubt),
}


@pytest.mark.parametrize(
    ("how", "name"),
    [
        ("tells", "by_env"),
        ("tells", "by_file"),
        ("tells and fails", "by_file"),
        ("tells unexpectedly", "by_env"),
        ("tells and raises", "by_env"),
        ("tells as it exits", "by_env"),
        ("tells in its output", "by_command"),
        ("tells and dies", "by_file"),
    ],
)
def test_a_secret_that_an_act_tells_in_every_way_is_written_nowhere(
    ws: Path, kinds: Path, canaries: Canaries, how: str, name: str
) -> None:
    workspace(ws, canaries, how)
    run = rig.opened(ws, drafted(name))
    driver = Process(ws, run, None, kinds, **canaries.environ)
    phase, first = ENDS[how]
    driver.ends(phase)
    assert isinstance(outcomes(ws, run, "a")[0][2], first)
    nowhere(ws, canaries, driver.said, shown(ws, run))
    log = (ws / ".interlock" / "acts" / run / "a.apply.1" / "log").read_text()
    assert log.count(f"<secret {name}>") > 20 or how == "tells and dies"
    rig.judge(ws, run)


def test_a_dry_run_that_tells_a_secret_in_its_diff_writes_it_nowhere(
    ws: Path, kinds: Path, canaries: Canaries
) -> None:
    workspace(ws, canaries, "tells")
    run = rig.opened(ws, drafted("by_file"))
    driver = Process(ws, run, Mishap(preview=True), kinds, **canaries.environ)
    driver.ends("approved")
    ((_, _, seen),) = outcomes(ws, run, "a")
    assert isinstance(seen, Predicted)
    assert "<secret by_file>" in seen.changes[0].diff
    nowhere(ws, canaries, driver.said, shown(ws, run))


def test_while_an_act_knows_a_secret_no_process_shows_it_and_its_end_leaves_nothing(
    ws: Path, kinds: Path, canaries: Canaries
) -> None:
    short = CHANGE.replace("apply_s: 20", "apply_s: 8")
    workspace(ws, canaries, "tells and hangs once", short)
    run = rig.opened(ws, drafted("by_env"))
    driver = Process(ws, run, Mishap(grace_s=0.3), kinds, **canaries.environ)
    pid = noted(ws, run, "a.apply.1")
    group = [pid, *group_of(pid)]
    assert len(group) > 1, "it started one of its own"
    for one in group:
        said = b"".join(Path(f"/proc/{one}/{what}").read_bytes() for what in ("cmdline", "environ"))
        assert not [n for n in needles(canaries.env) if n in said]
        assert b"OPENAI" not in said
        assert b"CANARY_ENV" not in said
    stdin = Path(f"/proc/{pid}/fd/0").readlink()
    assert stdin == Path("/dev/null"), "what was handed over is gone"
    driver.ends("succeeded")
    left = sorted(path.name for path in (ws / ".interlock" / "acts" / run / "a.apply.1").iterdir())
    assert left == ["lock", "log", "warrant.json"]
    nowhere(ws, canaries, driver.said, shown(ws, run))


def test_what_an_act_left_when_it_was_killed_with_its_driver_is_removed_by_the_next(
    ws: Path, kinds: Path, canaries: Canaries
) -> None:
    workspace(ws, canaries, "tells and hangs once")
    run = rig.opened(ws, drafted("by_file"))
    driver = Process(ws, run, None, kinds, **canaries.environ)
    pid = noted(ws, run, "a.apply.1")
    driver.process.kill()
    os.killpg(pid, signal.SIGKILL)
    driver.wait()
    assert list(found_in(ws, canaries.values)), "the files are still as the act left them"
    Process(ws, run, None, kinds, **canaries.environ).ends("succeeded")
    nowhere(ws, canaries)


def group_of(leader: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != leader:
            try:
                if os.getpgid(int(entry.name)) == leader:
                    found.append(int(entry.name))
            except ProcessLookupError:
                continue
    return found


# --- they cannot be had ---------------------------------------------------------------------------


def _unset(_c: Canaries, environ: dict[str, str]) -> None:
    del environ["CANARY_ENV"]


def _short(_c: Canaries, environ: dict[str, str]) -> None:
    environ["CANARY_ENV"] = "abc"


def _open_file(c: Canaries, _environ: dict[str, str]) -> None:
    (c.folder / "key.pem").chmod(0o640)


def _link(c: Canaries, _environ: dict[str, str]) -> None:
    (c.folder / "key.pem").rename(c.folder / "other.pem")
    (c.folder / "key.pem").symlink_to(c.folder / "other.pem")


def _pipe(c: Canaries, _environ: dict[str, str]) -> None:
    (c.folder / "key.pem").unlink()
    os.mkfifo(c.folder / "key.pem", 0o600)


def _large(c: Canaries, _environ: dict[str, str]) -> None:
    (c.folder / "key.pem").write_text("x" * 70_000)


def _binary(c: Canaries, _environ: dict[str, str]) -> None:
    (c.folder / "key.pem").write_bytes(b"\xff\xfe" * 20)


def _with_nul(c: Canaries, _environ: dict[str, str]) -> None:
    (c.folder / "key.pem").write_bytes(b"abc\0defgh")


def _vault_says_no(c: Canaries, _environ: dict[str, str]) -> None:
    (c.folder / "vault.py").write_text(f"print({c.command!r})\nraise SystemExit(2)\n")


def _vault_hangs(c: Canaries, _environ: dict[str, str]) -> None:
    text = f"import os, time\nprint({c.command!r}, flush=True)\nos.fork()\ntime.sleep(600)\n"
    (c.folder / "vault.py").write_text(text)


def _vault_floods(c: Canaries, _environ: dict[str, str]) -> None:
    (c.folder / "vault.py").write_text("while True: print('x' * 1000)\n")


def _vault_dies(c: Canaries, _environ: dict[str, str]) -> None:
    (c.folder / "vault.py").write_text("import os\nos.kill(os.getpid(), 9)\n")


MISSING: Final[dict[str, tuple[str, Callable[[Canaries, dict[str, str]], None], str]]] = {
    "a variable that is not set": ("by_env", _unset, "it is not set where Interlock runs"),
    "three characters": ("by_env", _short, "fewer than 4 characters"),
    "a file that others may read": ("by_file", _open_file, "others than its owner may open it"),
    "a link": ("by_file", _link, "cannot be had from the file"),
    "a pipe": ("by_file", _pipe, "it is not a plain file"),
    "a large file": ("by_file", _large, "more than 65536 bytes"),
    "no text": ("by_file", _binary, "it is not text in UTF-8"),
    "a NUL": ("by_file", _with_nul, "it holds a NUL"),
    "a vault that says no": ("by_command", _vault_says_no, "it ended with exit code 2"),
    "a vault that hangs": ("by_command", _vault_hangs, "it did not end within 5 s"),
    "a vault that floods": ("by_command", _vault_floods, "it printed more than 65536 bytes"),
    "a vault that dies": ("by_command", _vault_dies, "it was ended by signal 9"),
}


def warrant_laid(ws: Path, run_id: str, act: Act = APPLY) -> Path:
    """Lay down the warrant that an honest driver would write."""
    directory = ws / ".interlock" / "acts" / run_id / f"{act.step}.{act.verb}.{act.attempt}"
    with Session.open(ws) as session:
        run = session.load(run_id)
        warrant = Local(session.workspace, lambda: run, os.environ, None, run.id)._warrant(
            act, directory
        )
    directory.mkdir(parents=True)
    (directory / "warrant.json").write_text(warrant.model_dump_json())
    return directory


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template") / "ws"
    settings = Canaries(root.parent / "outside").settings
    rig.build(root, settings=settings, change=CHANGE)
    for place, name in enumerate(("by_env", "by_file", "by_command")):
        rig.opened(root, drafted(name), ticket=f"CHG-{place}")
    return root


@pytest.mark.parametrize("what", MISSING)
def test_a_secret_that_cannot_be_had_is_a_clean_failure_that_names_it(
    template: Path, ws: Path, canaries: Canaries, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    name, spoil, says = MISSING[what]
    rig.copied(template, ws)
    (ws / "interlock.yaml").write_text(canaries.settings)
    environ = canaries.environ
    spoil(canaries, environ)
    for variable in ("CANARY_ENV", "VAULT_ADDR"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    run = f"CHG-{['by_env', 'by_file', 'by_command'].index(name)}.1"
    directory = warrant_laid(ws, run)
    assert main(directory) == 0
    outcome = read_outcome(directory)
    assert isinstance(outcome, Failed)
    assert outcome.mode == "secret_unavailable"
    assert outcome.message.startswith(f"the secret {name} cannot be had from the ")
    assert says in outcome.message
    assert rig.effects(ws) == []
    nowhere(ws, canaries)


def test_a_run_whose_secret_cannot_be_had_goes_back_without_a_person(
    ws: Path, canaries: Canaries
) -> None:
    workspace(ws, canaries)
    run = rig.opened(ws, drafted("by_file", "by_env"))
    Process(ws, run).ends("rolled_back")
    assert [(e["step"], e["verb"]) for e in rig.effects(ws)] == [("a", "apply"), ("a", "undo")]
    reason = rig.folded(ws, run).reason
    assert "b failed: secret_unavailable (the secret by_env cannot be had from" in reason


def test_without_consent_a_dry_run_has_a_secret_only_where_the_workspace_says_so(
    ws: Path, canaries: Canaries
) -> None:
    settings = canaries.settings.replace(
        "approvals: []", "approvals: [{role: boss, count: 1}]"
    ).replace("{env: CANARY_ENV}", "{env: CANARY_ENV, dry_run: true}", 1)
    rig.build(ws, settings=settings + "roles: {boss: anyone}\n", change=CHANGE)
    for place, name in enumerate(("by_env", "by_file"), 1):
        with pytest.raises(AssertionError, match="waiting"):
            rig.opened(ws, drafted(name), ticket=f"CHG-{place}")
    seen = []
    for run in ("CHG-1.1", "CHG-2.1"):
        Desk(ws).type("dry-run", run, env={**canaries.environ})
        ((_, _, outcome),) = outcomes(ws, run, "a")
        assert isinstance(outcome, Predicted)
        seen.append((outcome.grade, outcome.message))
    assert seen[0] == ("predicted", "")
    assert seen[1][0] == "none"
    assert "told after consent only (consent is missing: 1 x boss)" in seen[1][1]


@pytest.mark.parametrize("verb", ["check", "verify"])
def test_a_driver_that_lies_gets_no_secret_for_a_look_at_things(
    template: Path, ws: Path, canaries: Canaries, verb: str
) -> None:
    """The plan was never approved: where approvals are asked for, its looks get no secrets."""
    rig.copied(template, ws)
    settings = canaries.settings.replace("approvals: []", "approvals: [{role: boss, count: 1}]")
    (ws / "interlock.yaml").write_text(settings + "roles: {boss: anyone}\n")
    directory = warrant_laid(ws, "CHG-1.1", Act("a", verb, 1))  # type: ignore[arg-type]  # a verb
    assert main(directory) == 0
    outcome = read_outcome(directory)
    assert isinstance(outcome, Predicted if verb == "check" else Found)
    assert "its secrets are told after consent only" in outcome.message
    (ws / "interlock.yaml").write_text(f"{settings}roles: {{boss: [ann]}}\nallowed_signers: gone\n")
    directory = warrant_laid(ws, "CHG-1.1", Act("a", verb, 2))  # type: ignore[arg-type]  # a verb
    assert main(directory) == 0
    assert "gone: cannot be read" in str(read_outcome(directory))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("  by_env: ", "  by_env_2: ", "interlock.yaml no longer names the secret by_env"),
        (
            "by_env: {env: CANARY_ENV}",
            "by_env: {env: CANARY_ENV, environments: [prod]}",
            "the secret by_env may not be used in lab",
        ),
    ],
)
def test_the_list_of_secrets_is_read_again_by_the_act(
    template: Path, ws: Path, canaries: Canaries, old: str, new: str, says: str
) -> None:
    rig.copied(template, ws)
    text = canaries.settings.replace(old, new).replace(
        "  lab: {", "  prod: {approvals: [], max_targets: 1}\n  lab: {"
    )
    (ws / "interlock.yaml").write_text(text)
    directory = warrant_laid(ws, "CHG-0.1")
    assert main(directory) == 0
    outcome = read_outcome(directory)
    assert isinstance(outcome, Failed)
    assert says in outcome.message
    assert rig.effects(ws) == []


def _brings_a_secret(warrant: Any) -> None:
    warrant["brief"]["secrets"] = {"password": "chosen"}


def _brings_a_param(warrant: Any) -> None:
    warrant["brief"]["params"]["password"] = "chosen"


def _names_another(warrant: Any) -> None:
    param = next(p for p in warrant["step"]["params"] if p["name"] == "password")
    param["value"] = {"secret": "by_file"}


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        (_brings_a_secret, "a warrant holds no secret"),
        (_brings_a_param, "the params are not the step's"),
        (_names_another, "the step is not in the plan"),
    ],
)
def test_a_driver_that_lies_about_a_secret_gets_no_effect(
    template: Path, ws: Path, lie: Callable[[Any], None], says: str
) -> None:
    rig.copied(template, ws)
    directory = warrant_laid(ws, "CHG-0.1")
    warrant = json.loads((directory / "warrant.json").read_text())
    lie(warrant)
    (directory / "warrant.json").write_text(json.dumps(warrant))
    assert main(directory) == 0
    outcome = read_outcome(directory)
    assert isinstance(outcome, Unexpected)
    assert says in outcome.message
    assert rig.effects(ws) == []
