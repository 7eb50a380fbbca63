"""Ansible module: judges a certificate with openssl, before it is written and when it is served.

1. It writes nothing, not even for a moment: openssl reads certificates from memory, and the key
   from its input, never from its command line.
2. `fitting` returns a `problem` by the name of a failure mode, and `says` it without the key.
3. An endpoint serves a certificate when every name gets it, with its whole chain in order, and
   serves it no more when none does. Who waits for either sees it three times running: just after a
   reload, old and new both answer.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import ssl
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from collections.abc import Iterator

PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s.+?-----END CERTIFICATE-----", re.DOTALL)
KEY = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----\s.+?-----END \1-----", re.DOTALL)
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
TIMEOUT_S = 10
RUNNING = 3


class Misfit(Exception):
    """What does not fit: the name of a failure mode, and words."""


def main() -> None:
    """Do what is asked."""
    module = AnsibleModule(
        argument_spec={
            "certificates": {"type": "list", "elements": "str", "required": True},
            "key": {"type": "str", "no_log": True, "default": ""},
            "names": {"type": "list", "elements": "str", "default": []},
            "root_file": {"type": "str", "default": ""},
            "days_left": {"type": "int", "default": 0},
            "certificate_file": {"type": "path"},
            "key_file": {"type": "path", "no_log": False},
            "address": {"type": "str"},
            "port": {"type": "int"},
            "within_s": {"type": "int", "default": 0},
            "gone": {"type": "bool", "default": False},
            "state": {"choices": ["fitting", "in_place", "served"], "required": True},
        },
        supports_check_mode=True,
    )
    asked = module.params
    wanted = asked["certificates"]
    if asked["state"] == "served":
        _look(module, [_digest(one) for one in wanted])
    try:
        if asked["state"] == "fitting":
            _fits(module)
        expires = min(map(_expires, wanted))
    except Misfit as error:
        module.exit_json(changed=False, problem=error.args[0], says=error.args[1])
    found = {"fingerprint": _digest(wanted[0]), "expires": expires, "problem": "", "says": ""}
    if asked["state"] == "in_place":
        found |= _in_place(asked["certificate_file"], asked["key_file"], wanted)
    module.exit_json(changed=False, **found)


# --- does it fit ----------------------------------------------------------------------------------


def _fits(module: AnsibleModule) -> None:
    asked = module.params
    certificates = asked["certificates"]
    for number, one in enumerate(certificates):
        if _openssl("x509", "-noout", says=one).returncode:
            what = f"certificate {number} of the chain" if number else "the certificate"
            raise Misfit("not_readable", f"{what} cannot be read")
    # A dry run may do without the secret; an apply never does.
    if asked["key"] or not module.check_mode:
        public = _public(asked["key"])
        if public is None:
            raise Misfit("not_readable", "the key cannot be read, or it has a passphrase")
        if public != _public_of(certificates[0]):
            raise Misfit("key_does_not_fit", "the key is not the certificate's")
    _in_time(certificates, asked["days_left"])
    _covers(certificates[0], asked["names"])
    _leads_to_root(certificates, asked["root_file"])


def _in_time(certificates: list[str], days: int) -> None:
    for one in certificates:
        ends = f"{_subject(one)} is valid until {_expires(one)}"
        if _openssl("x509", "-noout", "-checkend", "0", says=one).returncode:
            raise Misfit("expires_too_soon", ends)
        if _openssl("x509", "-noout", "-checkend", str(days * 86_400), says=one).returncode:
            raise Misfit("expires_too_soon", f"{ends}, and {days} days were to be left")


def _leads_to_root(certificates: list[str], root_file: str) -> None:
    for number, issuer in enumerate(certificates[1:]):
        issued = certificates[number]
        if _hash(issued, "-issuer_hash") != _hash(issuer, "-subject_hash"):
            says = f"{_subject(issuer)} did not issue {_subject(issued)}, which stands before it"
            raise Misfit("chain_incomplete", says)
    if root_file and not Path(root_file).is_file():
        raise Misfit("chain_incomplete", f"there is no root in {root_file}")
    trusted = ["-CAfile", root_file, "-no-CApath", "-no-CAstore"] if root_file else []
    with _in_memory(certificates[0]) as leaf, _in_memory("\n".join(certificates[1:])) as chain:
        untrusted = ["-untrusted", f"/proc/self/fd/{chain}"] if certificates[1:] else []
        where = f"/proc/self/fd/{leaf}"
        done = _openssl("verify", *trusted, *untrusted, where, passes=(leaf, chain))
        if done.returncode == 0:
            done = _openssl("verify", "-purpose", "sslserver", *trusted, *untrusted, where,
                            passes=(leaf, chain))  # fmt: skip
            if done.returncode:
                raise Misfit("name_not_covered", "the certificate is not one for servers")
            return
    why = re.search(r"error (\d+) at (\d+) depth lookup: (.+)", done.stdout + done.stderr)
    number, depth, words = why.groups() if why else ("", "0", done.stderr.strip()[-200:])
    mode = "expires_too_soon" if number in ("9", "10") else "chain_incomplete"
    at = int(depth)
    which = _subject(certificates[at]) if at < len(certificates) else "the root"
    raise Misfit(mode, f"{which}: {words}")


def _covers(certificate: str, names: list[str]) -> None:
    said = _openssl("x509", "-noout", "-ext", "subjectAltName", says=certificate).stdout
    if "DNS:" not in said:
        raise Misfit("name_not_covered", "the certificate names no host (subjectAltName)")
    for name in names:
        done = _openssl("x509", "-noout", "-checkhost", name, says=certificate)
        if "does match" not in done.stdout:
            raise Misfit("name_not_covered", f"the certificate does not cover {name}")


# --- is it in place -------------------------------------------------------------------------------


def _in_place(certificate_file: str, key_file: str, wanted: list[str]) -> dict[str, bool]:
    found = PEM.findall(_read(certificate_file))
    key = KEY.search(_read(key_file))
    public = _public(key.group(0)) if key else None
    return {
        "certificate": [_digest(one) for one in found] == [_digest(one) for one in wanted],
        "key": public is not None and public == _public_of(wanted[0]),
        "pair": public is not None and bool(found) and public == _public_of(found[0]),
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return ""


# --- is it served ---------------------------------------------------------------------------------


def _look(module: AnsibleModule, wanted: list[str]) -> None:
    asked = module.params
    deadline = time.monotonic() + asked["within_s"]
    seen, running = {}, 0
    while True:
        seen = {name: _served(asked["address"], asked["port"], name) for name in asked["names"]}
        new = all(chain == wanted for chain in seen.values())
        anywhere = any(chain == wanted for chain in seen.values())
        running = running + 1 if (not anywhere if asked["gone"] else new) else 0
        if not asked["within_s"] or running == RUNNING:
            module.exit_json(changed=False, new=new, served=seen)
        if time.monotonic() > deadline:
            name, chain = next((n, c) for n, c in seen.items() if (c != wanted) != asked["gone"])
            module.fail_json(
                msg=f"{name} at {asked['address']}:{asked['port']} {_told(chain, wanted)}"
            )
        time.sleep(0.1)


def _told(chain: list[str], wanted: list[str]) -> str:
    if not chain:
        return "does not answer with a certificate"
    if chain[0] != wanted[0]:
        return f"serves another certificate, {chain[0][:16]}…"
    if chain != wanted:
        return f"serves the certificate with another chain, of {len(chain) - 1}"
    return "still serves it"


def _served(address: str, port: int, name: str) -> list[str]:
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    done = _openssl("s_client", "-connect", where, "-servername", name, "-showcerts")
    return [_digest(one) for one in PEM.findall(done.stdout)]


# --- openssl --------------------------------------------------------------------------------------


def _openssl(
    *words: str, says: str = "", passes: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[str]:
    words = ("openssl", *words)
    try:
        return subprocess.run(  # noqa: S603 - openssl, and no shell
            words, input=says, capture_output=True, text=True, errors="replace",
            timeout=TIMEOUT_S, check=False, pass_fds=passes,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 124, "", f"no answer within {TIMEOUT_S} s")


@contextlib.contextmanager
def _in_memory(text: str) -> Iterator[int]:
    handle = os.memfd_create("certificates")
    try:
        os.write(handle, text.encode())
        yield handle
    finally:
        os.close(handle)


def _digest(pem: str) -> str:
    try:
        der = ssl.PEM_cert_to_DER_cert(pem.strip())
    except ValueError:
        der = pem.encode()
    return hashlib.sha256(der).hexdigest()


def _public(key: str) -> str | None:
    done = _openssl("pkey", "-pubout", "-passin", "pass:", says=f"{key.strip()}\n")
    return done.stdout if done.returncode == 0 else None


def _public_of(certificate: str) -> str:
    return _openssl("x509", "-noout", "-pubkey", says=certificate).stdout


def _subject(certificate: str) -> str:
    said = _openssl("x509", "-noout", "-subject", "-nameopt", "RFC2253", says=certificate).stdout
    return said.strip().removeprefix("subject=")[:120]


def _hash(certificate: str, which: str) -> str:
    return _openssl("x509", "-noout", which, says=certificate).stdout


def _expires(certificate: str) -> str:
    said = _openssl("x509", "-noout", "-enddate", says=certificate).stdout
    parts = said.strip().removeprefix("notAfter=").split()
    if len(parts) < 4:
        raise Misfit("not_readable", "a certificate cannot be read")
    return f"{parts[3]}-{MONTHS.index(parts[0]) + 1:02}-{int(parts[1]):02}"


if __name__ == "__main__":
    main()
