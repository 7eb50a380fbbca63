"""Ansible module: says when a service was last started, in words that only compare for equality.

systemd is asked where it runs; elsewhere the pid file below /run tells the process. A service that
does not run, or that nobody knows, is a failure, unless `must_run` is off. `at` is the instant of
the look, by the host's monotonic clock.
"""

from __future__ import annotations

import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Say when it started."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "must_run": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    name = module.params["name"]
    with_systemd = Path("/run/systemd/system").is_dir()
    started = _by_systemd(module, name) if with_systemd else _by_pid_file(name)
    if started is None and module.params["must_run"]:
        module.fail_json(msg=f"there is no running service {name}")
    module.exit_json(changed=False, started=started, at=time.monotonic())


def _by_systemd(module: AnsibleModule, name: str) -> str | None:
    asked = ["systemctl", "show", "--property=MainPID,ExecMainStartTimestampMonotonic", "--", name]
    code, said, _ = module.run_command(asked)
    told = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    if code or told.get("MainPID", "0") == "0":
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {told['MainPID']} {told['ExecMainStartTimestampMonotonic']}"


def _by_pid_file(name: str) -> str | None:
    for file in (Path(f"/run/{name}.pid"), *sorted(Path(f"/run/{name}").glob("*.pid"))):
        try:
            pid = int(file.read_text().split()[0])
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (OSError, ValueError, IndexError):
            continue
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {pid} {stat.rpartition(')')[2].split()[19]}"
    return None


if __name__ == "__main__":
    main()
