"""The networks as graphs: modules that take and give what :data:`metatrack.runtime.model.SIGNATURES` names, in its order.

They are what is exported to ONNX, and what the torch engine runs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metatrack.model.box import BoxHead, locate
from metatrack.model.features import Trunk
from metatrack.model.learners import Learner, target_kernels
from metatrack.model.matching import Readout
from metatrack.model.meta import Support, adapted_response


class EmbedGraph(nn.Module):
    """uint8 ``(n, s, s, 3)`` -> penultimate features ``(n, C, h, w)``; ``dtype`` is the trunk's."""

    def __init__(self, trunk: Trunk, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.trunk, self.dtype = trunk, dtype

    def forward(self, crops: Tensor) -> Tensor:
        return self.trunk.embed(crops.permute(0, 3, 1, 2).to(self.dtype))


class MatchGraph(nn.Module):
    """Equations (1) and (4): features of templates and contexts, and w_target (of no rows before the first update) -> logits."""

    weight: Tensor
    bias: Tensor
    gain: Tensor
    offset: Tensor

    def __init__(self, readout: Readout) -> None:
        super().__init__()
        for name, value in readout._asdict().items():
            self.register_buffer(name, value.detach().clone())

    @property
    def readout(self) -> Readout:
        return Readout(self.weight, self.bias, self.gain, self.offset)

    def forward(self, template: Tensor, search: Tensor, w_target: Tensor) -> Tensor:
        return adapted_response(template, search, self.readout, w_target)


class LocateGraph(MatchGraph):
    """Equation (4) and the box head for n targets: features, w_target of each, sizes -> response, score, sides."""

    def __init__(self, readout: Readout, head: BoxHead) -> None:
        super().__init__(readout)
        self.head = head

    def forward(  # type: ignore[override]
        self, template: Tensor, target: Tensor, search: Tensor, w_target: Tensor, size: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return locate(self.head, template, target, search, self.readout, w_target, size)


class AdaptGraph(MatchGraph):
    """Equations (2) and (3): template, M contexts and their labels -> w_target."""

    def __init__(self, readout: Readout, learner: Learner) -> None:
        super().__init__(readout)
        self.learner = learner

    def forward(self, template: Tensor, support: Tensor, labels: Tensor) -> Tensor:
        return target_kernels(self.learner, template, Support(support[None], labels[None]), self.readout)[0]
