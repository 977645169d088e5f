"""``help`` and ``dir`` tell what there is."""

from __future__ import annotations

import pydoc

import metatrack
from metatrack.tracking.adaptation import AdaptationSettings
from metatrack.tracking.settings import FLAT


def test_help_of_settings_has_each_with_its_default_and_meaning() -> None:
    text = pydoc.render_doc(metatrack.TrackerSettings, renderer=pydoc.plaintext)  # type: ignore[attr-defined]
    for place in FLAT.values():
        assert f"{place} = " in text
    lines = [line.strip(" |") for line in text.splitlines()]
    at = lines.index("adaptation.interval = 90")
    assert lines[at + 1].startswith("T of Algorithm 1: frames between updates of w_target")
    assert all(lines[lines.index(line) + 1] for line in lines if line.split(" = ")[0] in FLAT.values())


def test_help_of_a_group() -> None:
    assert "\ninterval = 90\n    T of Algorithm 1" in AdaptationSettings.__doc__


def test_dir_shows_the_public_names() -> None:
    assert set(dir(metatrack)) == {*metatrack.__all__, "__version__"}
