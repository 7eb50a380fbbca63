"""The port of policy: any engine is asked one question and trusted with nothing else.

1. What comes back counts only if it repeats the digest of the input, names exactly the rules of
   this workspace, and has the agreed shape. All else is an error: nothing runs.
2. There is no switch that turns an error into consent.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors.strict import UnreadableError, refuse_ambiguous
from orchestrator.errors import InvalidInput, Unavailable
from orchestrator.policy_embedded import Embedded
from orchestrator.pure.policy_answer import Answer, answer_from, problem_with_answer
from orchestrator.pure.policy_input import PolicyInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.policy_bundle import Bundle
    from orchestrator.settings import PolicySettings

__all__ = ["Engine", "answer_of", "engine_name", "input_schema", "judge", "opened"]

MAX_TOKEN_BYTES: Final = 16_384


class Engine(Protocol):
    """Whoever evaluates `data.interlock.main.decision`."""

    @property
    def name(self) -> str:
        """Its name and version, as decisions record them."""

    def answer(self, document: Mapping[str, Any]) -> Any:
        """Return the decision document for an input; `Unavailable` when there is none."""

    def close(self) -> None:
        """End what it started."""


@contextlib.contextmanager
def opened(
    settings: PolicySettings, bundle: Bundle, environ: Mapping[str, str]
) -> Iterator[Engine]:
    """Make the engine that the settings name, and end it."""
    engine = _engine(settings, bundle, environ)
    try:
        yield engine
    finally:
        engine.close()


def judge(engine: Engine, bundle: Bundle, document: PolicyInput) -> Answer:
    """Ask an engine, and take its answer only if it is one."""
    answer = answer_of(engine, bundle, document)
    if isinstance(answer, Answer):
        return answer
    raise Unavailable(
        f"the answer of {engine.name} does not count: {answer}",
        next_step="nothing was decided; look at policies/decision.rego and at what is served",
    )


def answer_of(engine: Engine, bundle: Bundle, document: PolicyInput) -> Answer | str:
    """Take what an engine says, or say why it does not count."""
    value = engine.answer(document.document())
    try:
        refuse_ambiguous(value)
    except UnreadableError as error:
        return f"it {error.reason}"
    answer = answer_from(json.dumps(value))
    if isinstance(answer, str):
        return answer
    return problem_with_answer(answer, document.digest, bundle.rules) or answer


def engine_name(settings: PolicySettings) -> str:
    """Say which engine would decide."""
    match settings.engine:
        case "embedded":
            return Embedded.version_name()
        case "opa":
            from orchestrator.policy_binary import (  # noqa: PLC0415 - loads an HTTP library
                binary_version,
                find_binary,
            )

            program = find_binary(settings.program)
            return f"{binary_version(program)} at {program}"
        case "opa-server":
            return f"opa at {settings.url}"
        case _:
            return "builtin"


def input_schema() -> dict[str, Any]:
    """Return the JSON schema of the input, as `policies/schema/input.json` holds it."""
    return PolicyInput.model_json_schema()


def _engine(settings: PolicySettings, bundle: Bundle, environ: Mapping[str, str]) -> Engine:
    timeout_s = float(settings.timeout_s)
    if settings.engine == "embedded":
        return Embedded(bundle, timeout_s)
    if settings.engine == "opa":
        from orchestrator.policy_binary import (  # noqa: PLC0415 - loads an HTTP library
            OpaBinary,
            find_binary,
        )

        return OpaBinary(find_binary(settings.program), bundle, input_schema(), timeout_s)
    from orchestrator.policy_opa import OpaServer, Place  # noqa: PLC0415 - loads an HTTP library

    client_cert = None
    if settings.client_cert is not None and settings.client_key is not None:
        client_cert = (_there(settings.client_cert), _there(settings.client_key))
    place = Place(
        url=str(settings.url),
        ca=None if settings.ca is None else _there(settings.ca),
        client_cert=client_cert,
        token=_token(settings, environ),
    )
    return OpaServer(place, revision=settings.revision or bundle.digest, timeout_s=timeout_s)


def _there(path: str) -> str:
    if not Path(path).is_file():
        raise InvalidInput(
            f"{path}: named in policy of interlock.yaml, is not there",
            next_step="put the file there, or correct the path",
        )
    return path


def _token(settings: PolicySettings, environ: Mapping[str, str]) -> str | None:
    if settings.token_variable is not None:
        where, token = settings.token_variable, environ.get(settings.token_variable, "")
    elif settings.token_file is not None:
        where = settings.token_file
        with Path(_there(where)).open("rb") as file:
            token = file.read(MAX_TOKEN_BYTES).decode(errors="replace").strip()
    else:
        return None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidInput(
            f"{where}: holds no token for the policy server",
            next_step="set it to the bare token, on one line",
        )
    return token
