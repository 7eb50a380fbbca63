"""A look at a host leaves out what logins leave, and nothing that is only called like it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.ansible.look_here import files

if TYPE_CHECKING:
    from pathlib import Path

LEFT: Final = (
    "home/ann/.ansible/tmp/x", "root/.ansible/tmp/x", "run/sudo/ts/1000", "run/user/1000/bus",
    "run/systemd/sessions/4", "run/utmp", "var/log/auth.log", "var/log/messages", "var/log/secure",
    "var/log/journal/4711/system.journal", "var/log/journal/4711/user-1000.journal",
    "var/log/wtmp", "proc/1/stat",
)  # fmt: skip
SEEN: Final = (
    "home/ann/.ssh/authorized_keys", "root/.ssh/authorized_keys", "home/user/notes", "etc/secure",
    "etc/sudo/sudo.conf", "srv/app/.ansible/x", "srv/app/messages", "srv/app/journal/1", "opt/user",
    "var/log/journal/4711/system@000-1.journal", "var/log/journal/4711/user-1000@000-1.journal",
    "var/spool/syslog", "etc/pam.d/sudo", "usr/bin/sudo",
)  # fmt: skip


def test_a_look_leaves_out_what_logins_leave_and_nothing_else_of_that_name(tmp_path: Path) -> None:
    for name in (*LEFT, *SEEN):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    found = files(str(tmp_path), frozenset({"/home/ann", "/root"}))
    assert [name for name in SEEN if f"/{name}" not in found] == []
    assert [name for name in LEFT if f"/{name}" in found] == []
    folders = ("/home/ann", "/root", "/run", "/tmp", "/var/log", "/var/log/journal/4711")
    assert [name for name in folders if name in found] == []


def test_a_link_to_a_folder_is_seen_and_not_followed(tmp_path: Path) -> None:
    release = tmp_path / "srv" / "releases" / "1"
    release.mkdir(parents=True)
    (release / "page").write_text("x")
    (tmp_path / "srv" / "current").symlink_to("releases/1")
    found = files(str(tmp_path), frozenset({"/root"}))
    assert "/srv/current" in found
    assert "/srv/current/page" not in found
    before = found["/srv/current"]
    (tmp_path / "srv" / "current").unlink()
    (tmp_path / "srv" / "current").symlink_to("releases/2")
    assert files(str(tmp_path), frozenset({"/root"}))["/srv/current"] != before
