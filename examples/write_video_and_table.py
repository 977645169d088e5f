"""Track, and write the video with the box drawn on it and the table of boxes.

python examples/write_video_and_table.py clip.mp4 185,120,69,87 tracked.mp4 boxes.csv
"""

import sys

from metatrack import BoxWriter, Tracker, VideoWriter, draw, open_source

source, box = sys.argv[1], [float(value) for value in sys.argv[2].split(",")]

tracker = Tracker("lite")
with open_source(source) as frames, VideoWriter(sys.argv[3], frames.fps) as video, BoxWriter(sys.argv[4]) as table:
    first = next(frames)
    tracker.init(first, box)
    video.write(draw(first, box))
    table.write(0, box, score=1.0)
    for number, frame in enumerate(frames, start=1):
        result = tracker.update(frame)
        video.write(draw(frame, *result))
        table.write(number, *result)
