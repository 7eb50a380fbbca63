"""Ansible module: looks whether both units that carry a firmware are well, one active, one passive.

It only reads; its session on the BMC ends with it. How it went stands in `did`, never in a failure:
the task has a secret, and its words are hidden.
"""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.redfish_pair import ACTIVE, PASSIVE, Component
from ansible.module_utils.redfish_service import Service, Trouble, plain

ARGUMENTS: dict[str, dict[str, Any]] = {
    "url": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "ca": {"type": "str"},
    "component": {"type": "str", "required": True},
}


def main() -> None:
    """Look."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    asked = module.params
    service = None
    try:
        service = Service(asked["url"], asked["user"], asked["password"], asked["ca"])
        did = _looked(Component(service, asked["component"], 2))
    except Trouble as trouble:
        did = {"reason": trouble.reason, "says": plain(trouble, 400), "changed": False}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        says = f"answers in no known shape: {plain(error)}"
        did = {"reason": "no_redfish", "says": says, "changed": False}
    finally:
        if service is not None:
            service.log_out()
    module.exit_json(changed=False, did=did)


def _looked(component: Component) -> dict[str, Any]:
    picture = component.look()
    problem = component.busy(picture) or picture.problem()
    if problem:
        raise Trouble("path_degraded", problem)
    by_state = {unit.state: unit.name for unit in picture.units}
    return {
        "reason": "",
        "changed": False,
        "paths": picture.paths,
        "active": by_state[ACTIVE],
        "passive": by_state[PASSIVE],
        "units": {unit.name: unit.version for unit in picture.units},
    }


if __name__ == "__main__":
    main()
