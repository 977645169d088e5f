"""Synthetic clips: cut-out objects pasted on photographs, for training where no licensed footage is at hand.

Any folder of images with transparency gives the objects and any folder of photographs gives the backgrounds
(:mod:`metatrack.data.material` fetches both from Debian's archive). A clip shows one object through time, in the form in which
the networks are trained: the target is near the centre of a square frame and its context side
(:func:`metatrack.geometry.context_side`) is close to 127 pixels, so that a sampler needs no further scaling.

Coordinates are continuous and 0-based, as in :mod:`metatrack.geometry`: pixel i covers ``[i, i + 1)``.

:mod:`.composer` puts a clip together: a target and distractors on backgrounds, drawn from a :mod:`.stock` of
:mod:`.cutouts` and photographs, moved by :mod:`.motion`, laid upon each other as :mod:`.layers`, spoiled by :mod:`.light`.
:mod:`.writer` writes clips to disk. The same seed gives the same bytes for ever: whoever changes the order in which random
numbers are drawn changes all clips.
"""

from metatrack.data.synth.composer import Composer
from metatrack.data.synth.config import ComposerConfig
from metatrack.data.synth.writer import write_clips

__all__ = ["Composer", "ComposerConfig", "write_clips"]
