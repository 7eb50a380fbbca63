"""The kind ansible: what it makes of what happens on hosts."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any, Final

import pytest

from actors.ansible.results import read_play
from actors.kinds import ActorsError
from actors.spec import Done, Failed, Found, InDoubt, Outcome, Predicted, Scalar, Target, Unexpected
from ansible_rig import Actor

HERE: Final[dict[str, Scalar]] = {"transport": "local"}
TWO = (Target(name="one", connection=HERE), Target(name="two", connection=HERE))


@pytest.fixture
def actor(tmp_path: Path) -> Actor:
    return Actor(tmp_path)


# --- the verbs ------------------------------------------------------------------------------------

FILE_VERIFY = """\
- hosts: targets
  tasks:
    - ansible.builtin.stat: {path: "{{ interlock.params.path }}/{{ inventory_hostname }}"}
      register: found
    - ansible.builtin.set_stats:
        aggregate: false
        data:
          interlock_state: "{{ 'applied' if found.stat.exists else 'not_applied' }}"
          size: "{{ found.stat.size | default(0) }}"
"""
FILE_UNDO = """\
- hosts: targets
  tasks:
    - ansible.builtin.file:
        path: "{{ interlock.params.path }}/{{ inventory_hostname }}"
        state: absent
"""
FILE_APPLY = """\
- name: Write it
  ansible.builtin.copy:
    content: "hello\\n"
    dest: "{{ interlock.params.path }}/{{ inventory_hostname }}"
- ansible.builtin.set_stats: {aggregate: false, data: {size: 6}}
"""
PATH_PARAM = "path: {type: text, summary: Where., pattern: '^/.*$', max_length: 400}"
SIZE = "size: {type: integer, summary: Bytes., minimum: 0, maximum: 999}"


def test_an_actor_lives_through_all_its_verbs(actor: Actor, tmp_path: Path) -> None:
    actor.targets = TWO
    actor.write(FILE_APPLY, params=PATH_PARAM, outputs=SIZE, verify=FILE_VERIFY, undo=FILE_UNDO)
    actor.settings["forks"] = 2
    there = tmp_path / "there"
    there.mkdir()
    path = str(there)
    seen = actor.ask("check", path=path)
    assert isinstance(seen, Predicted)
    assert (seen.grade, [change.target for change in seen.changes]) == ("predicted", ["one", "two"])
    assert seen.changes[0].diff == (f"--- {path}/one\n+++ {path}/one\n@@ -0,0 +1 @@\n+hello\n")
    assert list(there.iterdir()) == [], "a dry run writes nothing"
    assert actor.ask("verify", path=path) == Found(state="not_applied")
    assert actor.ask("apply", path=path) == Done(changed=True, outputs={"size": 6})
    assert sorted(file.name for file in there.iterdir()) == ["one", "two"]
    assert actor.ask("verify", path=path) == Found(state="applied", outputs={"size": 6})
    assert actor.ask("apply", path=path) == Done(changed=False, outputs={"size": 6})
    (there / "one").unlink()
    partly = actor.ask("verify", path=path)
    assert partly == Found(state="partial", message="applied: two; not_applied: one")
    assert actor.ask("undo", path=path) == Done(changed=True)
    assert actor.ask("verify", path=path) == Found(state="not_applied")


def test_an_actor_that_only_reads_needs_one_playbook(actor: Actor) -> None:
    tasks = "- ansible.builtin.set_stats: {aggregate: false, data: {size: 7}}"
    actor.write(tasks, outputs=SIZE, verify="", modes="", effect="read")
    assert actor.ask("apply") == Done(changed=False, outputs={"size": 7})
    assert actor.ask("verify") == Found(state="applied", outputs={"size": 7})


def test_a_dry_run_does_not_guess_why_a_hidden_task_was_skipped(actor: Actor) -> None:
    hidden = "- {name: Hidden, ansible.builtin.ping: {}, no_log: true, when: false}"
    seen = actor.write(f"{hidden}\n- ansible.builtin.ping:\n").ask("check")
    assert isinstance(seen, Predicted)
    assert seen.message == "'Hidden' is not predictable (1 of 1 targets)"


def test_only_set_stats_publishes(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    said = {"ansible_stats": {"data": {"size": 1}}}
    lines = [
        {"event": "ok", "host": name, "module": module, "result": said}
        for name, module in (("one", "ansible.builtin.set_stats"), ("two", "own_module"))
    ]
    events.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    played = read_play(events)
    assert {name: host.published for name, host in played.hosts.items()} == {
        "one": {"size": 1},
        "two": {},
    }


def test_a_playbook_is_told_who_it_is(actor: Actor, tmp_path: Path) -> None:
    out = tmp_path / "out"
    actor.targets = (Target(name="here", labels={"rack": "r1"}, connection=HERE),)
    actor.write(
        f"- ansible.builtin.copy: {{content: '{{{{ interlock | to_json }}}}', dest: {out}}}",
        params="missing: {type: integer, summary: N., minimum: 0, maximum: 9, required: false}",
    )
    for verb, number in (("apply", 1), ("apply", 2)):
        assert isinstance(actor.ask(verb), Done)  # type: ignore[arg-type]  # a verb
        told = json.loads(out.read_text())
        assert told["params"] == {"missing": None}
        assert told["targets"] == ["here"]
        assert told["hosts"] == {"here": {"object": "host", "labels": {"rack": "r1"}}}
        assert (told["key"], told["step"]) == (f"CHG-1.1/step/apply/{number}", "CHG-1.1/step")
        keep = told["keep"]
    assert keep.startswith("/var/lib/interlock/")
    assert re.fullmatch(r"[0-9a-f]{32}-here", keep.removeprefix("/var/lib/interlock/"))


def test_what_several_targets_keep_on_one_machine_does_not_collide(
    actor: Actor, tmp_path: Path
) -> None:
    actor.settings["keep_dir"] = str(tmp_path / "keep")
    actor.targets = TWO
    path = tmp_path / "{{ inventory_hostname }}"
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"the former {name}")
    keep = f"interlock_keep: {{keep: '{{{{ interlock.keep }}}}', path: '{path}'"
    actor.write(
        f"- {keep}}}\n- ansible.builtin.copy: {{content: new, dest: '{path}'}}",
        undo="- hosts: targets\n  tasks:\n"
        f"    - {keep}, state: restored}}\n"
        "    - ansible.builtin.file: {path: '{{ interlock.keep }}', state: absent}\n",
    )
    for _ in range(2):
        assert isinstance(actor.ask("apply"), Done)
    assert len(list((tmp_path / "keep").iterdir())) == 2
    assert isinstance(actor.ask("undo"), Done)
    for name in ("one", "two"):
        assert (tmp_path / name).read_text() == f"the former {name}"
    assert list((tmp_path / "keep").iterdir()) == []


# --- verdicts -------------------------------------------------------------------------------------

TOUCH = "- {name: Touch, ansible.builtin.command: {argv: ['true']}}"
SHEET = """\
format: 1
failures:
  - {mode: broken, when: {module: ansible.builtin.command, fields: {rc: 3}}}
  - {mode: half, when: {task: Stop half way}}
  - {mode: broken, when: {says: 'no room'}}
"""
QUIET = ", changed_when: false"
EXIT = "ansible.builtin.command: {{argv: [sh, -c, 'exit {}']}}"

VERDICTS: dict[str, tuple[str, Outcome | str]] = {
    "a declared failure by its fields": (
        f"- {{name: Look, {EXIT.format(3)}{QUIET}}}",
        "failed broken",
    ),
    "another exit code is not that one": (f"- {{name: Look, {EXIT.format(4)}}}", "unexpected"),
    "a declared failure after a change": (
        f"{TOUCH}\n- {{name: Look, {EXIT.format(3)}}}",
        "in_doubt",
    ),
    "a declared failure that leaves a part": (
        f"{TOUCH}\n- {{name: Stop half way, ansible.builtin.fail: {{msg: so}}}}",
        "failed half",
    ),
    "a declared failure by its words": (
        "- {ansible.builtin.fail: {msg: there is no room left}}",
        "failed broken",
    ),
    "a failure that the playbook named": (
        (
            "- ansible.builtin.set_stats: {aggregate: false, data: {interlock_failure: broken}}\n"
            "- ansible.builtin.fail: {msg: so}"
        ),
        "failed broken",
    ),
    "a failure that the playbook named and nobody declared": (
        (
            "- ansible.builtin.set_stats: {aggregate: false, data: {interlock_failure: other}}\n"
            "- ansible.builtin.fail: {msg: so}"
        ),
        "unexpected",
    ),
    "a change that was put back": (
        (
            f"{TOUCH}\n"
            "- ansible.builtin.set_stats:\n    aggregate: false\n"
            "    data: {interlock_failure: broken, interlock_left: nothing}\n"
            "- ansible.builtin.fail: {msg: so}"
        ),
        "failed broken",
    ),
    "a failure that was rescued": (
        (
            "- block:\n    - ansible.builtin.fail: {msg: so}\n"
            "  rescue:\n    - ansible.builtin.debug: {msg: mended}"
        ),
        "done",
    ),
    "a failure that was ignored": (
        "- {ansible.builtin.fail: {msg: so}, ignore_errors: true}",
        "done",
    ),
    "a rescue that fails itself": (
        (
            "- block:\n    - ansible.builtin.fail: {msg: so}\n"
            "  rescue:\n    - {name: Stop half way, ansible.builtin.fail: {msg: so}}"
        ),
        "failed half",
    ),
    "an output that nobody declared": (
        "- ansible.builtin.set_stats: {aggregate: false, data: {colour: red}}",
        "unexpected",
    ),
    "an unknown module": ("- {name: Look, ansible.builtin.nosuch: {}}", "unexpected"),
    "a template that cannot be made": (
        "- {name: Look, ansible.builtin.debug: {msg: '{{ nosuch }}'}}",
        "unexpected",
    ),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_a_play_is_judged_by_what_happened_on_each_host(actor: Actor, case: str) -> None:
    tasks, expected = VERDICTS[case]
    outcome = actor.write(tasks, sheet=SHEET).ask("apply")
    said = f"{outcome.kind} {outcome.mode}" if isinstance(outcome, Failed) else outcome.kind
    assert said == expected, outcome


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("- hosts: nosuch\n  tasks: []\n", "the play did nothing on here"),
        ("- hosts: targets\n  tasks: []\n", "the play did nothing on here"),
        ("[]\n", "Ansible could not begin"),
        ("- hosts: targets\n  tasks: {\n", "Ansible could not begin"),
        (
            "- hosts: localhost\n  tasks:\n    - ansible.builtin.debug: {}\n",
            "localhost, which is no target",
        ),
    ],
)
def test_a_play_that_did_nothing_is_not_done(actor: Actor, head: str, says: str) -> None:
    actor.write(TOUCH)
    (actor.folder / "apply.yml").write_text(head)
    outcome = actor.ask("apply")
    assert isinstance(outcome, Unexpected)
    assert says in outcome.message


def test_one_of_two_hosts_that_fails_after_the_other_changed_leaves_doubt(actor: Actor) -> None:
    actor.targets = TWO
    actor.write(
        "- ansible.builtin.command: {argv: [sh, -c, 'exit 3']}\n"
        "  changed_when: false\n"
        "  when: inventory_hostname == 'one'\n"
        "- ansible.builtin.command: {argv: ['true']}",
        sheet=SHEET,
    )
    outcome = actor.ask("apply")
    assert isinstance(outcome, InDoubt)
    assert "failed as broken" in outcome.message
    assert "after two changed" in outcome.message


def test_a_verify_that_changes_something_is_not_believed(actor: Actor) -> None:
    tasks = "    - ansible.builtin.command: {argv: ['true']}\n"
    verify = (
        f"- hosts: targets\n  tasks:\n{tasks}"
        "    - ansible.builtin.set_stats: {aggregate: false, data: {interlock_state: applied}}\n"
    )
    outcome = actor.write(TOUCH, verify=verify).ask("verify")
    assert outcome == Unexpected(message="verify changed something on here; it must only read")


def test_a_verify_that_fails_does_not_know(actor: Actor) -> None:
    verify = "- hosts: targets\n  tasks:\n    - {name: Look, ansible.builtin.fail: {msg: so}}\n"
    outcome = actor.write(TOUCH, verify=verify).ask("verify")
    assert outcome == Found(state="unknown", message="1 not read; here: verify failed: 'Look': so")


# --- outputs --------------------------------------------------------------------------------------

FOLDS: Final[dict[str, tuple[str, str, Any]]] = {
    "any": ("{type: boolean, summary: S.}", "inventory_hostname == 'one'", True),
    "all": ("{type: boolean, summary: S.}", "inventory_hostname == 'one'", False),
    "count": ("{type: integer, summary: S., minimum: 0, maximum: 9}", "true", 2),
    "sum": ("{type: integer, summary: S., minimum: 0, maximum: 9}", "3", 6),
    "min": ("{type: integer, summary: S., minimum: 0, maximum: 9}", "3", 3),
    "max": ("{type: integer, summary: S., minimum: 0, maximum: 9}", "3", 3),
    "same": ("{type: text, summary: S., pattern: '^[a-z]+$'}", "'abc'", "abc"),
    "list": (
        "{type: list, summary: S., items: {type: text, summary: S., pattern: '^[a-z]+$'}}",
        "inventory_hostname",
        ("one", "two"),
    ),
}


def test_outputs_of_hosts_become_one_as_the_sheet_says(actor: Actor) -> None:
    actor.targets = TWO
    outputs = "\n".join(f"o_{name}: {declared}" for name, (declared, _, _) in FOLDS.items())
    data = ", ".join(f'o_{name}: "{{{{ {value} }}}}"' for name, (_, value, _) in FOLDS.items())
    sheet = "format: 1\noutputs: {%s}\n" % ", ".join(f"o_{name}: {name}" for name in FOLDS)  # noqa: UP031 - braces are the YAML's
    tasks = f"- ansible.builtin.set_stats: {{aggregate: false, data: {{{data}}}}}"
    outcome = actor.write(tasks, outputs=outputs, sheet=sheet).ask("apply")
    assert outcome == Done(
        changed=False, outputs={f"o_{name}": value for name, (_, _, value) in FOLDS.items()}
    )
    published = json.loads((actor.last() / "hosts.json").read_text())
    assert published["one"]["o_sum"] == 3
    assert published["two"]["o_list"] == "two"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("{{ inventory_hostname }}", "hosts do not agree on o"),
        ("Not small", "one published o, which must match"),
        ("{{ 7 }}", "one published o, which must be a string"),
    ],
)
def test_an_output_that_does_not_fit_is_unexpected(actor: Actor, value: str, says: str) -> None:
    actor.targets = TWO
    tasks = f"- ansible.builtin.set_stats: {{aggregate: false, data: {{o: '{value}'}}}}"
    outputs = "o: {type: text, summary: S., pattern: '^[a-z]+$'}"
    outcome = actor.write(tasks, outputs=outputs).ask("apply")
    assert isinstance(outcome, Unexpected)
    assert outcome.message.startswith(says)


# --- what stays on the controller -----------------------------------------------------------------


def test_nothing_of_the_environment_or_the_params_stays_behind(
    actor: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_API_KEY", "canary-of-the-environment")
    monkeypatch.setenv("ANSIBLE_ROLES_PATH", "canary-of-a-setting")
    out = tmp_path / "out"
    tasks = (
        "- name: Tell all\n"
        "  ansible.builtin.copy:\n"
        "    content: \"{{ lookup('ansible.builtin.pipe', 'env; cat /proc/$PPID/environ') }}\"\n"
        f"    dest: {out}\n"
        "  no_log: true\n"
    )
    params = "word: {type: text, summary: W., pattern: '^.*$'}"
    actor.write(tasks, params=params)
    assert isinstance(actor.ask("apply", word="canary-of-a-param"), Done)
    assert "INTERLOCK_EVENTS" in out.read_text()
    assert "canary" not in out.read_text()
    acts = tmp_path / "state"
    assert [p for p in acts.rglob("*") if p.is_file() and b"canary" in p.read_bytes()] == []
    for path in (actor.last(), *actor.last().rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0, f"{path} is open to others: {mode:o}"
    names = {path.name for path in actor.last().iterdir()}
    assert names == {"inventory.json", "events.jsonl", "playbook.log", "ended.json", "hosts.json"}


def test_a_very_large_result_is_kept_whole_and_reported_short(actor: Actor) -> None:
    size = 1_500_000
    script = f"import sys; sys.stdout.write('x' * {size}); sys.exit(3)"
    command = f'ansible.builtin.command: {{argv: [python3, -c, "{script}"]}}'
    tasks = f"- {{name: Talk, {command}, changed_when: false}}"
    outcome = actor.write(tasks).ask("apply")
    assert isinstance(outcome, Unexpected)
    assert len(outcome.message) < 1_000
    (event,) = (event for event in actor.events() if event["event"] == "failed")
    assert event["result"]["stdout"] == "x" * size
    assert event["result"]["rc"] == 3


def test_more_events_than_allowed_end_the_act(actor: Actor) -> None:
    actor.settings["events_mb"] = 1
    script = "import sys; sys.stdout.write('x' * 800000)"
    tasks = f'- {{name: Talk, ansible.builtin.command: {{argv: [python3, -c, "{script}"]}}}}'
    outcome = actor.write(tasks).ask("apply")
    assert isinstance(outcome, InDoubt)
    assert "events_mb" in outcome.message
    assert (actor.last() / "events.jsonl").stat().st_size < 1_100_000


# --- what is refused before anything begins -------------------------------------------------------


@pytest.mark.parametrize(
    ("connection", "says"),
    [
        ({"transport": "docker"}, "transport"),
        ({"ansible_connection": "local"}, "ansible_connection"),
        ({"address": "-oProxyCommand=touch x"}, "address"),
        ({"address": "{{ lookup('pipe', 'id') }}"}, "address"),
        ({"user": "-l root"}, "user"),
        ({"port": 0}, "port"),
        ({"identity_file": "/tmp/{{ x }}"}, "identity_file"),
        ({"python": "/usr/bin/python3 -c 1"}, "python"),
    ],
)
def test_a_connection_says_only_what_it_may(
    actor: Actor, connection: dict[str, str | int], says: str
) -> None:
    actor.targets = (Target(name="here", connection=connection),)
    actor.write(TOUCH)
    with pytest.raises(ActorsError, match=says):
        actor.ask("apply")


def test_a_param_that_the_manifest_does_not_declare_is_refused(actor: Actor) -> None:
    actor.write(TOUCH)
    with pytest.raises(ActorsError, match="has no param ansible_host"):
        actor.ask("apply", ansible_host="elsewhere")


def test_a_sheet_that_cannot_be_read_is_refused(actor: Actor) -> None:
    actor.write(TOUCH, sheet="format: 1\nfailures:\n  - {mode: broken, when: {grep: x}}\n")
    with pytest.raises(ActorsError, match=r"ansible\.yaml:3: "):
        actor.ask("apply")


def test_an_act_without_a_target_plays_on_the_controller(actor: Actor) -> None:
    actor.targets = ()
    tasks = "- ansible.builtin.set_stats: {aggregate: false, data: {size: 7}}"
    actor.write(tasks, outputs=SIZE, verify="", modes="", effect="read")
    assert actor.ask("apply") == Done(changed=False, outputs={"size": 7})


def test_a_host_that_was_never_reached_is_a_clean_failure(actor: Actor) -> None:
    connection: dict[str, Scalar] = {"address": "127.0.0.1", "port": 1, "user": "nobody"}
    actor.targets = (Target(name="dark", connection=connection),)
    outcome = actor.write(TOUCH).ask("apply")
    assert isinstance(outcome, Failed)
    assert (outcome.mode, "dark: " in outcome.message) == ("unreachable", True)
    host = json.loads((actor.last() / "inventory.json").read_text())["targets"]["hosts"]["dark"]
    assert not Path(host["ansible_control_path_dir"]).exists(), "no sockets stay behind"
    for says in ("StrictHostKeyChecking=yes", "ServerAliveInterval=3", "ServerAliveCountMax=2"):
        assert says in host["ansible_ssh_common_args"]


def test_a_host_in_the_dark_whose_actor_does_not_foresee_it_leaves_doubt(actor: Actor) -> None:
    actor.targets = (Target(name="dark", connection={"address": "127.0.0.1", "port": 1}),)
    assert isinstance(actor.write(TOUCH, modes="").ask("apply"), InDoubt)
    found = actor.ask("verify")
    assert isinstance(found, Found)
    assert (found.state, "unreachable" in found.message) == ("unknown", True)
