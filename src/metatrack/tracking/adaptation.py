"""What the meta-learner adds to one target: every T frames, kernels from the samples in its memory (Algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from metatrack.arrays import Float32
from metatrack.tracking.checked import Amount, Checked, Count, CountOrNone, Share
from metatrack.tracking.memory import Criterion, Memory, Sample, labels

if TYPE_CHECKING:  # settings are read where no network is run
    from concurrent.futures import Future

    from metatrack.runtime.model import Model, Ready


@dataclass(frozen=True)
class AdaptationSettings(Checked):
    """When and from what the meta-learner makes kernels."""

    interval: Count = 90
    """T of Algorithm 1: frames between updates of w_target (section 4.1)."""
    delay: CountOrNone = 2
    """Frames after which a new w_target is used (before the next update in any case); the meta-learner works in the background
    meanwhile. Results are the same on any machine, because that frame waits for a meta-learner that is late. 0 learns within the
    frame, as in the paper."""
    min_score: Share = 0.0
    """τ: a frame enters the memory only if its score is at least this; 0 admits every frame with a whole context."""
    radius: Amount = 2.0
    """Cells around the tracked place that are labelled +1 for the gradient, as in training."""
    choice: Criterion = "softmax"
    """Which frames kernels are made from. 'softmax': least entropy of the target's place; 'peak': the highest peak; 'sigmoid':
    equation (5) as printed, which prefers a context in which nothing is seen."""
    keep_first: bool = False
    """The first frame, the only one whose target is given, is always among the samples. The paper's is False."""


@dataclass
class Adaptation:
    """A target's kernels, and what the next ones will be made of."""

    w_target: Float32  # (32, C), or (0, C) before the first update
    memory: Memory
    first: Sample | None = None  # the first frame, if it is always among the samples
    pending: Future[Float32] | Ready | None = None  # the next w_target, while the meta-learner works in the background
    begun: int = 0  # number of the frame at which it was asked

    def update(self, model: Model, template: Float32, frame: int, settings: AdaptationSettings) -> None:
        """Every T frames, asks the meta-learner for new kernels, which are used some frames later.

        Args:
            model: has the meta-learner.
            template: ``(1, C, k, k)``.
            frame: number of the frame, counted from the target's first.
            settings: T and the delay.

        Raises:
            RuntimeError: the meta-learner failed; the message says at which frame it began, and its cause is the error itself.
        """
        since = frame % settings.interval
        if since == 0 and self.memory.samples:
            first = [] if self.first is None else [self.first]
            samples = first + self.memory.choose(model.support - len(first))
            support = np.stack([sample.features for sample in samples])
            places = np.array([sample.displacement for sample in samples])
            self.pending = model.adapt_in_background(template, support, labels(places, model.response_cells, settings.radius))
            self.begun = frame
            self.memory.clear()
        if self.pending is not None and since >= min(settings.delay, settings.interval - 1):
            pending, self.pending = self.pending, None
            self.w_target = self._result(pending)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which cannot hold what is still being computed: waits for it."""
        from metatrack.runtime.model import Ready

        return {**self.__dict__, "pending": None if self.pending is None else Ready(self._result(self.pending))}

    def _result(self, pending: Future[Float32] | Ready) -> Float32:
        try:
            return pending.result()
        except Exception as error:
            raise RuntimeError(f"adapting at frame {self.begun} failed: {type(error).__name__}: {error}") from error
