"""Ansible module: says what another one did, where its words are hidden because it had a secret.

What went wrong becomes a failure here, with the reason by which `ansible.yaml` knows it; what was
changed becomes a change, with the versions before and after.
"""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Say it."""
    module = AnsibleModule(
        argument_spec={"did": {"type": "dict", "required": True}}, supports_check_mode=True
    )
    did = module.params["did"]
    if did["reason"]:
        module.fail_json(msg=did["says"], reason=did["reason"], changed=did["changed"])
    diff = {"before": did["before"], "after": did["after"]} if "before" in did else {}
    module.exit_json(changed=did["changed"], units=did["units"], passive=did["passive"], diff=diff)


if __name__ == "__main__":
    main()
