"""Ansible module: keeps what an apply is about to change, so that undo can put it back.

1. The first keep of a step counts: a second attempt never keeps what the first one has written.
2. That a file was not there is kept as well. So is its owner, its group and its mode.
3. To keep is no change of the target; to restore is one, if anything differs.
4. What was never kept was never changed: to restore it does nothing.

    interlock_keep: {keep: "{{ interlock.keep }}", path: /etc/motd}
    interlock_keep: {keep: "{{ interlock.keep }}", name: version, value: "{{ now.stdout }}"}
    interlock_keep: {keep: "{{ interlock.keep }}", path: /etc/motd, state: restored}

`state: told` returns what was kept and does nothing. `was` is `present`, `absent` (a file), or
`unknown` (nothing was kept); `value` is the value that was kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]  # it has none

__all__ = ["main"]

ARGUMENTS = {
    "keep": {"type": "path", "required": True},
    "path": {"type": "path"},
    "name": {"type": "str"},
    "value": {"type": "raw"},
    "state": {"type": "str", "choices": ["kept", "restored", "told"], "default": "kept"},
}


def main() -> None:
    """Do what is asked."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        required_one_of=[("path", "name")],
        mutually_exclusive=[("path", "name"), ("path", "value")],
    )
    asked = module.params
    name = asked["name"] or hashlib.sha256(asked["path"].encode()).hexdigest()[:24]
    note = Path(asked["keep"]) / f"{name}.json"
    kept = json.loads(note.read_text()) if note.exists() else None
    if asked["state"] == "kept" and kept is None:
        kept = _noted(asked)
        if not module.check_mode:
            _keep(note, kept)
    changed = False
    if asked["state"] == "restored" and kept is not None and asked["path"]:
        changed = _differs(Path(asked["path"]), kept, note)
        if changed and not module.check_mode:
            _restore(Path(asked["path"]), kept, note)
    kept = kept or {"was": "unknown"}
    module.exit_json(changed=changed, was=kept["was"], value=kept.get("value"))


def _noted(asked: dict[str, Any]) -> dict[str, Any]:
    if not asked["path"]:
        return {"was": "present", "value": asked["value"]}
    path = Path(asked["path"])
    try:
        status = path.lstat()
    except FileNotFoundError:
        return {"was": "absent", "path": str(path)}
    noted = {
        "was": "present",
        "path": str(path),
        "mode": stat.S_IMODE(status.st_mode),
        "owner": status.st_uid,
        "group": status.st_gid,
    }
    if stat.S_ISLNK(status.st_mode):
        noted["link"] = str(path.readlink())
    return noted


def _keep(note: Path, noted: dict[str, Any]) -> None:
    note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if noted["was"] == "present" and "path" in noted and "link" not in noted:
        _copied(Path(noted["path"]), note.with_suffix(".copy"), 0o600)
    whole = note.with_suffix(".new")
    whole.write_text(json.dumps(noted))
    whole.chmod(0o600)
    _synced(whole)
    whole.rename(note)


def _differs(path: Path, kept: dict[str, Any], note: Path) -> bool:
    now = _noted({"path": str(path)})
    if now != {key: value for key, value in kept.items() if key != "value"}:
        return True
    copy = note.with_suffix(".copy")
    return (
        kept["was"] == "present" and "link" not in kept and (path.read_bytes() != copy.read_bytes())
    )


def _restore(path: Path, kept: dict[str, Any], note: Path) -> None:
    if kept["was"] == "absent":
        path.unlink(missing_ok=True)
        return
    whole = path.with_name(f".{path.name}.interlock")
    whole.unlink(missing_ok=True)
    if "link" in kept:
        whole.symlink_to(kept["link"])
    else:
        _copied(note.with_suffix(".copy"), whole, 0o600)
        os.chown(whole, kept["owner"], kept["group"])
        whole.chmod(kept["mode"])
    whole.rename(path)


def _copied(source: Path, target: Path, mode: int) -> None:
    shutil.copyfile(source, target)
    target.chmod(mode)
    _synced(target)


def _synced(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


if __name__ == "__main__":
    main()
