"""What tests of engines share: the shipped rules and input, and bundles of one small rule."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.policy_bundle import Bundle, bundle_of, read_bundle
from orchestrator.policy_files import read_base
from orchestrator.pure.cases import document_of

if TYPE_CHECKING:
    from orchestrator.pure.policy_input import PolicyInput

__all__ = ["HEAD", "POLICIES", "document", "one_rule", "shipped"]

POLICIES: Final = Path(__file__).parent.parent.parent / "policies"
HEAD: Final = "package interlock.rules.sample\n\nimport rego.v1\n\n"
SPEAKS: Final = 'deny contains {"id": "sample", "subject": "plan", "msg": "no"} if '


@cache
def shipped() -> Bundle:
    """Return the rules that we ship."""
    return read_bundle(POLICIES)


@cache
def _base() -> dict[str, Any]:
    return read_base(POLICIES)


def document(**patch: Any) -> PolicyInput:
    """Return the shipped input, patched."""
    return document_of(_base(), patch)


def one_rule(condition: str, more: str = "") -> Bundle:
    """Make a bundle of one rule that denies on a condition."""
    entry = (POLICIES / "decision.rego").read_text(encoding="utf-8")
    rule = f"{HEAD}{SPEAKS}{condition}\n\n{more}\n"
    modules = {"decision.rego": entry, "rules/sample.rego": rule}
    return bundle_of(modules, {"params": {}})
