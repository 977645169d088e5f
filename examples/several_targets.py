"""Several targets in one video: added, corrected and removed while it runs.

python examples/several_targets.py clip.mp4 185,120,69,87 300,200,60,60
"""

import sys

from metatrack import MultiTracker, open_source

boxes = [[float(value) for value in text.split(",")] for text in sys.argv[2:]]

tracker = MultiTracker("lite")
with open_source(sys.argv[1]) as frames:
    first = next(frames)
    for box in boxes:
        tracker.add(first, box)  # ids are 1, 2, 3 ...; or what you choose: tracker.add(first, box, "rabbit")
    for number, frame in enumerate(frames, start=1):
        for target, result in tracker.update(frame).items():
            print(number, target, *(f"{value:.1f}" for value in result.box), f"{result.score:.2f}")
        if number == 30:  # a person moves target 1, say, and drops the last one
            tracker.correct(1, frame, boxes[0])
            tracker.remove(tracker.targets[-1])
