"""The warm server: private, gone with its owner, and nothing of one play is in the next."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import zipfile
from importlib.util import MAGIC_NUMBER
from pathlib import Path

import pytest

from actors.ansible import inside, lukewarm, reach
from actors.spec import Done, Target
from ansible_rig import ROOT, Actor, until

TOUCH = "- {name: Touch, ansible.builtin.command: {argv: ['true']}}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "warm"


@pytest.fixture
def actor(tmp_path: Path, home: Path) -> Actor:
    actor = Actor(tmp_path)
    actor.settings = {"warm_path": str(home)}
    return actor


def servers(home: Path) -> list[int]:
    """List the processes of the server that lives here."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"actors.ansible.warm" in words and str(home).encode() in words:
                found.append(int(entry.name))
    return found


def test_one_server_serves_many_plays_and_is_private(actor: Actor, home: Path) -> None:
    actor.write(TOUCH)
    for _ in range(2):
        assert isinstance(actor.ask("apply"), Done)
    (server,) = servers(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    (listening,) = (path for path in home.iterdir() if path.is_socket())
    assert stat.S_IMODE(listening.stat().st_mode) == 0o600
    environ = Path("/proc", str(server), "environ").read_bytes()
    names = {entry.partition(b"=")[0].decode() for entry in environ.split(b"\0") if entry}
    known = {*lukewarm.FIXED, "ANSIBLE_HOME", "ANSIBLE_LOCAL_TEMP", "PYTHONPATH", "VIRTUAL_ENV"}
    assert names <= known


def test_nothing_of_one_play_is_in_the_next(actor: Actor, tmp_path: Path) -> None:
    out = tmp_path / "out"
    params = "word: {type: text, summary: W., pattern: '^[a-z]*$', required: false}"
    actor.write(
        '- ansible.builtin.set_fact: {left: "{{ interlock.params.word }}"}\n'
        f"- ansible.builtin.copy: {{content: '{{{{ left | default(1) }}}}', dest: '{out}'}}\n"
        "- ansible.builtin.set_stats: {aggregate: false, data: {}}",
        params=params,
    )
    assert isinstance(actor.ask("apply", word="first"), Done)
    assert out.read_text() == "first"
    actor.write(
        f"- ansible.builtin.copy:\n    dest: '{out}'\n"
        "    content: \"{{ left | default('nothing') }} {{ interlock.params.word }} "
        "{{ lookup('ansible.builtin.env', 'LEFT') }}\"",
        params=params,
    )
    assert isinstance(actor.ask("apply", word="second"), Done)
    assert out.read_text() == "nothing second "
    first, second = sorted((tmp_path / "state").glob("acts/*/*/ansible-apply/events.jsonl"))
    assert "first" not in second.read_text()
    assert "second" not in first.read_text()


OWN = """\
from ansible.module_utils.basic import AnsibleModule
AnsibleModule(argument_spec={}).exit_json(changed=False, mine=True)
"""


def lending(actor: Actor, home: Path) -> Path:
    """Play until the server has built what it lends."""
    actor.write(TOUCH)
    for _ in range(4):
        assert isinstance(actor.ask("apply"), Done)
    found = "modules-????????????????????"
    built: list[Path] = until(lambda: [*home.glob(found)], "it has built what it lends")
    return built[0]


def archive(built: Path) -> bytes:
    """Take the archive out of what Ansible keeps of a module."""
    from ansible.executor import (  # type: ignore[import-untyped]  # noqa: PLC0415 - slow to import
        module_common,
    )

    return base64.b64decode(module_common._CachedModule.load(str(built)).zip_data)


def test_a_play_on_this_machine_borrows_its_modules_with_their_byte_code(
    actor: Actor, home: Path, tmp_path: Path
) -> None:
    lent = lending(actor, home) / "ansible.modules.command-ZIP_DEFLATED-none"
    kept = tmp_path / "kept"
    actor.write(
        "- name: Keep what this very task was built from\n"
        "  ansible.builtin.command:\n"
        f"    argv: [sh, -c, 'cp \"$ANSIBLE_LOCAL_TEMP\"/ansiballz_cache/{lent.name} {kept}']"
    )
    assert isinstance(actor.ask("apply"), Done)
    with zipfile.ZipFile(io.BytesIO(archive(kept))) as full:
        names = {entry.filename for entry in full.infolist()}
        sources = {name for name in names if name.endswith(".py")}
        own = {"ansible/modules/__init__.py", "ansible/modules/command.py"}
        assert own < sources
        assert {f"{name}c" for name in sources - own} == names - sources
        with zipfile.ZipFile(io.BytesIO(archive(lent))) as bare:
            assert {entry.filename for entry in bare.infolist()} == sources
            assert all(bare.read(name) == full.read(name) for name in sources)


def test_byte_code_of_another_python_is_left_aside(
    actor: Actor, home: Path, tmp_path: Path
) -> None:
    lent = lending(actor, home) / "local" / "ansible.modules.command-ZIP_DEFLATED-none"
    for name, magic in (("own.zip", MAGIC_NUMBER), ("foreign.zip", b"\x01\x02\r\n")):
        with (
            zipfile.ZipFile(io.BytesIO(archive(lent))) as full,
            zipfile.ZipFile(tmp_path / name, "w") as made,
        ):
            for entry in full.infolist():
                content = full.read(entry)
                compiled = entry.filename.endswith(".pyc")
                made.writestr(entry, magic + content[4:] if compiled else content)
        look = "import ansible.module_utils.basic as b; print(b.__file__, b.AnsibleModule.__name__)"
        said = subprocess.run(
            [sys.executable, "-S", "-c", look],
            env={"PYTHONPATH": str(tmp_path / name)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        suffix = "pyc" if name == "own.zip" else "py"
        assert said == [f"{tmp_path / name}/ansible/module_utils/basic.{suffix}", "AnsibleModule"]


@pytest.mark.parametrize(
    ("transports", "local"), [("", True), ("local local", True), ("local ssh", False)]
)
def test_byte_code_is_for_plays_that_reach_nobody_else(
    tmp_path: Path, transports: str, local: bool
) -> None:
    targets = tuple(
        Target(name=f"h{n}", connection={"transport": transport})
        for n, transport in enumerate(transports.split())
    )
    file = tmp_path / "inventory.json"
    file.write_text(json.dumps(reach.inventory(targets, reach.Options(), str(tmp_path))))
    assert inside.is_local(file) is local


def test_a_play_that_cannot_borrow_builds_its_own(actor: Actor, home: Path) -> None:
    lent = lending(actor, home) / "local" / "ansible.modules.command-ZIP_DEFLATED-none"
    lent.unlink()
    lent.mkdir()  # of which nobody can make a hard link
    actor.write(TOUCH)
    assert isinstance(actor.ask("apply"), Done)


def test_what_is_lent_is_never_taken_for_an_actors_own(actor: Actor, home: Path) -> None:
    lent = lending(actor, home) / "local" / "ansible.modules.stat-ZIP_DEFLATED-none"
    before = lent.read_bytes()
    actor.write(
        "- {stat: {}, register: said}\n- ansible.builtin.assert: {that: said.mine}\n"
        "- {ansible.builtin.stat: {path: /}, register: real}\n"
        "- ansible.builtin.assert: {that: real.stat.exists}"
    )
    (actor.folder / "library").mkdir()
    (actor.folder / "library" / "stat.py").write_text(OWN)
    outcome = actor.ask("apply")
    actor.settings["warm"] = "off"
    assert outcome == actor.ask("apply"), "it is as Ansible by itself would have it"
    assert lent.read_bytes() == before


def test_a_server_that_is_killed_is_started_again(actor: Actor, home: Path) -> None:
    actor.write(TOUCH)
    assert isinstance(actor.ask("apply"), Done)
    (server,) = servers(home)
    os.kill(server, signal.SIGKILL)
    os.waitpid(server, 0)
    assert isinstance(actor.ask("apply"), Done)
    assert servers(home) not in ([], [server])


@pytest.mark.parametrize("oddity", ["open", "a link", "a file"])
def test_a_place_that_is_not_private_gets_no_server(
    actor: Actor, home: Path, tmp_path: Path, oddity: str
) -> None:
    match oddity:
        case "open":
            home.mkdir()
            home.chmod(0o755)
        case "a link":
            (tmp_path / "elsewhere").mkdir(mode=0o700)
            home.symlink_to(tmp_path / "elsewhere")
        case _:
            home.write_text("x")
    assert isinstance(actor.write(TOUCH).ask("apply"), Done), "it is played cold"
    assert servers(home) == []


def test_a_version_that_nobody_tried_is_played_cold(
    actor: Actor, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lukewarm, "KNOWN_GOOD", ("2.99.0",))
    assert isinstance(actor.write(TOUCH).ask("apply"), Done)
    assert servers(home) == []


def test_a_socket_that_nobody_serves_is_no_obstacle(actor: Actor, home: Path) -> None:
    actor.write(TOUCH)
    assert isinstance(actor.ask("apply"), Done)
    (server,) = servers(home)
    (listening,) = (path for path in home.iterdir() if path.is_socket())
    os.kill(server, signal.SIGKILL)
    os.waitpid(server, 0)
    assert listening.exists(), "it was left behind"
    assert isinstance(actor.ask("apply"), Done)


OWNER = """\
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from ansible_rig import Actor
actor = Actor(Path({where!r}))
actor.settings = {{"warm_path": {home!r}}}
outcome = actor.write({tasks!r}).ask("apply")
print(outcome.kind, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, None])
def test_a_server_goes_with_its_owner(
    tmp_path: Path, home: Path, how: signal.Signals | None
) -> None:
    script = OWNER.format(
        root=str(ROOT), tests=str(ROOT / "tests"), where=str(tmp_path), home=str(home), tasks=TOUCH
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdin is not None
        assert owner.stdout.readline() == "done\n"
        assert len(servers(home)) == 1
        if how is None:
            owner.stdin.close()
        else:
            owner.send_signal(how)
        owner.wait()
    until(lambda: not servers(home), "the server has gone with its owner")
    assert [path for path in home.iterdir() if path.is_socket()] == []


def test_a_caller_who_says_nonsense_harms_nobody(actor: Actor, home: Path) -> None:
    actor.write(TOUCH)
    assert isinstance(actor.ask("apply"), Done)
    (listening,) = (path for path in home.iterdir() if path.is_socket())
    for words in (b"", b"\n", b"{}\n", b"not json\n", b'{"values_length": 5}\nx', b"\xff" * 70_000):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(listening))
            caller.sendall(words)
    assert isinstance(actor.ask("apply"), Done)
    # It may be building what it lends: that is a fork of its own, and ends.
    until(lambda: len(servers(home)) == 1, "what the nonsense forked has gone")
