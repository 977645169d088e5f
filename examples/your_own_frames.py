"""Frames from wherever you like: here a square that a few lines of numpy move over noise.

python examples/your_own_frames.py
"""

import numpy as np

from metatrack import Tracker

rng = np.random.default_rng(0)
background = rng.integers(0, 80, (240, 320, 3), dtype=np.uint8)
square = rng.integers(100, 256, (40, 40, 3), dtype=np.uint8)

tracker = Tracker("lite")
for step in range(40):
    frame = background.copy()  # RGB, uint8, (H, W, 3); for OpenCV's BGR give frame[..., ::-1]
    left, top = 40 + 4 * step, 60 + 2 * step
    frame[top : top + 40, left : left + 40] = square
    if step == 0:
        tracker.init(frame, (left, top, 40, 40))
        continue
    x, y, w, h = tracker.update(frame).box
    print(f"true {left} {top}, found {x:.1f} {y:.1f} {w:.1f} {h:.1f}")
