"""Hostile values through every string param of the catalog: refused, or data to the last byte."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from actors.ansible.kind import Ansible
from actors.catalog import read_catalog
from actors.spec import Brief, ChoiceParam, Done, ListParam, TextParam, problem_with
from hostile_values import ALL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.spec import ActorSpec, ParamSpec
    from hosts import Lab

PLAYBOOKS: Final = Path(__file__).parent.parent.parent / "playbooks"
FREE: Final = {("linux.config_file", "content")}
"""What may be any text: tried on a host."""
WORD: Final = re.compile(r"[A-Za-z0-9._:/@+~*?-]+")
"""What the others let through has no blank, quote, brace, dollar, break or control character."""
NEVER_ON_A_COMMAND_LINE: Final = {
    ("haproxy.member_drain", "backend"),
    ("haproxy.member_drain", "members"),
    ("haproxy.member_enable", "backend"),
    ("haproxy.member_enable", "members"),
    ("linux.file_prune", "name"),
}
"""These may begin with a dash: they reach a module of the actor's own, as an argument of it."""
PAGES: Final = {("linux.service_restart", "path"), ("nginx.site_deploy", "health_path")}
"""These look like paths of a host's files, and are a page's: only an HTTP server reads them."""
ROOTS: Final = ("etc", "usr", "var", "srv", "data", "opt", "home", "mnt", "backup", "root", "tmp")
ENDS: Final = ("", ".pem", ".key", ".conf")
BETWEEN: Final = ("/..", "/../../etc", "/.", "/", "/.ssh")
"""Between two parts of a path or behind its end, each leads elsewhere, or to what is hidden."""


def of_the_kind() -> dict[str, ActorSpec]:
    found = read_catalog(PLAYBOOKS).actors
    return {name: one.spec for name, one in found.items() if one.spec.kind == "ansible"}


def string_params(spec: ActorSpec) -> Iterator[tuple[str, TextParam]]:
    for name, param in spec.params.items():
        if isinstance(param, TextParam):
            yield name, param
        elif isinstance(param, ListParam) and isinstance(param.items, TextParam):
            yield name, param.items


def accepted(param: TextParam) -> list[str]:
    return [value for value in ALL if problem_with(param, value) is None]


def test_no_pattern_lets_more_through_than_a_word() -> None:
    assert len(ALL) >= 60
    tried = 0
    for actor, spec in of_the_kind().items():
        for name, param in string_params(spec):
            tried += 1
            if (actor, name) in FREE:
                assert len(accepted(param)) >= 60
                continue
            for value in accepted(param):
                assert WORD.fullmatch(value), (actor, name, value)
                harmless = (actor, name) in NEVER_ON_A_COMMAND_LINE
                assert harmless or not value.startswith("-"), (actor, name, value)
    assert tried >= 15


def paths_of(param: ParamSpec) -> list[str]:
    """List paths of a host's files that a param lets through; none if it is not for paths."""
    match param:
        case ChoiceParam(choices=choices):
            return [choice for choice in choices if choice.startswith("/")]
        case TextParam():
            tried = [f"/{root}/some/deep-er/place_1.d{end}" for root in ROOTS for end in ENDS]
            return [path for path in tried if problem_with(param, path) is None]
        case ListParam(items=items):
            return paths_of(items)
        case _:
            return []


def odd_paths(path: str) -> Iterator[str]:
    for at in [found.start() for found in re.finditer("/|$", path)]:
        yield from (f"{path[:at]}{between}{path[at:]}" for between in BETWEEN)


def test_no_path_leads_elsewhere_than_it_seems_to() -> None:
    tried = set()
    for actor, spec in of_the_kind().items():
        for name, param in spec.params.items():
            if (actor, name) in FREE | PAGES:
                continue
            one = param.items if isinstance(param, ListParam) else param
            paths = paths_of(param)
            assert paths or not getattr(one, "pattern", "").startswith("^/"), (actor, name)
            for odd in (odd for path in paths for odd in odd_paths(path)):
                assert problem_with(one, odd) is not None, (actor, name, odd)
                tried.add((actor, name))
    assert tried >= {
        ("linux.config_file", "file"),
        ("linux.file_prune", "directory"),
        ("postgresql.backup_check", "directory"),
        ("tls.certificate_deploy", "certificate_file"),
        ("tls.certificate_deploy", "key_file"),
        ("tls.certificate_deploy", "root_file"),
    }


def test_an_instant_is_one_that_a_calendar_and_a_clock_could_show() -> None:
    until = of_the_kind()["linux.sudo_grant"].params["until"]
    for good in ("20261125T0300Z", "20280229T2359Z", "20991231T0000Z", "20260430T1000Z"):
        assert problem_with(until, good) is None
    for bad in ("20269999T2959Z", "20260010T0000Z", "20261301T0000Z", "20260100T0000Z",
                "20260132T0000Z", "20260230T0000Z", "20260431T0000Z", "20260101T2400Z",
                "20260101T0060Z", "2026-0101T0000Z"):  # fmt: skip
        assert problem_with(until, bad) is not None, bad


@pytest.mark.parametrize("actor", sorted({actor for actor, _ in NEVER_ON_A_COMMAND_LINE}))
def test_what_may_begin_with_a_dash_is_on_no_command_line(actor: str) -> None:
    for playbook in (PLAYBOOKS / actor).glob("*.yml"):
        text = playbook.read_text()
        assert "argv" not in text
        assert "command:" not in text


@pytest.mark.xdist_group("hosts")
def test_free_text_arrives_byte_for_byte_and_runs_nothing(lab: Lab, tmp_path: Path) -> None:
    spec = of_the_kind()["linux.config_file"]
    param = spec.params["content"]
    assert isinstance(param, TextParam)
    values = accepted(param)
    before = set(lab[1].files())
    for number, text in enumerate(packed(values, param.max_length)):
        act(lab, tmp_path, spec, text, number)
        sent = f"{text}\n".encode()
        seen = lab[1].must(
            "python3", "-c", "import json;print(json.dumps(list(open('/etc/motd','rb').read())))"
        )
        assert bytes(json.loads(seen)) == sent
    written = {path for path in set(lab[1].files()) - before if not path.startswith("var/lib")}
    assert {path for path in written if "CANARY" in path} == set()
    assert written <= {"etc/motd", "etc"}  # of the folder, its time
    assert lab[1].processes() == []
    assert list(tmp_path.rglob("CANARY")) == []
    assert not Path("CANARY").exists()


def packed(values: list[str], room: int) -> Iterator[str]:
    """Join values to as few texts as their room allows."""
    text = ""
    for value in values:
        if text and len(text) + 1 + len(value) > room:
            yield text
            text = value
        else:
            text = f"{text}\n{value}" if text else value
    yield text


def act(lab: Lab, tmp_path: Path, spec: ActorSpec, text: str, number: int) -> None:
    workdir = tmp_path / f"act-{number}"
    workdir.mkdir()
    brief = Brief(
        key=f"hostile/{number}/apply/1",
        verb="apply",
        attempt=1,
        folder=str(PLAYBOOKS / spec.name),
        spec=spec,
        params={"file": "/etc/motd", "content": text},
        targets=(lab[1].target,),
        timeout_s=spec.timeouts.apply_s,
        workdir=str(workdir),
    )
    outcome = Ansible().perform(brief, {"known_hosts_path": str(lab.known_hosts)})
    assert isinstance(outcome, Done), outcome
