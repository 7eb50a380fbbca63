"""What an actor says of itself (spec), what it is asked (brief), and what it reports (outcome).

This file is pure and is the only one of `actors` that the deciding half may know.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

__all__ = [
    "SECRET_UNAVAILABLE",
    "ActorName",
    "ActorSpec",
    "BooleanParam",
    "Brief",
    "Change",
    "ChoiceParam",
    "Done",
    "Failed",
    "FailureMode",
    "Found",
    "InDoubt",
    "Integer",
    "IntegerParam",
    "ListParam",
    "Model",
    "Name",
    "Outcome",
    "OutputSpec",
    "ParamSpec",
    "Predicted",
    "Retries",
    "Scalar",
    "SecretParam",
    "SecretRef",
    "Target",
    "TargetName",
    "TargetsParam",
    "TextParam",
    "Timeouts",
    "Unexpected",
    "Value",
    "Verb",
    "problem_with",
]

MAX_SAFE_INTEGER: Final = 2**53 - 1

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
ActorName = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){1,3}$", max_length=80)
]
TargetName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.\-]*[a-z0-9])?$", max_length=253)
]
Line = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Integer = Annotated[int, Field(ge=-MAX_SAFE_INTEGER, le=MAX_SAFE_INTEGER)]

Verb = Literal["check", "apply", "verify", "undo"]
Scalar = bool | Integer | str
Value = Scalar | tuple[Scalar, ...]


class Model(BaseModel):
    """A noun: frozen, strict, closed."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class TextParam(Model):
    """A pattern-limited string; a param without a pattern is refused by the catalog's reader."""

    type: Literal["text"]
    summary: Line
    pattern: Annotated[str, StringConstraints(min_length=3, max_length=400)]
    max_length: Annotated[int, Field(ge=1, le=4096)] = 256
    required: bool = True
    default: str | None = None


class IntegerParam(Model):
    """A bounded whole number; its unit belongs in its name."""

    type: Literal["integer"]
    summary: Line
    minimum: Integer
    maximum: Integer
    required: bool = True
    default: Integer | None = None


class BooleanParam(Model):
    """True or false."""

    type: Literal["boolean"]
    summary: Line
    required: bool = True
    default: bool | None = None


class ChoiceParam(Model):
    """One word of a closed list."""

    type: Literal["choice"]
    summary: Line
    choices: Annotated[tuple[Line, ...], Field(min_length=1, max_length=250)]
    required: bool = True
    default: str | None = None


class ListParam(Model):
    """Several values of one simple type."""

    type: Literal["list"]
    summary: Line
    items: Annotated[TextParam | IntegerParam | ChoiceParam, Field(discriminator="type")]
    minimum: Annotated[int, Field(ge=0, le=10_000)] = 1
    maximum: Annotated[int, Field(ge=1, le=10_000)] = 100
    required: bool = True
    default: tuple[Scalar, ...] | None = None


class SecretRef(Model):
    """The name of a secret: all of it that drafts, tickets, plans and warrants ever hold."""

    secret: Name


class SecretParam(Model):
    """A value that only the act's own process sees; everybody else sees its name."""

    type: Literal["secret"]
    summary: Line
    required: bool = True
    default: None = None


class TargetsParam(Model):
    """The param that names what the step touches; an actor has at most one."""

    type: Literal["targets"]
    summary: Line
    object: Name = "host"
    minimum: Annotated[int, Field(ge=1, le=100_000)] = 1
    maximum: Annotated[int, Field(ge=1, le=100_000)] = 100_000


ParamSpec = Annotated[
    TextParam | IntegerParam | BooleanParam | ChoiceParam | ListParam | SecretParam | TargetsParam,
    Field(discriminator="type"),
]
OutputSpec = Annotated[
    TextParam | IntegerParam | BooleanParam | ChoiceParam | ListParam, Field(discriminator="type")
]


class FailureMode(Model):
    """A way to fail that the actor's author foresaw, and what it leaves behind."""

    name: Name
    summary: Line
    leaves: Literal["nothing", "partial"] = "nothing"
    retry: bool = False


SECRET_UNAVAILABLE: Final = FailureMode(
    name="secret_unavailable", summary="A secret could not be had, so nothing was begun."
)
"""How every actor that takes a secret may fail; its manifest may declare it otherwise."""


class Retries(Model):
    """How often a clean, retryable failure is tried again, and how long between."""

    maximum: Annotated[int, Field(ge=0, le=20)] = 0
    backoff_s: Annotated[int, Field(ge=0, le=86_400)] = 10
    factor: Annotated[int, Field(ge=1, le=10)] = 2


class Timeouts(Model):
    """How long each verb may take, and how long an apply is expected to take."""

    apply_s: Annotated[int, Field(ge=1, le=604_800)] = 300
    verify_s: Annotated[int, Field(ge=1, le=604_800)] = 60
    undo_s: Annotated[int, Field(ge=1, le=604_800)] = 300
    check_s: Annotated[int, Field(ge=1, le=604_800)] = 120
    expected_s: Annotated[int, Field(ge=0, le=604_800)] = 30


class ActorSpec(Model):
    """An actor's manifest (`actor.yaml`) as a value."""

    name: ActorName
    version: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$", max_length=40)]
    kind: Name
    summary: Line
    when_to_use: Line
    when_not_to_use: Line
    effect: Literal["read", "change", "destroy"]
    params: dict[Name, ParamSpec] = {}
    outputs: dict[Name, OutputSpec] = {}
    reads: tuple[Name, ...] = ()
    """Aspects of each target that this actor looks at; `self` is the whole target."""
    writes: tuple[Name, ...] = ()
    """Aspects of each target that this actor changes."""
    shares: tuple[Name, ...] = ()
    """Inventory labels whose value (an array, a pool) this actor changes for all who carry it."""
    disturbs: bool = False
    """While it acts, its targets do not serve: they count against failure-domain budgets."""
    untargeted_because: Line | None = None
    """Why this actor changes something and yet names no targets; the reader demands the reason."""
    idempotent: bool
    undo: Literal["full", "partial", "none"]
    point_of_no_return: bool = False
    failure_modes: tuple[FailureMode, ...] = ()
    retries: Retries = Retries()
    timeouts: Timeouts = Timeouts()
    dry_run: Literal["predicted", "partial", "none"]
    needs_before: tuple[ActorName, ...] = ()
    """Actors that must act on the same targets earlier in the plan."""
    needs_after: tuple[ActorName, ...] = ()
    """Actors that must act on the same targets later in the plan."""
    environments: tuple[Name, ...] = ()
    """Where this actor may be used; empty means everywhere."""
    enabled: bool = True

    @property
    def target_param(self) -> str | None:
        """Name the param that holds the targets."""
        return next((n for n, p in self.params.items() if p.type == "targets"), None)

    def failure(self, mode: str) -> FailureMode | None:
        """Find a declared failure mode."""
        modes = self.failure_modes
        if any(param.type == "secret" for param in self.params.values()):
            modes = (*modes, SECRET_UNAVAILABLE)
        return next((m for m in modes if m.name == mode), None)


# --- what an actor is asked ---------------------------------------------------------------------


class Target(Model):
    """One inventory object, with the facts that its kind needs to reach it."""

    name: TargetName
    object: Name = "host"
    labels: dict[Name, str] = {}
    connection: dict[str, Scalar] = {}


class Brief(Model):
    """One verb of one step, as a kind sees it: no plan, no policy, no ticket."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=400)]
    """run/step/verb/attempt: unique for ever, handed to targets that honour such a key."""
    verb: Verb
    attempt: Annotated[int, Field(ge=1)]
    folder: str
    spec: ActorSpec
    params: dict[Name, Value]
    secrets: dict[Name, SecretStr] = Field(default_factory=dict, exclude=True, repr=False)
    """The params that are secrets, known to the act's own process alone: never written down."""
    targets: tuple[Target, ...]
    timeout_s: Annotated[int, Field(ge=1)]
    workdir: str
    """A fresh private directory of this act alone."""
    unchanged: tuple[TargetName, ...] = ()
    """For an undo and its verify: the targets that were as wanted before the step was applied."""


# --- what an actor reports ----------------------------------------------------------------------


class Done(Model):
    """The verb did what it should, and (apply, undo) the actor's own verify agreed."""

    kind: Literal["done"] = "done"
    changed: bool = True
    outputs: dict[Name, Value] = {}
    unchanged: tuple[TargetName, ...] = Field(default=(), exclude_if=lambda names: not names)
    """Some of the targets, on which an apply had nothing to do: an undo leaves them so."""


class Failed(Model):
    """A failure that the manifest declares."""

    kind: Literal["failed"] = "failed"
    mode: Name
    message: str = ""


class Unexpected(Model):
    """Something nobody foresaw: undeclared failure, verify disagrees, foreign target."""

    kind: Literal["unexpected"] = "unexpected"
    message: str


class InDoubt(Model):
    """The effect may have happened: crash, lost connection, timeout."""

    kind: Literal["in_doubt"] = "in_doubt"
    message: str


class Found(Model):
    """What `verify` read, also for a step in doubt."""

    kind: Literal["found"] = "found"
    state: Literal["applied", "not_applied", "partial", "unknown"]
    outputs: dict[Name, Value] = {}
    message: str = ""


class Change(Model):
    """One predicted change on one target."""

    target: TargetName | None
    summary: str
    diff: str = ""


class Predicted(Model):
    """What `check` expects `apply` to do, and how far that can be trusted."""

    kind: Literal["predicted"] = "predicted"
    grade: Literal["predicted", "partial", "none"]
    changes: tuple[Change, ...] = ()
    message: str = ""


Reported = Done | Failed | Unexpected | InDoubt | Found | Predicted
Outcome = Annotated[Reported, Field(discriminator="kind")]


# --- values -------------------------------------------------------------------------------------


def problem_with(spec: ParamSpec, value: object) -> str | None:
    """Say why a value does not fit its declaration, or nothing."""
    if isinstance(spec, SecretParam):
        # What stands here instead may be the secret itself: it is not repeated.
        return None if isinstance(value, SecretRef) else "must name a secret: {secret: NAME}"
    if isinstance(value, SecretRef):
        return f"takes a plain value; it cannot take the secret {value.secret}"
    match spec:
        case TextParam():
            return _problem_with_text(spec, value)
        case IntegerParam():
            return _problem_with_integer(spec, value)
        case ListParam():
            return _problem_with_list(spec, value)
        case BooleanParam():
            fits, wanted = isinstance(value, bool), "true or false"
        case ChoiceParam():
            fits, wanted = value in spec.choices, f"one of {', '.join(spec.choices)}"
        case _:
            listed = value if isinstance(value, (list, tuple)) else (None,)
            fits, wanted = all(isinstance(v, str) for v in listed), "a list of target names"
    return None if fits else f"must be {wanted}, got {_shown(value)}"


def _problem_with_integer(spec: IntegerParam, value: object) -> str | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return f"must be a whole number, got {_shown(value)}"
    if not spec.minimum <= value <= spec.maximum:
        return f"must be between {spec.minimum} and {spec.maximum}, got {value}"
    return None


def _problem_with_text(spec: TextParam, value: object) -> str | None:
    import re  # noqa: PLC0415 - loaded only when a text is checked; keeps cold start short

    if not isinstance(value, str):
        return f"must be a string, got {_shown(value)}"
    if len(value) > spec.max_length:
        return f"must have at most {spec.max_length} characters, has {len(value)}"
    if re.fullmatch(spec.pattern, value) is None:
        return f"must match {spec.pattern}, got {_shown(value)}"
    return None


def _problem_with_list(spec: ListParam, value: object) -> str | None:
    if not isinstance(value, (list, tuple)):
        return f"must be a list, got {_shown(value)}"
    if not spec.minimum <= len(value) <= spec.maximum:
        return f"must have {spec.minimum} to {spec.maximum} items, has {len(value)}"
    for position, item in enumerate(value):
        problem = problem_with(spec.items, item)
        if problem:
            return f"item {position + 1} {problem}"
    return None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
