"""What a team has settled for its workspace: `interlock.yaml` as a value.

1. What is not said is refused or off: no environment, no approval rule and no agent is assumed.
2. Paths are relative and stay inside the workspace.
3. No secret stands here: it says where each is found, and plans pick one by its name.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from actors.spec import Name, Scalar
from orchestrator.pure.model import MissingApproval, Model, Principal

__all__ = [
    "EnvironmentRules",
    "LlmSettings",
    "Paths",
    "PolicySettings",
    "RecoverySettings",
    "SecretSource",
    "Settings",
]

Inside = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z0-9._][A-Za-z0-9._\-]*(/[A-Za-z0-9._\-]+)*$", max_length=200
    ),
]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s@]+$", max_length=500)]
AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/[^\x00-\x1f]{1,300}$")]
Zone = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*$", max_length=60)
]
SERVER_ONLY: Final = (
    *("url", "ca", "client_cert", "client_key", "token_variable", "token_file", "revision"),
)
SERVER_URL: Final = re.compile(
    r"https://[^\s@?#]+|unix:/[^\s]{1,100}|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?/?"
)
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,62}$")]
Line = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Absolute = Annotated[str, StringConstraints(pattern=r"^/[^\x00-\x1f\x7f]+$", max_length=500)]
Word = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=1_000)]


class Paths(Model):
    """Where the workspace keeps what; all below its root."""

    inventory: Inside = "inventory"
    playbooks: Inside = "playbooks"
    policies: Inside = "policies"
    routines: Inside = "routines"

    @field_validator("*")
    @classmethod
    def _stays_inside(cls, value: str) -> str:
        if ".." in value.split("/"):
            raise ValueError("must not contain ..")
        return value


class EnvironmentRules(Model):
    """What the built-in policy demands in one environment."""

    approvals: tuple[MissingApproval, ...]
    """Who must consent; an empty list says in so many words that nobody must."""
    max_targets: Annotated[int, Field(ge=1, le=100_000)]
    """The largest number of distinct targets that one plan may touch."""
    require_evidence: bool = True
    """Only actors whose own tests have passed, as they are now."""
    allow_undo_none: bool = False
    """A plan may hold steps that cannot be undone."""
    require_signatures: bool = False
    """An approval counts only with an SSH signature."""
    require_window: bool = False
    """A plan must say when it may touch anything."""

    @model_validator(mode="after")
    def _roles_once(self) -> EnvironmentRules:
        roles = [rule.role for rule in self.approvals]
        if len(set(roles)) < len(roles):
            raise ValueError("asks for one role twice; give one line a role, with its count")
        return self


class PolicySettings(Model):
    """Who vets plans; what `environments` demands always holds as well."""

    engine: Literal["builtin", "embedded", "opa", "opa-server"]
    """`builtin`: what `environments` says and no rules; `embedded`: the rules of `policies/`, here;
    `opa`: the same by the `opa` on PATH; `opa-server`: by a server at `url`."""
    timeout_s: Annotated[int, Field(ge=1, le=300)] = 10
    """How long a judgement may take in all."""
    time_zones: Annotated[tuple[Zone, ...], Field(max_length=50)] = ()
    """In which zones rules may read the clock, besides UTC."""
    program: AbsolutePath | None = None
    """Another `opa` than the one on PATH."""
    url: Annotated[str, StringConstraints(max_length=500)] | None = None
    ca: AbsolutePath | None = None
    """The only certificate authority that is trusted; without it, those of the system."""
    client_cert: AbsolutePath | None = None
    client_key: AbsolutePath | None = None
    token_variable: Variable | None = None
    token_file: AbsolutePath | None = None
    revision: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:/@+\-]{1,200}$")] | None = (
        None
    )
    """The bundle that the server must serve; without it, the digest of our own `policies/`."""

    @model_validator(mode="after")
    def _fits_the_engine(self) -> PolicySettings:
        is_server = self.engine == "opa-server"
        told = [name for name in SERVER_ONLY if getattr(self, name) is not None]
        if told and not is_server:
            raise ValueError(f"has {told[0]}, which only the engine opa-server takes")
        if self.program is not None and self.engine != "opa":
            raise ValueError("has program, which only the engine opa takes")
        if is_server and (self.url is None or SERVER_URL.fullmatch(self.url) is None):
            raise ValueError(
                "needs a url with the engine opa-server: https://..., unix:/PATH, or plain http to "
                "127.0.0.1, [::1] or localhost; anything else could be forged on its way"
            )
        if (self.client_cert is None) != (self.client_key is None):
            raise ValueError("needs client_cert and client_key together")
        if self.token_variable is not None and self.token_file is not None:
            raise ValueError("names a token twice; keep token_variable or token_file")
        return self


class LlmSettings(Model):
    """Where the planner and the RecoveryAgent find a model; it only ever chooses."""

    url: Url
    model: Line
    key_variable: Variable | None = None
    timeout_s: Annotated[int, Field(ge=1, le=3_600)] = 120


class RecoverySettings(Model):
    """Whether a RecoveryAgent may be asked about the unforeseen."""

    agent: bool = False


class SecretSource(Model):
    """Where one secret is found, by the process of the act that needs it and by nobody else."""

    env: Variable | None = None
    """A variable that is set where Interlock runs."""
    file: Absolute | None = None
    """A file of ours that nobody else may read (0600), no link."""
    command: Annotated[tuple[Word, ...], Field(min_length=1, max_length=64)] | None = None
    """A program with its arguments, such as a vault's: what it prints is the secret. No shell."""
    passes: Annotated[tuple[Variable, ...], Field(max_length=16)] = ()
    """Variables that the command gets beside PATH, HOME and the locale."""
    timeout_s: Annotated[int, Field(ge=1, le=120)] = 10
    """How long the command may take, in all; it is part of the act's own time."""
    environments: tuple[Name, ...] = ()
    """Where the secret may be used; empty means everywhere."""
    dry_run: bool = False
    """A dry run may have it before anybody has approved the plan."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> SecretSource:
        if sum(way is not None for way in (self.env, self.file, self.command)) != 1:
            raise ValueError("must say exactly one of env, file, command")
        if self.command is None and (self.passes or "timeout_s" in self.model_fields_set):
            raise ValueError("has no command, so passes and timeout_s mean nothing")
        return self

    def __str__(self) -> str:
        if self.command is not None:
            return f"the command {self.command[0]}"
        return f"the variable {self.env}" if self.env else f"the file {self.file}"


class Settings(Model):
    """A workspace's `interlock.yaml`."""

    format: Literal[1]
    environments: Annotated[dict[Name, EnvironmentRules], Field(min_length=1)]
    policy: PolicySettings
    roles: dict[Name, Literal["anyone"] | tuple[Principal, ...]] = Field(default_factory=dict)
    """Who holds each role that an approval may ask for; `anyone` is said in so many words."""
    allowed_signers: Inside | None = None
    """The file, as `ssh-keygen -Y verify` reads it, of the keys that may sign approvals."""
    revoked_keys: Inside | None = None
    """The keys that may no longer sign, as `ssh-keygen -k` writes them; named, it must be there."""
    approval_hours: Annotated[int, Field(ge=1, le=8_760)] = 168
    """How long an approval lasts."""
    parallelism: Annotated[int, Field(ge=1, le=1_000)] = 10
    """How many acts may run at once, whatever a plan allows."""
    recovery: RecoverySettings = RecoverySettings()
    llm: LlmSettings | None = None
    paths: Paths = Paths()
    secrets: dict[Name, SecretSource] = Field(default_factory=dict, max_length=1_000)
    """The closed list of secrets: a draft or ticket picks one by its name, or none at all."""
    kinds: dict[Name, dict[Name, Scalar]] = Field(default_factory=dict)
    """What each kind of actor is told; the kind's own documentation says what it takes."""

    def holds(self, principal: str, role: str) -> bool:
        """Say whether somebody holds a role."""
        holders = self.roles.get(role, ())
        return holders == "anyone" or principal in holders

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        asked = {rule.role for rules in self.environments.values() for rule in rules.approvals}
        vacant = sorted(role for role in asked if not self.roles.get(role))
        if vacant:
            raise ValueError(
                f"asks for approval by {vacant[0]}, but roles names nobody who holds it"
            )
        signed = any(rules.require_signatures for rules in self.environments.values())
        if signed and self.allowed_signers is None:
            raise ValueError("requires signatures, but names no allowed_signers file")
        if self.revoked_keys is not None and self.allowed_signers is None:
            raise ValueError("names revoked_keys, but no allowed_signers file")
        for name, source in self.secrets.items():
            foreign = sorted(set(source.environments) - self.environments.keys())
            if foreign:
                raise ValueError(f"lets {name} be used in {foreign[0]}, which is no environment")
        if self.recovery.agent and self.llm is None:
            raise ValueError("turns the recovery agent on, but has no llm section for it to ask")
        return self
