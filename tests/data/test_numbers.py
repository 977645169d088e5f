"""Numbers that files state."""

from __future__ import annotations

import math

import pytest

from metatrack.data.numbers import MOST, finite_number, whole_number


@pytest.mark.parametrize("stated", ["x", "", "1.5", "nan", "9" * 5000, "9" * 400, math.nan, math.inf, -1, 1e308, 0.5, MOST + 1])
def test_what_is_no_count_is_refused(stated: str | float) -> None:
    with pytest.raises(ValueError, match="a.txt: "):
        whole_number(stated, "a.txt")


@pytest.mark.parametrize("stated", ["x", "", "nan", "inf", "9" * 400, "1e999", math.nan])
def test_what_is_not_finite_is_refused(stated: str | float) -> None:
    with pytest.raises(ValueError, match="a.txt: "):
        finite_number(stated, "a.txt")


def test_bounds_belong_to_the_range() -> None:
    assert whole_number(str(MOST), "a") == MOST
    assert whole_number(-3.0, "a", least=-3) == -3
