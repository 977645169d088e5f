"""What the meta-learner adds to one target: every T frames, kernels from the samples in its memory (Algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from metatrack.arrays import Float32
from metatrack.tracking.acceptance import Role, Scorer, accepted
from metatrack.tracking.checked import Amount, Checked, Count, CountOrNone, Share
from metatrack.tracking.memory import Criterion, Memory, Sample, labels

if TYPE_CHECKING:  # settings are read where no network is run
    from concurrent.futures import Future

    from metatrack.runtime.model import Model


@dataclass(frozen=True)
class AdaptationSettings(Checked):
    """When and from what the meta-learner makes kernels, and when they are taken."""

    interval: Count = 90
    """T of Algorithm 1: frames between updates of w_target (section 4.1)."""
    count_from: Literal[0, 1] = 0
    """Number of the target's first frame. 1 is the paper's, whose first update is in frame t = T of the sequence; 0 counts the
    frames that were tracked."""
    span: Count = 30
    """Frames that kernels are made of: the last T, or so many where T is less, as few contexts are whole. 1 is the paper's: the
    frames since the last update."""
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
    role: Role = "all"
    """What kernels decide. 'all': place and score, as in the paper. 'place': which place is the target's; its score there, what
    hangs on that, and what else looks like the target are equation (1)'s, for which they were calibrated."""
    accept: bool = True
    """New kernels are taken only if the target stands out with them no less than without, on the first frame and on frames that
    they were not made from; else the last ones are, if that holds of them, or none. The paper takes all: False."""
    forget: bool = True
    """A target that is not seen, or lost, is looked for without kernels, and new ones are made once it is seen again: kernels
    tell it from what was around it, and elsewhere raise the score of what is not the target. The paper keeps them: False."""

    with_distractors: bool = False
    """Contexts in which something else looks like the target are learnt from, too. What a tracker takes for its target beside its
    double may be the double, and kernels made of that stay with it. The paper, which knows of no distractors, takes all: True."""

    def held_back(self, support: int) -> int:
        """Samples that kernels are judged by and not made from: half as many as they are made from, where they are judged."""
        return (support + 1) // 2 if self.accept else 0


@dataclass
class Adaptation:
    """A target's kernels, and what the next ones will be made of."""

    w_target: Float32  # (32, C), or (0, C) while there are none
    memory: Memory
    first: Sample | None = None  # the first frame, where the settings ask for it
    pending: Future[Float32] | Float32 | None = None  # the next w_target, while the meta-learner works in the background
    begun: int = 0  # number of the frame at which it was asked

    def ask(self, model: Model, template: Float32, scorer: Scorer, frame: int, settings: AdaptationSettings) -> None:
        """Asks the meta-learner for new kernels, made of what is in the memory; the target goes on meanwhile.

        Args:
            template: ``(1, C, k, k)``.
            scorer: of that template, to judge the kernels by.
            frame: number of the frame, 0 being the target's first.
        """
        given = [] if self.first is None else [self.first]
        first = given if settings.keep_first else []
        chosen = self.memory.choose(model.support - len(first))
        support = np.stack([sample.features for sample in first + chosen])
        y = labels(np.array([sample.displacement for sample in first + chosen]), model.response_cells, settings.radius)
        judged = given + self.memory.unchosen(len(chosen)) if settings.accept and given else []
        last = self.w_target

        def work() -> Float32:
            kernels = model.adapt(template, support, y)
            return accepted((kernels, last), model.no_kernels, scorer, judged) if judged else kernels

        self.pending, self.begun = model.background.submit(work), frame
        self.memory.keep_from(frame + 1 - max(0, settings.span - settings.interval))

    def take(self, pending: Future[Float32] | Float32) -> None:
        """Takes the kernels that were asked for, as soon as they are made.

        Raises:
            RuntimeError: the meta-learner failed; the message says at which frame it began, and its cause is the error itself.
        """
        self.pending = None
        self.w_target = self._result(pending)

    def forget(self, none: Float32) -> None:
        """Goes back to no kernels ``(0, C)``, and drops what the next ones would be made of."""
        self.w_target, self.pending = none, None
        self.memory.clear()

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which cannot hold what is still being computed: waits for it."""
        return {**self.__dict__, "pending": None if self.pending is None else self._result(self.pending)}

    def _result(self, pending: Future[Float32] | Float32) -> Float32:
        if isinstance(pending, np.ndarray):
            return pending
        try:
            return pending.result()
        except Exception as error:
            raise RuntimeError(f"adapting at frame {self.begun} failed: {type(error).__name__}: {error}") from error
