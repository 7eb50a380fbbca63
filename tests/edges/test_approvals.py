"""Signed consent, judged by the real OpenSSH: what counts, and what a person is told."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any, Final

import pytest

from edges.keys import (
    ENVIRON,
    HOUR,
    NOW,
    PLAN,
    agent,
    approval,
    certificate,
    key,
    line,
    public,
    revoke,
    signed,
    ssh,
)
from orchestrator.approvals import problem_with, read_trust, signed_by_agent, standing
from orchestrator.approvals_signers import LOCAL, read_signers
from orchestrator.approvals_ssh import agent_keys, make_key, sign
from orchestrator.errors import InvalidInput
from orchestrator.pure.consent import CLOCK_SLACK_MS, NAMESPACE, Purpose, statement
from orchestrator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator.pure.model import Approval

FOR_US: Final = f'namespaces="{NAMESPACE}"'


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of ann (two), of bob, of an authority, and ann's certified one."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ann", "ann-2", "bob", "authority", "certified"):
        key(folder, name)
    key(folder, "ecdsa", "ecdsa")
    certificate(folder / "authority", folder / "certified", "ann")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def settings(**changes: Any) -> Settings:
    rules = {"approvals": [{"role": "boss", "count": 1}], "max_targets": 5}
    value = {
        "format": 1,
        "environments": {"prod": {**rules, "require_signatures": True}},
        "policy": {"engine": "builtin"},
        "roles": {"boss": ["ann", "bob"]},
        "allowed_signers": "signers",
        **changes,
    }
    return Settings.model_validate_json(json.dumps(value))


def judged(
    root: Path,
    given: Callable[[str], Approval],
    *,
    now_ms: int = NOW + 1,
    run: str = "CHG-1.1",
    plan: str = PLAN,
    environment: str = "prod",
    going_back: bool = False,
    **changes: Any,
) -> str | None:
    """Judge an approval that is made knowing the digest of what the workspace trusts."""
    settled = settings(**changes)
    trust = read_trust(root, settled)
    digest = trust.digest(settled, "prod")
    purpose = Purpose(run, plan, environment, digest, now_ms, going_back)
    return problem_with(given(digest), trust, purpose)


def by(path: Path, **changes: Any) -> Callable[[str], Approval]:
    return lambda trusted: signed(approval(**{"trust_digest": trusted, **changes}), path)


def allow(root: Path, *lines: str) -> None:
    (root / "signers").write_text("".join(lines))


# --- what counts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ann", "ecdsa"])
def test_a_plain_key_counts(root: Path, keys: Path, name: str) -> None:
    allow(root, line("ann", keys / name, f'{FOR_US},valid-after="20200101Z"'))
    assert judged(root, by(keys / name)) is None


def test_a_certificate_counts_for_the_person_that_it_names(root: Path, keys: Path) -> None:
    allow(root, line("ann,bob", keys / "authority", f"cert-authority,{FOR_US}"))
    assert judged(root, by(keys / "certified-cert.pub")) is None
    as_bob = judged(root, by(keys / "certified-cert.pub", principal="bob"))
    assert as_bob is not None
    assert "not what bob signed" in as_bob
    plain = judged(root, by(keys / "certified"))
    assert plain is not None, "a key under an authority needs its certificate"


def test_a_key_in_the_agent_counts_and_is_found_by_itself(root: Path, keys: Path) -> None:
    allow(root, line("ann", keys / "ann"), line("bob", keys / "bob"))
    with agent(keys / "ann", keys / "bob", keys / "ecdsa") as environ:
        settled = settings()
        trust = read_trust(root, settled)
        assert len(agent_keys(environ)) == 3
        digest = trust.digest(settled, "prod")
        given = signed_by_agent(approval(digest), trust, environ)
        assert judged(root, lambda _: given) is None


def test_a_certificate_in_the_agent_counts(root: Path, keys: Path) -> None:
    allow(root, line("ann", keys / "authority", f"cert-authority,{FOR_US}"))
    with agent(keys / "certified") as environ:
        trust = read_trust(root, settings())
        given = signed_by_agent(approval(trust.digest(settings(), "prod")), trust, environ)
        assert judged(root, lambda _: given) is None


def test_which_key_of_the_agent_is_never_guessed(root: Path, keys: Path) -> None:
    allow(root, line("ann", keys / "ann"), line("ann", keys / "ann-2"))
    trust = read_trust(root, settings())
    with agent(keys / "ann", keys / "ann-2") as environ:
        with pytest.raises(InvalidInput, match="holds 2 keys with which ann may sign"):
            signed_by_agent(approval(), trust, environ)
        with pytest.raises(InvalidInput, match="holds 0 keys with which bob may sign"):
            signed_by_agent(approval(principal="bob"), trust, environ)


def test_an_agent_that_is_not_there_is_said(root: Path, keys: Path) -> None:
    allow(root, line("ann", keys / "ann"))
    with pytest.raises(InvalidInput, match="agent holds no key") as told:
        signed_by_agent(approval(), read_trust(root, settings()), ENVIRON)
    assert "ssh-add" in told.value.next_step


# --- what does not --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"principal": "bob"},
        {"role": "operator"},
        {"run": "CHG-1.2"},
        {"environment": "lab"},
        {"plan_digest": "b" * 64},
        {"nonce": "1" * 32},
        {"issued_ms": NOW - 1},
        {"expires_ms": NOW + 2 * HOUR},
    ],
    ids=lambda change: next(iter(change)),
)
def test_no_field_of_a_signed_approval_can_be_changed(
    root: Path, keys: Path, change: dict[str, Any]
) -> None:
    allow(root, line("ann", keys / "ann"), line("bob", keys / "bob"))

    def tampered(trusted: str) -> Approval:
        return signed(approval(trusted), keys / "ann").model_copy(update=change)

    where: dict[str, Any] = {
        "run": change.get("run", "CHG-1.1"),
        "plan": change.get("plan_digest", PLAN),
        "environment": change.get("environment", "prod"),
    }
    problem = judged(root, tampered, **where)
    assert problem is not None
    assert "is not what" in problem


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("requested_by", ("olga",)),
        ("ticket_digest", "0" * 64),
        ("equivalence_digest", "0" * 64),
        ("view_digest", "0" * 64),
        ("decision_digest", "0" * 64),
        ("ledger_head", f"{'0' * 64}@3"),
    ],
)
def test_nothing_that_was_seen_can_be_changed(
    root: Path, keys: Path, field: str, value: object
) -> None:
    allow(root, line("ann", keys / "ann"))

    def tampered(trusted: str) -> Approval:
        given = signed(approval(trusted), keys / "ann")
        assert given.seen is not None
        return given.model_copy(update={"seen": given.seen.model_copy(update={field: value})})

    problem = judged(root, tampered)
    assert problem is not None
    assert "is not what" in problem


def test_a_signature_for_another_purpose_does_not_count(root: Path, keys: Path) -> None:
    allow(root, line("ann", keys / "ann"))

    def for_git(trusted: str) -> Approval:
        given = approval(trusted)
        done = ssh("-Y", "sign", "-n", "git", "-f", str(keys / "ann"), input=statement(given))
        return given.model_copy(update={"signature": done.stdout.decode()})

    problem = judged(root, for_git)
    assert problem is not None
    assert "is not what ann signed" in problem


def test_another_persons_key_does_not_count(root: Path, keys: Path) -> None:
    allow(root, line("ann", keys / "ann"), line("bob", keys / "bob"))
    problem = judged(root, by(keys / "bob"))
    assert problem is not None
    assert "is not what ann signed" in problem


def test_a_person_without_a_line_is_told_so(root: Path, keys: Path) -> None:
    allow(root, line("bob", keys / "bob"))
    problem = judged(root, by(keys / "ann"))
    assert problem == f"no line is for ann ({root / 'signers'})"


@pytest.mark.parametrize("signature", ["", "-----BEGIN SSH SIGNATURE-----\n", "né", "\0", "x" * 9])
def test_garbage_for_a_signature_does_not_count(root: Path, keys: Path, signature: str) -> None:
    allow(root, line("ann", keys / "ann"))
    problem = judged(root, lambda t: approval(t, signature=signature))
    assert problem is not None
    assert "is not what ann signed" in problem


def test_a_missing_signature_or_view_does_not_count(root: Path, keys: Path) -> None:
    allow(root, line("ann", keys / "ann"))
    assert judged(root, approval) == "it is not signed whole"
    given = signed(approval(), keys / "ann").model_copy(update={"seen": None})
    assert judged(root, lambda _: given) == "it is not signed whole"


def test_a_key_out_of_its_time_does_not_count_but_lets_go_back(root: Path, keys: Path) -> None:
    given = by(keys / "ann")
    allow(root, line("ann", keys / "ann", f'{FOR_US},valid-before="20261101Z"'))
    late = judged(root, given)
    assert late is not None
    assert "is not what ann signed" in late, "its key had ended before it signed"
    allow(root, line("ann", keys / "ann", f'{FOR_US},valid-before="20270101Z"'))
    after = NOW + 100 * 24 * HOUR
    lasting = by(keys / "ann", expires_ms=after + HOUR)
    expired = judged(root, lasting, now_ms=after)
    assert expired is not None
    assert "the key of ann is out of its time" in expired
    assert judged(root, lasting, now_ms=after, going_back=True) is None


def test_an_approval_that_expired_does_not_count_but_lets_go_back(root: Path, keys: Path) -> None:
    allow(root, line("ann", keys / "ann"))
    assert judged(root, by(keys / "ann"), now_ms=NOW + HOUR - 1) is None
    assert judged(root, by(keys / "ann"), now_ms=NOW + HOUR) == "it has expired"
    assert judged(root, by(keys / "ann"), now_ms=NOW + HOUR, going_back=True) is None


def test_a_clock_that_went_back_is_said(root: Path, keys: Path) -> None:
    allow(root, line("ann", keys / "ann"))
    assert judged(root, by(keys / "ann"), now_ms=NOW - CLOCK_SLACK_MS) is None
    before = judged(root, by(keys / "ann"), now_ms=NOW - CLOCK_SLACK_MS - 1)
    assert before == "it was given later than now: one of the clocks is wrong"
    back = judged(root, by(keys / "ann"), now_ms=NOW - 10 * HOUR, going_back=True)
    assert back is not None, "not to go back either: nobody knows what time it is"


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ({"run": "CHG-1.2"}, "it is for another run, CHG-1.1"),
        ({"plan": "b" * 64}, "it is for another plan"),
        ({"environment": "lab"}, "it is for another environment, prod"),
    ],
    ids=["run", "plan", "environment"],
)
@pytest.mark.parametrize("going_back", [False, True])
def test_a_foreign_approval_does_not_count(
    root: Path, keys: Path, where: dict[str, Any], says: str, going_back: bool
) -> None:
    allow(root, line("ann", keys / "ann"))
    assert judged(root, by(keys / "ann"), going_back=going_back, **where) == says


@pytest.mark.parametrize(
    "changes",
    [
        {"roles": {"boss": ["ann", "bob", "eve"]}},
        {"environments": {"prod": {"approvals": [{"role": "boss", "count": 1}], "max_targets": 6}}},
    ],
    ids=["a role", "a rule"],
)
def test_consent_ends_when_what_it_rests_on_changes(
    root: Path, keys: Path, changes: dict[str, Any]
) -> None:
    allow(root, line("ann", keys / "ann"))
    given = by(keys / "ann", trust_digest=read_trust(root, settings()).digest(settings(), "prod"))
    assert judged(root, given) is None
    changed = "keys, roles or rules of consent have changed since it was given"
    assert judged(root, given, **changes) == changed
    assert judged(root, given, going_back=True, **changes) is None
    allow(root, line("ann", keys / "ann"), line("bob", keys / "bob"))
    assert judged(root, given) == changed


# --- revoked keys ---------------------------------------------------------------------------------


def test_a_revoked_key_does_not_count_not_even_to_go_back(root: Path, keys: Path) -> None:
    allow(root, line("ann", keys / "ann"), line("bob", keys / "bob"))
    revoke(root / "revoked", keys / "ann")
    for going_back in (False, True):
        problem = judged(root, by(keys / "ann"), revoked_keys="revoked", going_back=going_back)
        assert problem is not None
        assert "its key is revoked" in problem
    bob = judged(root, by(keys / "bob", principal="bob"), revoked_keys="revoked")
    assert bob is None


def test_a_revoked_certificate_does_not_count(root: Path, keys: Path) -> None:
    allow(root, line("ann", keys / "authority", f"cert-authority,{FOR_US}"))
    given = by(keys / "certified-cert.pub")
    revoke(root / "revoked", serial=(keys / "authority", 8))
    assert judged(root, given, revoked_keys="revoked") is None
    revoke(root / "revoked", serial=(keys / "authority", 7))
    problem = judged(root, given, revoked_keys="revoked")
    assert problem is not None
    assert "its key is revoked" in problem


def test_a_garbled_list_of_revoked_keys_lets_nobody_consent(root: Path, keys: Path) -> None:
    allow(root, line("ann", keys / "ann"))
    good = revoke(root / "revoked", keys / "bob").read_bytes()
    assert judged(root, by(keys / "ann"), revoked_keys="revoked") is None
    for bad in (good[:-5], good[:20], good + b"\1"):
        (root / "revoked").write_bytes(bad)
        problem = judged(root, by(keys / "ann"), revoked_keys="revoked")
        assert problem is not None
        assert "cannot be read" in problem


@pytest.mark.parametrize(
    "content",
    [None, b"", b"\0" * 40, b"ssh-ed25519 AAAA"],
    ids=["missing", "empty", "nothing", "keys"],
)
def test_a_list_of_revoked_keys_that_is_gone_lets_nobody_consent(
    root: Path, keys: Path, content: bytes | None
) -> None:
    allow(root, line("ann", keys / "ann"))
    if content is not None:
        (root / "revoked").write_bytes(content)
    with pytest.raises(InvalidInput, match=f"{root}/revoked: ") as told:
        judged(root, by(keys / "ann"), revoked_keys="revoked")
    assert told.value.next_step


def test_a_list_of_revoked_keys_that_nobody_names_is_not_overlooked(root: Path, keys: Path) -> None:
    allow(root, line("ann", keys / "ann"))
    revoke(root / "signers.revoked", keys / "bob")
    with pytest.raises(InvalidInput, match="does not name it") as told:
        read_trust(root, settings())
    assert "revoked_keys: signers.revoked" in told.value.next_step


# --- the file of allowed signers ------------------------------------------------------------------

GOOD: Final = "AAAAC3NzaC1lZDI1NTE5AAAAIEu8sPb0bWg2m0bq3sUNcM0tVg8y4WkE0ZBHkcmcQq3B"
TAIL: Final = f"ssh-ed25519 {GOOD}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"* {FOR_US} {TAIL}", "pattern '*' for a name"),
        (f"ann*@x {FOR_US} {TAIL}", "pattern"),
        (f"ann,?ob {FOR_US} {TAIL}", "pattern"),
        (f"ann,!bob {FOR_US} {TAIL}", "pattern '!bob'"),
        (f"* cert-authority,{FOR_US} {TAIL}", "pattern '*'"),
        (f"ann,bob {FOR_US} {TAIL}", "one key to several people"),
        (f'"ann" {FOR_US} {TAIL}', "no name of a person"),
        (f"ann, {FOR_US} {TAIL}", "no name of a person"),
        (f"ann {TAIL}", "does not say for what its key is good"),
        (f"ann {TAIL} comment", "does not say for what its key is good"),
        (f'ann valid-before="20300101Z" {TAIL}', "does not say for what its key is good"),
        (f'ann namespaces="git" {TAIL}', "and not for"),
        (f'ann namespaces="*" {TAIL}', "patterns and negations"),
        (f'ann namespaces="{NAMESPACE},!git" {TAIL}', "patterns and negations"),
        (f'ann namespaces="" {TAIL}', "namespace ''"),
        (f'ann namespace="{NAMESPACE}" {TAIL}', "option 'namespace', which does not exist"),
        (f"ann {FOR_US},cert-autority {TAIL}", "cannot be read at character"),
        (f"ann {FOR_US},{FOR_US} {TAIL}", "'namespaces' twice"),
        (f"ann {FOR_US}, {TAIL}", "end in a comma"),
        (f"ann namespaces={NAMESPACE} {TAIL}", "cannot be read at character 1"),
        (f'ann {FOR_US},valid-before="20301301Z" {TAIL}', "write UTC"),
        (f'ann {FOR_US},valid-before="20300101" {TAIL}', "write UTC"),
        (f'ann {FOR_US},valid-after="tomorrow" {TAIL}', "write UTC"),
        (
            f'ann {FOR_US},valid-after="20300102Z",valid-before="20300101Z" {TAIL}',
            "ends before it begins",
        ),
        (f"ann {FOR_US} ssh-dss {GOOD}", "key type 'ssh-dss'"),
        (f"ann {FOR_US} ssh-rsa {GOOD}", "not one of its type"),
        (f"ann {FOR_US} ssh-ed25519 {GOOD[:-8]}", "cut short"),
        (f"ann {FOR_US} ssh-ed25519 !!!", "cut short"),
        (f"ann {FOR_US}", "is not `name options type key`"),
        (f"ann  {FOR_US} {TAIL}", "more than one space"),
        (f" ann {FOR_US} {TAIL}", "more than one space"),
        (f"ann\t{FOR_US} {TAIL}", "a tab"),
        (f"ann {FOR_US} {TAIL}\r", "a carriage return"),
        (f"änn {FOR_US} {TAIL}", "not ASCII"),
    ],
)
def test_a_line_that_is_loose_or_mistyped_is_refused_with_its_number(
    root: Path, text: str, says: str
) -> None:
    (root / "signers").write_text(f"# who may consent\n\n{text}\n", newline="")
    with pytest.raises(InvalidInput) as told:
        read_trust(root, settings())
    assert told.value.what.startswith(f"{root / 'signers'}:3: ")
    assert says in told.value.what
    assert told.value.exit_code == 2


def test_one_key_is_one_persons(root: Path) -> None:
    (root / "signers").write_text(f"ann {FOR_US} {TAIL}\nbob {FOR_US} {TAIL} another comment\n")
    with pytest.raises(InvalidInput, match="signers:2: has the key of line 1"):
        read_trust(root, settings())


@pytest.mark.parametrize("text", ["", "# nobody yet\n"])
def test_a_file_that_names_nobody_is_refused(root: Path, text: str) -> None:
    (root / "signers").write_text(text)
    with pytest.raises(InvalidInput, match="names nobody"):
        read_trust(root, settings())


def test_keys_in_hardware_and_several_purposes_are_allowed() -> None:
    name = b"sk-ssh-ed25519@openssh.com"
    fields = (name, b"k" * 32, b"ssh:")
    blob = base64.b64encode(b"".join(len(f).to_bytes(4, "big") + f for f in fields)).decode()
    text = f'ann namespaces="git,{NAMESPACE}" {name.decode()} {blob} on a token\n'
    signers, problems = read_signers(text.encode())
    assert problems == ()
    assert [signer.principals for signer in signers] == [("ann",)]


@pytest.mark.parametrize("name", ["signers", "revoked"])
def test_a_file_of_trust_that_anybody_may_change_is_refused(
    root: Path, keys: Path, name: str
) -> None:
    allow(root, line("ann", keys / "ann"))
    revoke(root / "revoked", keys / "bob")
    (root / name).chmod(0o666)
    with pytest.raises(InvalidInput, match="anybody on this machine may change it") as told:
        read_trust(root, settings(revoked_keys="revoked"))
    assert told.value.next_step.endswith(f"chmod o-w {root / name}")


def test_a_folder_that_anybody_may_change_is_refused(root: Path, keys: Path) -> None:
    allow(root, line("ann", keys / "ann"))
    root.chmod(0o777)
    with pytest.raises(InvalidInput, match="anybody on this machine"):
        read_trust(root, settings())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(root: Path, keys: Path) -> None:
    allow(root, line("ann", keys / "ann"))
    os.chown(root / "signers", 12345, -1)
    with pytest.raises(InvalidInput, match="belongs to another user"):
        read_trust(root, settings())


def test_a_file_that_is_missing_or_no_file_or_elsewhere_is_refused(root: Path, keys: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_trust(root, settings())
    (root / "signers").mkdir()
    with pytest.raises(InvalidInput, match=r"cannot be read|plain file"):
        read_trust(root, settings())
    (root / "signers").rmdir()
    os.mkfifo(root / "signers")
    with pytest.raises(InvalidInput, match="not a plain file"):
        read_trust(root, settings())
    (root / "signers").unlink()
    (root / "signers").symlink_to(keys / "ann.pub")
    with pytest.raises(InvalidInput, match="leads out of the workspace"):
        read_trust(root, settings())


# --- signing --------------------------------------------------------------------------------------


def test_a_key_that_is_not_there_or_no_key_is_said(root: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no such key"):
        sign(b"{}", root / "nothing", ENVIRON)
    (root / "words").write_text("not a key")
    (root / "words").chmod(0o600)
    with pytest.raises(InvalidInput, match="did not sign with it") as told:
        sign(b"{}", root / "words", ENVIRON)
    assert told.value.details


def test_a_program_on_the_path_is_not_asked(
    root: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "bin").mkdir()
    (root / "bin" / "ssh-keygen").write_text("#!/bin/sh\nexit 0\n")
    (root / "bin" / "ssh-keygen").chmod(0o755)
    monkeypatch.setenv("PATH", str(root / "bin"))
    allow(root, line("ann", keys / "ann"))
    assert judged(root, by(keys / "bob")) is not None


def test_what_stands_and_what_does_not_are_parted(root: Path, keys: Path) -> None:
    allow(root, line("ann", keys / "ann"), line("bob", keys / "bob"))
    settled = settings()
    trust = read_trust(root, settled)
    digest = trust.digest(settled, "prod")
    good = signed(approval(digest), keys / "ann")
    bad = good.model_copy(update={"principal": "bob"})
    claimed = approval(digest, method="claimed")
    purpose = Purpose("CHG-1.1", PLAN, "prod", digest, NOW)
    stands, problems = standing((good, bad, claimed), trust, purpose)
    assert stands == (good, claimed)
    assert problems == (
        (
            "the approval by bob does not count: it is not what bob signed, or not with a key "
            f"that {root / 'signers'} allows"
        ),
    )


def test_a_local_identity_is_labelled(root: Path) -> None:
    made = make_key(root / "ann", f"{LOCAL} ann").split(" ")
    (root / "signers").write_text(f"ann {FOR_US} {made[0]} {made[1]} {LOCAL}\n")
    trust = read_trust(root, settings())
    assert trust.is_local("ann")
    assert not trust.is_local("bob")
    with pytest.raises(InvalidInput, match="could not make a key"):
        make_key(root / "nowhere" / "ann", "ann")


def test_the_public_half_is_what_is_allowed(keys: Path) -> None:
    assert public(keys / "ann").startswith("ssh-ed25519 ")
