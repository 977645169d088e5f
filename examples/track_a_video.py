"""Track a file, a folder of images, a camera's number or an address, and print a box for each frame.

python examples/track_a_video.py clip.mp4 185,120,69,87
"""

import sys

from metatrack import Tracker, open_source

source, box = sys.argv[1], [float(value) for value in sys.argv[2].split(",")]  # x, y, w, h: top-left corner and size in pixels

tracker = Tracker("lite")
with open_source(source) as frames:
    tracker.init(next(frames), box)
    for frame in frames:
        (x, y, w, h), score, lost = tracker.update(frame)
        print(f"{frames.index}: {x:.1f} {y:.1f} {w:.1f} {h:.1f} score {score:.2f}{' lost' if lost else ''}")
