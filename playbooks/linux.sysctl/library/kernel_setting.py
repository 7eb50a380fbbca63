"""Ansible module: reads and sets one setting of the kernel; what it reads has single blanks."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Do what is asked."""
    module = AnsibleModule(
        argument_spec={"name": {"type": "str", "required": True}, "value": {"type": "str"}},
        supports_check_mode=True,
    )
    name, wanted = module.params["name"], module.params["value"]
    place = Path("/proc/sys") / name.replace(".", "/")
    try:
        now = " ".join(place.read_text().split())
    except OSError as error:
        module.fail_json(msg=f"{name}: {error.strerror}", reason="no_such_setting")
    changed = wanted is not None and wanted != now
    if changed and not module.check_mode:
        try:
            place.write_text(f"{wanted}\n")
        except OSError as error:
            module.fail_json(msg=f"{name} = {wanted}: {error.strerror}", reason="refused")
    diff = {"before": f"{name} = {now}\n", "after": f"{name} = {wanted}\n"} if changed else {}
    module.exit_json(changed=changed, value=wanted if changed else now, diff=diff)


if __name__ == "__main__":
    main()
