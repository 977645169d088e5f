"""Which target a result file is about, as people name their files."""

from __future__ import annotations

import pytest

from metatrack.data.otb import otb_aliases, otb_targets
from metatrack.evaluation.score.formats import match_target

NAMES = [target.name for target in otb_targets()]
ALIASES = otb_aliases()


def meant(stem: str) -> str | None:
    return match_target(stem, NAMES, ALIASES)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_in_every_spelling(name: str) -> None:
    for tracker in ("", "_KCF", "-KCF", ".KCF", " KCF", "_KCF_GaussHog", "_2D-net", "_SiamFC-3s"):
        for spelt in (name, name.lower(), name.upper(), name.replace("-", "_"), name.replace("-", "."), name.replace("-", " ")):
            assert meant(spelt + tracker) == name
        base, _, number = name.partition("-")
        if number:
            for spelt in (f"{base}({number})", f"{base} ({number})", f"{base}[{number}]", f"{base}_({number})"):
                assert meant(spelt + tracker) == name


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("Human4", "Human4-2"),
        ("human4_KCF", "Human4-2"),
        ("Human4(2)", "Human4-2"),
        ("Jogging", "Jogging-1"),
        ("jogging_TLD", "Jogging-1"),
        ("Jogging(2)", "Jogging-2"),
        ("jogging_2_TLD", "Jogging-2"),
        ("Jogging1", "Jogging-1"),
        ("Jogging2_KCF", "Jogging-2"),
        ("Skating2", "Skating2-1"),
        ("Skating2(2)", "Skating2-2"),
        ("skating2.2", "Skating2-2"),
        ("skating2-2_KCF", "Skating2-2"),
        ("Skating1", "Skating1"),
    ],
)
def test_targets_that_share_a_sequence(stem: str, name: str) -> None:
    assert meant(stem) == name


@pytest.mark.parametrize(
    "stem",
    ["Human41", "Human", "Human4-1", "Human4(1)", "Human4_3_KCF", "Joggings", "Jogging-3", "Skating", "Skating22", "Skating2-3"],
)
def test_what_is_about_no_target(stem: str) -> None:
    assert meant(stem) is None


def test_no_two_targets_share_a_name() -> None:
    spelt = [meant(name) for name in [*NAMES, *ALIASES]]
    assert sorted(set(spelt), key=str) == sorted(NAMES)
    assert set(ALIASES) & set(NAMES) == set()
