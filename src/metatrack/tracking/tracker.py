"""Algorithm 1 of the paper at run time, with numpy and onnxruntime.

The model is shared and immutable; what belongs to one target is in :class:`~metatrack.tracking.target.TargetState`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from metatrack.arrays import Array, Float32, UInt8
from metatrack.frames import as_rgb
from metatrack.geometry import SEARCH_SIZE, Box, Center, check_box, from_center, to_center
from metatrack.runtime.bundle import BundleError
from metatrack.runtime.load import load_model
from metatrack.runtime.model import Model
from metatrack.tracking.adaptation import Adaptation
from metatrack.tracking.box_search import BoxSearch
from metatrack.tracking.distractors import REACH, TRUSTED, Distractor, remembered
from metatrack.tracking.memory import Memory, Sample
from metatrack.tracking.opinion import against
from metatrack.tracking.patches import Patches
from metatrack.tracking.redetect import redetect
from metatrack.tracking.search import Candidate, ScaleSearch, Searcher
from metatrack.tracking.settings import TrackerSettings
from metatrack.tracking.target import Course, TargetState, score_of
from metatrack.tracking.turns import Turns, in_turn


class Result(NamedTuple):
    """What the tracker says about one frame."""

    box: Box
    """``x, y, w, h`` in pixels, 0-based, float: finite, of positive size, and meeting the frame."""
    score: float
    """In 0..1: how likely the box holds the target (calibrated on held-out tracks, see the model's card)."""
    lost: bool
    """True while the score has been low for several frames."""


class Answer(NamedTuple):
    """What the networks say of one target's contexts."""

    features: Float32  # (n, C, h, w)
    response: Any  # the searcher's: of equation (4), or a box head's


class Tracker:
    """Follows one target from a box in its first frame.

    >>> import numpy as np
    >>> frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    >>> tracker = Tracker("lite")
    >>> tracker.init(frame, (60, 40, 30, 30))
    >>> x, y, w, h = tracker.update(frame).box

    Args:
        model: name of a shipped model, folder of a bundle, or a loaded model.
        adapt: let the meta-learner add kernels every ``adaptation.interval`` frames (equations 2 to 4). Without effect where the
            model has no meta-learner: ``tracker.adapt`` says whether kernels are added.
        settings: None takes the model card's; a dict changes single values of it, see :class:`TrackerSettings`.
        threads: threads of the networks; 0 is one per core.

    Raises:
        BundleError: the model is missing or damaged, or a setting in its card is unknown, of the wrong type or out of range.
        ValueError: a setting in ``settings`` is.
    """

    def __init__(
        self,
        model: str | Path | Model = "lite",
        adapt: bool = True,
        settings: TrackerSettings | dict[str, Any] | None = None,
        threads: int = 0,
    ) -> None:
        self.model = load_model(model, threads)
        if isinstance(settings, TrackerSettings):
            self.settings = settings
        else:
            self.settings = replace(_settings_of(self.model), **(settings or {}))
        self.adapt = adapt and self.model.can_adapt
        self.searcher = searcher(self.model, self.settings, self.adapt)
        self.state: TargetState[Any] | None = None
        self._turns = Turns()

    @in_turn
    def init(self, frame: Array, box: Sequence[float]) -> None:
        """Starts on a target, forgetting any earlier one.

        Args:
            frame: RGB uint8 ``(H, W, 3)``; gray, RGBA and 16-bit frames are converted as :func:`metatrack.frames.as_rgb` says.
            box: ``x, y, w, h`` in pixels, 0-based, top-left corner and size.

        Raises:
            ValueError: the box has no area, is not finite, or lies outside the frame; or the frame is no image.
            TypeError: the frame's dtype has no defined meaning.
        """
        patches = Patches(as_rgb(frame))
        center = to_center(check_box(box, (patches.height, patches.width)))
        settings, support = self.settings.adaptation, max(1, self.model.support)
        adaptation = Adaptation(self.model.no_kernels, Memory(support + settings.held_back(support), settings.choice))
        self.state = TargetState(center, center[2:], self.searcher.appearance(patches, center), adaptation)
        if self.adapt and (settings.keep_first or settings.accept):
            context = patches.cut(center.cx, center.cy, self.state.side, SEARCH_SIZE)
            self.state.adaptation.first = Sample(self.model.search(context[None])[0], (0.0, 0.0), 0.0)

    @in_turn
    def place(self, box: Sequence[float]) -> None:
        """Says where the target is in the frame before the next :meth:`update`; what it looks like stays as it was learnt.

        Args:
            box: as :meth:`init` takes it, but for the check against a frame.

        Raises:
            RuntimeError: :meth:`init` has not been called.
        """
        self.started.center, self.started.motion = to_center(box), Course()

    @in_turn
    def update(self, frame: Array, answer: Answer | None = None) -> Result:
        """Finds the target in the next frame, which is not changed: Algorithm 1, with what is not in the paper between its steps.

        Args:
            frame: as :meth:`init` takes it.
            answer: of :meth:`respond` to this frame's :meth:`contexts`; None asks the networks now. MultiTracker gives it, since
                it asks them for all targets at once.

        Raises:
            RuntimeError: :meth:`init` has not been called; another thread is inside the tracker; or the meta-learner failed in
                the background. Its failure is told in the frame that its kernels were meant for (``adaptation.delay``), which is
                the same frame on every machine, and names the frame in which it began. What was answered before stands.
            ValueError, TypeError: the frame is no image (see :meth:`init`).
        """
        target, patches = self.started, Patches(as_rgb(frame))
        features, response = answer or self.respond(self.contexts(patches))  # z around s[t-1]; ŷ of equation (1), then of (4)
        target.frame += 1  # t
        found, score, said = self._believed(features, self.searcher.find(target, response))  # the maximum under the window h
        self.remember_distractors(found, score)
        state, said = self._redetected(patches, score, said) or (self._moved(found, patches, score), said)
        self.remember(features, found, score)  # z[t] into the memory z_T
        lost = self._settled(state, found, score, said)  # s[t]
        self.update_kernels()  # every T frames: M samples of minimum entropy (5), δ (2), w_target (3)
        if not lost:
            self.searcher.follow(target, patches, max(score, said))
        return Result(from_center(target.center), said, lost)

    def contexts(self, patches: Patches) -> UInt8:
        """The contexts z to search, around the last state: ``(n, s, s, 3)``."""
        return self.searcher.contexts(self.started, patches)

    def respond(self, contexts: UInt8) -> Answer:
        """Features of the contexts, and the response to them: equation (1), or (4) once there are kernels ``w_target``."""
        features = self.model.search(contexts)
        return Answer(features, self.searcher.respond(self.started, features))

    @property
    def started(self) -> TargetState[Any]:
        """The state, once there is one."""
        if self.state is None:
            raise RuntimeError("update() before init(): give the target's box in its first frame first")
        return self.state

    def _believed(self, features: Float32, found: Candidate) -> tuple[Candidate, float, float]:
        """What is believed of an answer: of a rival that motion does not explain, once it has been confirmed.

        Returns:
            The answer, its score by the networks alone, and the score with what the second opinion has against it.
        """
        settings, target = self.settings, self.started
        score, said, alike = self._judged(features, found)
        if found.rival is not None and score < settings.distractors.min_score:
            rival = self._judged(features, found.rival)
            cell = self.searcher.cell(target)
            place = (mid + step * cell for mid, step in zip(target.center[:2], found.rival.displacement, strict=True))
            if rival[1] >= settings.redetection.min_score and self._confirmed(*place):
                found, (score, said, alike) = found.rival, rival
        target.alike.note(alike, score >= settings.template_update.min_score)
        return found, score, said

    def _judged(self, features: Float32, found: Candidate) -> tuple[float, float, float | None]:
        """Score of an answer, the score less what the second opinion has against it, and its likeness to the first frame."""
        alike, curve = self.searcher.alike(self.started, features, found), self.model.card["calibration"]
        return score_of(found.peak, curve), score_of(found.peak, curve, against(alike, self.settings.opinion)), alike

    def _confirmed(self, x: float, y: float) -> bool:
        """Whether the target is at a place, in image pixels: at once, where motion or a loss explains it, or later."""
        target, settings = self.started, self.settings.motion
        reach = settings.explained * math.sqrt(target.center.w * target.center.h)
        lost = target.sighting.low_frames >= self.settings.judging.lost_after
        if lost or math.dist((x, y), target.center[:2]) <= (reach or math.inf):
            return True
        if target.motion.claimed(x, y, reach, target.frame) < settings.confirmed:
            return False
        target.motion = Course()
        return True

    def _settled(self, state: Center, found: Candidate, score: float, said: float) -> bool:
        """Takes the new state, the velocity that led there, and how the target is seen: whether it is lost."""
        target, settings = self.started, self.settings
        step = (state.cx - target.center.cx, state.cy - target.center.cy)
        size = math.sqrt(target.center.w * target.center.h)
        sure = said >= settings.template_update.min_score and math.hypot(*step) <= (settings.motion.explained or math.inf) * size
        target.motion.note(step, sure, settings.motion.memory)
        target.center = state
        unseen, claimed = self._sought(max(score, said), said), target.motion.claims(target.frame)
        return target.sighting.note(said, found.displacement, unseen, settings.judging, claimed)

    def _sought(self, score: float, said: float) -> bool:
        """Whether the target is to be looked for elsewhere: it is not seen, or was lost and is not recognised."""
        unseen = score < self.settings.redetection.below
        return unseen or (self.started.sighting.lost and said < self.settings.judging.recognised_from)

    def remember_distractors(self, found: Candidate, score: float) -> None:
        """Notes where distractors are; once the target has long been unseen, most of them may be it, and are forgotten."""
        target, cell = self.started, self.searcher.cell(self.started)
        now = [Distractor(target.center.cx + x * cell, target.center.cy + y * cell, target.frame) for x, y in found.distractors]
        reach = REACH * math.sqrt(target.center.w * target.center.h)
        certain = score >= self.settings.distractors.min_score
        known = remembered(target.distractors, now, reach, target.frame, certain)
        long = target.sighting.unseen_frames > TRUSTED
        target.distractors = [each for each in known if not long or each.certain(target.frame)]

    def _moved(self, found: Candidate, patches: Patches, score: float) -> Center:
        """The new place, in the frame, and the damped, clamped new size."""
        # A size read off a response that does not see the target would only drift.
        rate = 0.0 if score < self.settings.redetection.below else found.rate
        return patches.inside(self.searcher.moved(self.started, found, patches, rate))

    def _redetected(self, patches: Patches, score: float, said: float) -> tuple[Center, float] | None:
        """Place and score of an unseen target that is found elsewhere."""
        settings, target = self.settings.redetection, self.started
        if self.settings.adaptation.forget and self._sought(score, score):
            target.adaptation.forget(self.model.no_kernels)
        if not (settings.enabled and self._sought(score, said)) or target.motion.claims(target.frame):
            return None
        found = redetect(target, patches, self.searcher, settings, self.settings.opinion)
        return found if found and self._confirmed(*found[0][:2]) else None

    def remember(self, features: Float32, found: Candidate, score: float) -> None:
        """Offers the frame to the memory if the target is seen, alone of its look, in a whole context, as in training."""
        settings, target = self.settings, self.started
        unsure = target.disturbed and not settings.adaptation.with_distractors
        absent = settings.redetection.enabled and score < settings.redetection.below
        whole = features.shape[-1] == self.model.search_cells
        if self.adapt and whole and not (absent or unsure) and score >= settings.adaptation.min_score:
            target.adaptation.memory.add(features[found.context], found.displacement, found.response, target.frame)

    def update_kernels(self) -> None:
        """Every T frames, asks for new kernels; takes them some frames later."""
        if not self.adapt:
            return
        target, settings = self.started, self.settings.adaptation
        own, since = target.adaptation, (target.frame + settings.count_from) % settings.interval
        if since == 0 and own.memory.samples:
            own.ask(self.model, self.searcher.template(target), self.searcher.scorer(target), target.frame, settings)
        if own.pending is not None and since >= min(settings.delay, settings.interval - 1):
            own.take(own.pending)


def _settings_of(model: Model) -> TrackerSettings:
    """The settings that a model's card carries."""
    try:
        return TrackerSettings(**model.card["tracking"])
    except (ValueError, TypeError) as error:
        raise BundleError(f"model {model.name!r}: the card's tracking: {error}") from error


def searcher(model: Model, settings: TrackerSettings, adapt: bool) -> Searcher:
    """How this model searches: the one place that chooses between the two ways."""
    if not model.has_boxes:
        return ScaleSearch(model, settings.scale_search, settings.search, settings.adaptation.role)
    # The memory takes whole contexts alone: among the frames that kernels are made of there must be enough of them.
    frames = max(settings.adaptation.interval, settings.adaptation.span)
    enough = frames >= model.support * settings.box_search.small_interval
    return BoxSearch(model, settings, small_contexts=enough or not adapt)
