"""OpenCV for all that makes clips: whoever imports it from here needs the extra ``opencv``."""

from __future__ import annotations

from metatrack.opencv import require_opencv

cv2 = require_opencv("making clips")
