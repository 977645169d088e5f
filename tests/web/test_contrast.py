"""Contrast of the page's colours in both themes: AA of WCAG 2.2, 4.5 to 1 for text, 3 to 1 for what else must be seen.

Definition: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio. That no other pairs stand on the page is asked in a real Chromium,
of every text that it shows (test_interaction.py).
"""

from __future__ import annotations

import re

import pytest

from tests.conftest import REPOSITORY

CSS = (REPOSITORY / "src" / "metatrack" / "web" / "page" / "style.css").read_text(encoding="utf-8")
TEXT = [
    ("ink", "ground"), ("ink", "card"), ("ink", "accent-soft"), ("quiet", "ground"), ("quiet", "card"), ("quiet", "accent-soft"),
    ("lost", "card"), ("lost", "accent-soft"), ("on-accent", "accent"), ("on-danger", "danger"),
]  # fmt: skip
SEEN = [
    ("edge", "ground"), ("edge", "card"), ("edge", "accent-soft"), ("focus", "ground"), ("focus", "card"), ("focus", "stage"),
    ("accent", "card"), ("accent", "ground"), ("accent", "accent-soft"), ("danger", "card"), ("danger", "ground"),
    ("curve", "card"), ("lost", "card"), ("absent", "card"), ("absent", "ground"), ("lost", "ground"), ("curve", "ground"),
]  # fmt: skip


def luminance(color: str) -> float:
    """Relative luminance of ``#rrggbb``."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """From 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def themes() -> list[dict[str, str]]:
    """Light, dark by the system's wish, dark by the button."""
    blocks = re.findall(r":root[^{}]*\{([^{}]*--ground[^{}]*)\}", CSS)
    return [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block)) for block in blocks]


def test_the_definition() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the well-known grey that just fails


def test_both_ways_to_the_dark_theme_are_one() -> None:
    light, wished, chosen = themes()
    assert wished == chosen != light and set(light) == set(wished)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_contrast(theme: int) -> None:
    colors = themes()[theme]
    low = {
        f"{one} on {other}": round(found, 2)
        for least, pairs in ((4.5, TEXT), (3.0, SEEN))
        for one, other in pairs
        if (found := contrast(colors[one], colors[other])) < least
    }
    assert low == {}
