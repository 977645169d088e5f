"""SiamFC's way of tracking, with our matching network.

Bertinetto, Valmadre, Henriques, Vedaldi and Torr, Fully-Convolutional Siamese Networks for Object Tracking, ECCV Workshops 2016:
one template from the first frame, never changed; three scales; damped steps in scale; a cosine window. The numbers are those of
the authors' tracker with three scales.

It is ``Tracker("lite-no-meta", settings=SETTINGS)``: 128 plain kernels, and no box head. The network is ours, trained on our
data, and penalty and window act on probabilities here, on raw responses there: so this is no reproduction of its published
results. It shows, side by side with ``mlt``, what box head, meta-learner and the search for lost targets are worth.
"""

from __future__ import annotations

from metatrack.tracking.settings import TrackerSettings

SETTINGS = TrackerSettings(
    scale_search={"step": 1.0375, "penalty": 0.9745, "damping": 0.59, "upsample": 16, "pyramid": "search"},
    search={"window": 0.176, "size_limits": (0.2, 5.0)},
    redetection={"enabled": False},
)
