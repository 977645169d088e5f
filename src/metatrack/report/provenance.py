"""Where the numbers of a report come from: the code, the machine that made the report, and what each tracker was."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from typing import Any

from metatrack import __version__
from metatrack.version import current_commit


def provenance(identities: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Lines for the foot of a report."""
    commit = current_commit()
    code = f"metatrack {__version__}"
    if commit is not None:
        code += f", commit {commit.sha[:12]}{' with changes' if commit.changed else ''}"
    system = f"{platform.system()} on {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    return [
        f"Report made by {code}.",
        f"Made on {system}.",
        *(f"{name}: {_identity(facts)}." for name, facts in identities.items()),
    ]


def _identity(facts: Mapping[str, Any]) -> str:
    """What a tracker was, in short: its weights' hash where it has some, else that of all that is known of it."""
    if "imported" in facts:
        return "boxes from result files"
    digest = hashlib.sha256(json.dumps(facts.get("sha256") or facts, sort_keys=True, default=str).encode()).hexdigest()[:12]
    known = ", ".join(f"{key} {facts[key]}" for key in ("metatrack", "model", "adapt", "factory", "opencv") if key in facts)
    return f"{known or 'a program'}; {'weights' if facts.get('sha256') else 'identity'} {digest}"
