"""The window of ``--box pick``, as a process of its own.

PyAV brings a libxcb of its own: where it was loaded first, windows of OpenCV's wheels for Linux hang without an end
(https://github.com/PyAV-Org/PyAV/issues/1050). This module must import nothing that imports PyAV.
"""

from __future__ import annotations

import json
import sys

from metatrack.images import decode_image
from metatrack.opencv import require_opencv

NO_WINDOWS = 3  # exit code: this OpenCV has no windows


def main() -> int:
    """Shows the picture on standard input under the title of the command line, and prints the boxes that are drawn, as JSON."""
    cv2 = require_opencv("--box pick")
    frame = decode_image(sys.stdin.buffer.read(), "the frame")
    try:
        drawn = cv2.selectROIs(sys.argv[1], frame[..., ::-1].copy())
        cv2.destroyAllWindows()
    except cv2.error:
        return NO_WINDOWS
    print(json.dumps([[float(side) for side in box] for box in drawn]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
