"""Ansible module: looks at a logical volume, and grows it and the file system mounted from it.

1. All is judged before anything is changed: extents, room, and that the file system can grow.
2. To grow is to reach a size, so doing it twice, or going on where it was cut off, is safe.
3. The file system is looked at by itself: that the volume is bigger says nothing of it.
"""

from __future__ import annotations

import json
import os
import re
import stat
import struct
import subprocess
from pathlib import Path
from typing import NamedTuple

from ansible.module_utils.basic import AnsibleModule

EXT4_MAGIC = 0xEF53
GROWS = {"ext4": "resize2fs", "xfs": "xfs_growfs"}
FIELDS = "lv_size,lv_path,segtype,origin,vg_free,vg_extent_size"
TIMEOUT_S = 1500


class Refusal(Exception):
    """Why nothing is done: the name of a failure mode, and words."""


class Mount(NamedTuple):
    """A file system, where it is mounted, and whether it may be written to."""

    kind: str
    place: str
    writable: bool


class Volume(NamedTuple):
    """A volume as it is now."""

    path: str
    size: int
    free: int
    extent: int
    mount: Mount | None

    @property
    def filled(self) -> bool:
        """Say whether the file system takes all of the volume, to within less than an extent."""
        if self.mount is None:
            return False
        return self.size - _file_system(self.path, self.mount) < self.extent


def main() -> None:
    """Do what is asked."""
    module = AnsibleModule(
        argument_spec={
            "group": {"type": "str", "required": True},
            "volume": {"type": "str", "required": True},
            "to_bytes": {"type": "int"},
        },
        supports_check_mode=True,
    )
    asked = module.params
    try:
        before = _volume(asked["group"], asked["volume"])
        wanted = asked["to_bytes"]
        changed = False
        if wanted is not None:
            mount = _growing(before, wanted)
            changed = before.size < wanted or not before.filled
            if changed and not module.check_mode:
                _grow(before, mount, wanted)
        now = _volume(asked["group"], asked["volume"])
    except Refusal as error:
        module.fail_json(reason=error.args[0], msg=error.args[1])
    diff = {
        "before": _told(before, before.size),
        "after": _told(before, max(wanted or 0, before.size)),
    }
    module.exit_json(
        changed=changed,
        volume_bytes=now.size,
        filled=now.filled,
        diff=diff if changed else {},
    )


def _volume(group: str, name: str) -> Volume:
    said = _run("lvs", "--reportformat", "json", "--units", "b", "--nosuffix", "-o", FIELDS,
                "--", f"{group}/{name}")  # fmt: skip
    if said.returncode:
        raise Refusal("no_such_volume", said.stderr.strip().splitlines()[-1].strip())
    rows = json.loads(said.stdout)["report"][0]["lv"]
    # Whatever is mirrored or striped takes more extents than it grows by.
    kinds = {row["segtype"] for row in rows}
    if rows[0]["origin"] or kinds != {"linear"}:
        raise Refusal("no_such_volume", f"{group}/{name} is not plain: {', '.join(sorted(kinds))}")
    row = rows[0]
    size, free, extent = (int(row[key]) for key in ("lv_size", "vg_free", "vg_extent_size"))
    return Volume(row["lv_path"], size, free, extent, _mount(row["lv_path"]))


def _mount(path: str) -> Mount | None:
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISBLK(status.st_mode):
        return None
    device = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        mounted, _, about = line.partition(" - ")
        words = mounted.split()
        kind, _, options = about.split(" ", 2)
        if words[2] == device and words[3] == "/":
            place = re.sub(r"\\(\d{3})", lambda at: chr(int(at.group(1), 8)), words[4])
            writable = "rw" in words[5].split(",") and "rw" in options.split(",")
            return Mount(kind, place, writable)
    return None


def _growing(volume: Volume, wanted: int) -> Mount:
    """Return the file system that can be grown, or refuse."""
    more = wanted - volume.size
    if more % volume.extent:
        raise Refusal("not_extents", f"{volume.path} grows by multiples of {volume.extent} bytes")
    if more > volume.free:
        says = f"{more} more bytes are wanted, and the group has {volume.free}"
        raise Refusal("not_enough_room", says)
    if volume.mount is None or volume.mount.kind not in GROWS or not volume.mount.writable:
        what = f"{volume.mount.kind} at {volume.mount.place}" if volume.mount else "nothing"
        raise Refusal("not_mounted", f"{what} is mounted from {volume.path}; it cannot be grown")
    return volume.mount


def _grow(volume: Volume, mount: Mount, wanted: int) -> None:
    if volume.size < wanted:
        _must("lvextend", "--yes", "--size", f"{wanted}b", "--", volume.path)
    if mount.kind == "xfs":
        _must("xfs_growfs", "-d", "--", mount.place)
    else:
        _must("resize2fs", volume.path)


def _file_system(path: str, mount: Mount) -> int:
    """Ask the file system how big it takes its device to be."""
    if mount.kind == "xfs":
        said = _must("xfs_info", mount.place)
        found = re.search(r"^data\s+=\s*bsize=(\d+)\s+blocks=(\d+)", said, re.MULTILINE)
        return int(found.group(1)) * int(found.group(2)) if found else 0
    with Path(path).open("rb") as device:
        device.seek(1024)
        block = device.read(1024)
    if mount.kind != "ext4" or struct.unpack_from("<H", block, 0x38)[0] != EXT4_MAGIC:
        return 0
    low, high = struct.unpack_from("<I", block, 4)[0], struct.unpack_from("<I", block, 0x150)[0]
    return int(low + (high << 32) << (10 + struct.unpack_from("<I", block, 0x18)[0]))


def _told(volume: Volume, size: int) -> str:
    where = f"{volume.mount.kind} at {volume.mount.place}" if volume.mount else "not mounted"
    left = volume.free - (size - volume.size)
    return f"{volume.path} ({where}): {size} bytes\nfree in its group: {left} bytes\n"


def _must(*argv: str) -> str:
    done = _run(*argv)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    return subprocess.run(  # noqa: S603 - tools of LVM and of file systems, and no shell
        argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=environ
    )


if __name__ == "__main__":
    main()
