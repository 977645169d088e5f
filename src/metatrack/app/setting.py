"""``--set name=value``: single settings of the tracker on the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from metatrack.app.problem import Problem, user_input
from metatrack.tracking.settings import TrackerSettings

SetTexts = tyro.conf.UseAppendAction[Annotated[tuple[str, ...], tyro.conf.arg(name="set", metavar="NAME=VALUE")]]
WORDS = {"True": True, "False": False, "None": None}


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """The settings by name, typed; the last of one name counts.

    >>> parse_settings(["adaptation.interval=30", "redetection.enabled=false", "scale_search.pyramid=template"])
    {'adaptation.interval': 30, 'redetection.enabled': False, 'scale_search.pyramid': 'template'}

    Raises:
        Problem: a text has no ``=``, a setting is unknown (the nearest is named), or a value is of the wrong type or size.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise Problem(
                f"--set {text}: give NAME=VALUE, as in adaptation.interval=30 (help(metatrack.TrackerSettings) lists all)"
            )
        settings[name] = _typed(value)
    with user_input():
        TrackerSettings(**settings)
    return settings


def _typed(value: str) -> Any:
    """Numbers, true and false, and lists as JSON has them; anything else is a word."""
    if value in WORDS:
        return WORDS[value]
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
