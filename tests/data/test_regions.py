"""Polygons to boxes."""

import numpy as np
import pytest

from metatrack.data import regions


def test_polygons_to_boxes():
    # a diamond around (5, 5): x 3..7, y 2..8; and a box written as its corners
    diamond, box = [5, 2, 7, 5, 5, 8, 3, 5], [1, 2, 4, 2, 4, 6, 1, 6]
    assert regions.polygons_to_boxes([diamond, box]).tolist() == [[3, 2, 4, 6], [1, 2, 3, 4]]
    assert regions.polygons_to_boxes([[0, 0, 4, 0, 0, 3]]).tolist() == [[0, 0, 4, 3]]  # a triangle


@pytest.mark.parametrize("shape", [(2, 4), (2, 7), (8,)])
def test_polygons_need_corners(shape):
    with pytest.raises(ValueError, match="three or more corners"):
        regions.polygons_to_boxes(np.zeros(shape))
