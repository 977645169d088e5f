"""A control loop: turn towards the target, stop when it is lost.

A live source always gives the newest frame, so the loop never lags behind the camera, however slow it is.

python examples/follow_with_a_robot.py 0 185,120,69,87
"""

import sys

from metatrack import Tracker, open_source

source = int(sys.argv[1]) if sys.argv[1].isdigit() else sys.argv[1]
box = [float(value) for value in sys.argv[2].split(",")]

tracker = Tracker("lite")
with open_source(source) as frames:
    frame = next(frames)
    tracker.init(frame, box)
    for frame in frames:
        (x, y, w, h), score, lost = tracker.update(frame)
        offset = (x + w / 2) / frame.shape[1] - 0.5  # -0.5 at the left edge of the frame, +0.5 at the right one
        print("stop: target lost" if lost else f"turn {60 * offset:+.1f} degrees of a camera that sees 60")
