"""Ansible module: looks at the newest backup in a directory, and has PostgreSQL verify it.

1. A backup is a directory below this one that `pg_basebackup` (or whoever keeps its habits) has
   written in the plain format: `backup_manifest` is its last file, so without one it is unfinished.
2. Its age counts from its beginning, as the manifest dates `backup_label`: a copied or touched file
   makes no backup younger, and the manifest carries a checksum of itself.
3. What is whole says `pg_verifybackup` of the backup's own major version: every file against the
   manifest, and the WAL that makes the copy consistent.
4. It only reads, and follows no symbolic link to a backup.
"""

from __future__ import annotations

import calendar
import json
import re
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

MANIFEST = "backup_manifest"
LABEL = "backup_label"
MAX_MANIFEST_BYTES = 500_000_000
CLOCKS_DIFFER_MIN = 5
SHOWN = 300


class Unfit(Exception):
    """Why the newest backup will not do; with the reason's name."""

    def __init__(self, reason: str, says: str) -> None:
        super().__init__(says)
        self.reason = reason


def main() -> None:
    """Look at the newest one."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "str", "required": True},
            "max_age_min": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        found = _looked(module, Path(module.params["directory"]))
    except Unfit as unfit:
        module.fail_json(msg=str(unfit), reason=unfit.reason)
    module.exit_json(changed=False, **found)


def _looked(module: AnsibleModule, directory: Path) -> dict[str, Any]:
    try:
        folders = sorted(
            one for one in directory.iterdir() if not one.is_symlink() and one.is_dir()
        )
        whole = [one for one in folders if (one / MANIFEST).is_file()]
    except OSError as error:
        raise Unfit("no_backup", f"{directory}: {error.strerror}") from None
    unfinished = len(folders) - len(whole)
    if not whole:
        says = f"{directory} holds no finished backup, and {unfinished} without a {MANIFEST}"
        raise Unfit("no_backup", says)
    dated = [(_begun(one), one) for one in whole]
    begun, newest = max(dated, key=lambda one: (one[0][0], one[1].name))
    age_min = int((time.time() - begun[0]) // 60)
    if age_min < -CLOCKS_DIFFER_MIN:
        raise Unfit("damaged", f"{newest} says that it began {-age_min} minutes from now")
    if age_min > module.params["max_age_min"]:
        raise Unfit("too_old", f"{newest} is the newest, and began {age_min} minutes ago")
    found = {
        "age_min": max(0, age_min),
        "size_mib": begun[1] // 1_048_576,
        "unfinished": unfinished,
        "path": str(newest),
        **_labelled(newest),
    }
    _verified(module, newest)
    return found


def _begun(backup: Path) -> tuple[int, int]:
    """Read from the manifest when a backup began, and how large it is."""
    path = backup / MANIFEST
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise Unfit("damaged", f"{path} is too large to be read")
        files = json.loads(path.read_bytes())["Files"]
        said = next(one["Last-Modified"] for one in files if one.get("Path") == LABEL)
        when = calendar.timegm(time.strptime(said, "%Y-%m-%d %H:%M:%S GMT"))
        return when, sum(one["Size"] for one in files)
    except (OSError, ValueError, LookupError, TypeError, StopIteration) as error:
        raise Unfit("damaged", f"{path} cannot be read: {type(error).__name__} {error}") from None


def _labelled(backup: Path) -> dict[str, str]:
    try:
        text = (backup / LABEL).read_text(encoding="utf-8", errors="replace")
        version = (backup / "PG_VERSION").read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise Unfit("damaged", f"{backup}: {error}") from None
    told = dict(re.findall(r"^([A-Z ]+): (.*)$", text, re.MULTILINE))
    lsn = re.match(r"[0-9A-F]{1,8}/[0-9A-F]{1,8}(?= )", told.get("START WAL LOCATION", ""))
    if lsn is None or not re.fullmatch(r"[1-9][0-9]", version):
        raise Unfit("damaged", f"{backup}: {LABEL} or PG_VERSION cannot be understood")
    # The label is anybody's text: what is no plain character is shown as a dot.
    label = re.sub(r"[^A-Za-z0-9 ._:/+-]", ".", told.get("LABEL", ""))[:100]
    return {"label": label, "start_lsn": lsn.group(), "major": version}


def _verified(module: AnsibleModule, backup: Path) -> None:
    major = (backup / "PG_VERSION").read_text(encoding="ascii").strip()
    program = Path(f"/usr/lib/postgresql/{major}/bin/pg_verifybackup")
    if not program.exists():
        raise Unfit("not_verifiable", f"{program} is not here, so {backup} cannot be verified")
    code, said, wrong = module.run_command(
        [str(program), "--quiet", "--", str(backup)], expand_user_and_vars=False
    )
    if code:
        raise Unfit("damaged", f"{backup}: {(wrong or said).strip()[:SHOWN]}")


if __name__ == "__main__":
    main()
