"""A target's state as text, for servers that keep nothing between two requests; JSON, so that nothing in it can be run.

The state is that of a tracker without meta-learner: the samples that it learns from would be megabytes in every request.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
import numpy as np

from metatrack.arrays import Float32
from metatrack.geometry import Center
from metatrack.tracking.adaptation import Adaptation
from metatrack.tracking.appearance import Appearance, BoxAppearance, Known
from metatrack.tracking.distractors import Distractor
from metatrack.tracking.lines import Line
from metatrack.tracking.memory import Memory
from metatrack.tracking.opinion import Alike, FirstLook
from metatrack.tracking.target import Claim, Course, Sighting, TargetState
from metatrack.tracking.tracker import Tracker
from metatrack.typed import parse_json

MOST = 16 << 20
"""Characters of a state."""
Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]


@dataclass(frozen=True)
class _Array:
    shape: tuple[Count, ...]
    data: str


_Known = tuple[tuple[list[bool], list[bool]], tuple[list[bool], list[bool]]]


@dataclass(frozen=True)
class _State:
    center: tuple[float, float, float, float]
    first_size: tuple[float, float]
    frame: Count
    sighting: tuple[float, float, Count, Count, bool]
    distractors: list[tuple[float, float, Count, float, float, Count]]
    arrays: list[_Array]
    bias: tuple[float, float] = (1.0, 1.0)
    known: list[_Known | None] = field(default_factory=list)
    look: list[_Array] = field(default_factory=list)
    velocity: tuple[float, float] = (0.0, 0.0)
    claim: tuple[float, float, Count, Count] | None = None
    alike: tuple[float | None, float | None] = (None, None)


def pack(tracker: Tracker) -> str:
    """The state of a tracker that has been initialised, and adapts not.

    Raises:
        RuntimeError: it has not been initialised.
        ValueError: it adapts.
    """
    if tracker.adapt:
        raise ValueError("only the state of a tracker without meta-learner is text; make it with adapt=False")
    state = tracker.started
    look, bias, known = state.appearance, (1.0, 1.0), []
    first_look: tuple[Float32, ...] = ()
    if isinstance(look, BoxAppearance):
        views = (look.now, look.first, look.recent)
        arrays = [array for view in views for array in view[:2]] + [look.size, *(look.line or ())]
        known = [view.known and [[axis.tolist() for axis in part] for part in view.known] for view in views]
        bias, first_look = look.bias, look.look or ()
    else:
        arrays = [look]
    seen = state.sighting
    content = {
        "center": state.center,
        "first_size": state.first_size,
        "frame": state.frame,
        "sighting": (seen.score, seen.motion, seen.low_frames, seen.unseen_frames, seen.lost),
        "distractors": state.distractors,
        "arrays": _texts(arrays),
        "bias": bias,
        "known": known,
        "look": _texts(first_look),
        "velocity": state.motion.velocity,
        "claim": state.motion.claim,
        "alike": (state.alike.now, state.alike.usual),
    }
    return msgspec.json.encode(content).decode()


def unpack(text: str, tracker: Tracker) -> None:
    """Lets a tracker go on from a state that :func:`pack` made of one with the same model; a ``ValueError`` if it is none."""
    if len(text) > MOST:
        raise ValueError(f"the state has {len(text)} characters; at most {MOST} are read")
    stated = parse_json(text.encode(), _State, "the state")
    arrays = [_array(each) for each in stated.arrays]
    boxes = tracker.model.has_boxes
    if (
        len(arrays) not in ((7, 9) if boxes else (1,))
        or len(stated.look) not in (0, 3 * boxes)
        or len(stated.known) != 3 * boxes
        or min(stated.center[2:]) <= 0
        or min(stated.first_size) <= 0
    ):
        raise ValueError("the state is not that of a target of this model; start anew from a box")
    look: BoxAppearance | Float32 = arrays[0]
    if boxes:
        now, first, recent = (Appearance(arrays[2 * n], arrays[2 * n + 1], _known(stated.known[n])) for n in range(3))
        line = Line(*arrays[7:]) if len(arrays) == 9 else None
        first_look = FirstLook(*map(_array, stated.look)) if stated.look else None
        look = BoxAppearance(now, first, recent, arrays[6], stated.bias, line, first_look)
    tracker.state = TargetState(
        Center(*stated.center),
        stated.first_size,
        look,
        Adaptation(tracker.model.no_kernels, Memory(1)),
        [Distractor(*each) for each in stated.distractors],
        Sighting(*stated.sighting),
        stated.frame,
        Course(stated.velocity, stated.claim and Claim(*stated.claim)),
        Alike(*stated.alike),
    )


def _texts(arrays: Iterable[Float32]) -> list[dict[str, object]]:
    return [{"shape": a.shape, "data": base64.b64encode(a.astype("<f4").tobytes()).decode()} for a in arrays]


def _known(stated: _Known | None) -> Known | None:
    """Which cells and parts lay in the frame."""
    if stated is None:
        return None
    cells, parts = ((np.array(x, bool), np.array(y, bool)) for x, y in stated)
    return Known(cells, parts)


def _array(stated: _Array) -> Float32:
    try:
        data = base64.b64decode(stated.data, validate=True)
    except ValueError as error:
        raise ValueError("the state holds an array that is not base64; start anew from a box") from error
    if len(data) != 4 * math.prod(stated.shape):
        raise ValueError("the state holds an array of another size than it says; start anew from a box")
    values = np.frombuffer(data, "<f4").astype(np.float32).reshape(stated.shape)
    if not np.isfinite(values).all():
        raise ValueError("the state holds numbers that are not finite; start anew from a box")
    return values
