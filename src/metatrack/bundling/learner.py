"""Another meta-learner for a bundle whose matching network stays as it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from metatrack.bundling.export import adapt_spec, export_graph
from metatrack.bundling.replacing import replacing_bundle
from metatrack.model.learners import Learner, facts_of
from metatrack.model.meta import SUPPORT, TARGET_KERNELS
from metatrack.runtime.bundle import CARD, GRAPHS, Bundle, file_facts
from metatrack.runtime.torch_weights import read_networks


def replace_learner(bundle: Bundle, learner: Learner, facts: dict[str, Any], out: Path) -> Path:
    """A bundle with another meta-learner; every other file keeps its bytes.

    Args:
        bundle: holds the matching network that the meta-learner was trained with.
        learner: the new g_θ.
        facts: what the card says of it: its ``training``, its ``adaptation`` (a :func:`metatrack.training.probe.probe`), and
            settings of ``tracking`` that go with it.
        out: folder of the new bundle, which may be the old one's.

    Raises:
        ValueError: ``out`` holds something else than a bundle.
        BlockingIOError: another process is exporting there.
    """
    card = json.loads((bundle.folder / CARD).read_text(encoding="utf-8"))
    form = card["architecture"]
    with replacing_bundle(out) as made:
        for name in card["files"]:
            shutil.copy(bundle.folder / name, made)
        graph = made / GRAPHS["adapt"]
        readout = read_networks(bundle).readout
        export_graph(adapt_spec(readout, learner, form["template_cells"], form["response_cells"]), graph)
        form.update(target_kernels=TARGET_KERNELS, support=SUPPORT, **facts_of(learner))
        card["training"] = {**card["training"], "meta": facts["training"]}
        card["adaptation"] = facts["adaptation"]
        card["tracking"] = {**card["tracking"], **facts.get("tracking", {})}
        card["files"][graph.name] = file_facts(graph)
        (made / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return out
