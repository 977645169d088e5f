"""Published result files give their published scores."""

import numpy as np
import pytest

from metatrack.data.otb import otb_targets, zero_based
from metatrack.data.rows import parse_rows
from metatrack.evaluation.score import metrics
from tests.conftest import SHARED
from tests.evaluation.helpers import published_results

OTB = SHARED / "data" / "otb"

# Success AUC on TB-100 of ../shared/data/README.md. STAPLE has none there: 0.5987 is what this evaluator first said of it.
EXPECTED = {
    "CSK__zhangzheng": 0.3824,
    "DSST__zhangzheng": 0.4705,
    "KCF_GaussHog__zhangzheng": 0.4771,
    "MEEM__zhangzheng": 0.5387,
    "SRDCF__zhangzheng": 0.5976,
    "STAPLE__danho47": 0.5987,
    "STRUCK__jwlim": 0.4611,
    "SiamFC-3s__cfnet17": 0.5821,
    "SiamRPN++__soarkey": 0.6953,
    "TLD__zhangzheng": 0.4056,
}


@pytest.fixture(scope="module")
def truth():
    """Ground truth of TB-100, 0-based, on the frames that count."""
    if not (OTB / "results").is_dir():
        pytest.skip(f"no published OTB results at {OTB}")
    files = {t: OTB / "meta" / "groundtruth" / f"{t.name}.txt" for t in otb_targets()}
    return {t.name: zero_based(parse_rows(file.read_text(), file))[t.skip :] for t, file in files.items()}


@pytest.mark.parametrize("name", EXPECTED)
def test_published_results_give_their_published_scores(name, truth):
    found = published_results(OTB / "results" / f"{name}.zip")
    assert found.keys() == truth.keys()
    scores = [metrics.auc(metrics.success_curve(metrics.overlaps(found[n].boxes, truth[n]))) for n in truth]
    assert np.mean(scores) == pytest.approx(EXPECTED[name], abs=0.0005)


@pytest.mark.parametrize(
    ("name", "subset", "published"),
    [("KCF_GaussHog__zhangzheng", "OTB50", 0.403), ("KCF_GaussHog__zhangzheng", "OTB2013", 0.514)]
    + [("SiamFC-3s__cfnet17", "OTB50", 0.516), ("SiamFC-3s__cfnet17", "OTB2013", 0.608), ("SRDCF__zhangzheng", "OTB50", 0.539)],
)
def test_the_lists_give_their_published_scores(name, subset, published, truth):
    """Success AUC as the papers print it, to three decimals (notes/paper-notes.md)."""
    found = published_results(OTB / "results" / f"{name}.zip")
    names = [target.name for target in otb_targets(subset)]
    scores = [metrics.auc(metrics.success_curve(metrics.overlaps(found[n].boxes, truth[n]))) for n in names]
    assert np.mean(scores) == pytest.approx(published, abs=0.001)


@pytest.mark.parametrize(("name", "published"), [("SiamFC-3s__cfnet17", 0.771), ("DSST__zhangzheng", 0.693)])
def test_published_precision(name, published, truth):
    """P@20 on TB-100 as the papers print it (notes/paper-notes.md)."""
    found = published_results(OTB / "results" / f"{name}.zip")
    scores = [metrics.precision_at(metrics.center_errors(found[n].boxes, truth[n])) for n in truth]
    assert np.mean(scores) == pytest.approx(published, abs=0.001)
