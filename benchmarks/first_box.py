"""In a process of its own: a tracker from nothing to its first box, and its memory some frames later."""

from __future__ import annotations

import json
import sys
import time
from itertools import islice

from benchmarks.contenders import Contender, reason
from benchmarks.processes import peak


def main() -> None:
    """Prints when the first box was there, and the peak of the memory."""
    what = json.loads(sys.argv[1])
    contender = Contender(**what["contender"])
    try:
        tracker = contender.make(what["threads"])
    except (ValueError, ImportError, RuntimeError, OSError) as error:
        print(json.dumps({"reason": reason(error)}))
        return
    from metatrack.geometry import Box
    from metatrack.video import open_source

    with open_source(what["clip"]) as frames:
        tracker.init(next(frames), Box(*what["box"]))
        tracker.update(next(frames))
        now = time.time()
        for frame in islice(frames, what["frames"]):
            tracker.update(frame)
    print(json.dumps({"time": now, "peak": peak()}))


if __name__ == "__main__":
    main()
