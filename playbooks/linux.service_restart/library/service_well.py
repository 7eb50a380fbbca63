"""Ansible module: waits until a service answers on a port of this host, and its page, if named.

1. All waiting has one bound, `within_s`, counted from `since`: an instant of this host's monotonic
   clock. It looks once at least, for a few seconds at most.
2. A service that is not well in time is a failure; without a bound it only says so.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
import urllib.error
import urllib.request

from ansible.module_utils.basic import AnsibleModule

HOST = "127.0.0.1"
LOOK_S = 5.0
PAUSE_S = 0.5


def main() -> None:
    """Wait, and say whether it is well."""
    module = AnsibleModule(
        argument_spec={
            "port": {"type": "int", "required": True},
            "path": {"type": "str"},
            "since": {"type": "float"},
            "within_s": {"type": "int", "default": 0},
        },
        supports_check_mode=False,  # before it is restarted it cannot be seen whether it will be
    )
    asked = module.params
    why = waited(asked["port"], asked["path"], asked["since"], asked["within_s"])
    if why and asked["within_s"]:
        module.fail_json(msg=f"not well within {asked['within_s']} s: {why}")
    module.exit_json(changed=False, well=not why, says=why or "")


def waited(port: int, path: str | None, since: float | None, within_s: int) -> str | None:
    """Look again and again, as long as there is time; say why it is not well, or nothing."""
    deadline = (time.monotonic() if since is None else since) + within_s
    why = look(port, path, min(within_s or LOOK_S, LOOK_S))
    while why is not None and (left_s := deadline - time.monotonic() - PAUSE_S) > 0:
        time.sleep(PAUSE_S)
        why = look(port, path, min(left_s, LOOK_S))
    return why


def look(port: int, path: str | None, limit_s: float) -> str | None:
    """Look once, for so long at most: a server that sends byte after byte resets other limits."""
    said: list[str | None] = []
    looking = threading.Thread(target=lambda: said.append(_ill(port, path, limit_s)), daemon=True)
    looking.start()
    looking.join(limit_s)
    return said[0] if said else f"port {port} did not answer to the end within {limit_s:.1f} s"


def _ill(port: int, path: str | None, limit_s: float) -> str | None:
    try:
        socket.create_connection((HOST, port), limit_s).close()
    except OSError as error:
        return f"port {port}: {error}"
    if path is None:
        return None
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://{HOST}:{port}{path}", timeout=limit_s) as page:
            return None if page.status == 200 else f"{path} answers {page.status}"
    except urllib.error.HTTPError as error:
        return f"{path} answers {error.code}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{path}: {error}"


if __name__ == "__main__":
    main()
