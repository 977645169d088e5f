"""Section 4 of the paper as one command: on two sequences of OTB's names whose frames and results are made here."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from metatrack.app import reproduce
from metatrack.app.problem import Problem
from metatrack.app.reproduce import ReproduceOptions, chosen, run
from metatrack.data.otb import otb_targets
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.store import Store, Unit
from metatrack.report import section4
from metatrack.report.findings import Findings
from metatrack.report.section4 import ATTRIBUTES, RIVALS, entrants, published_names, scene_sequences
from metatrack.report.style import COLORS
from tests.report.helpers import check_self_contained, rows_of

pytest.importorskip("matplotlib")

FRAMES = {target.name: len(target.frames) for target in otb_targets() if target.name in ("Deer", "Football1")}


def truth(name: str) -> np.ndarray:
    return np.array([(10 + k / 4, 8, 12, 14) for k in range(FRAMES[name])], float)


@pytest.fixture(scope="module")
def otb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of OTB that holds two of its sequences: noise through which a bright block moves."""
    root = tmp_path_factory.mktemp("OTB")
    background = np.random.default_rng(0).integers(0, 120, (48, 64, 3), dtype=np.uint8)
    for name, frames in FRAMES.items():
        (root / name / "img").mkdir(parents=True)
        np.savetxt(root / name / "groundtruth_rect.txt", truth(name) + [1, 1, 0, 0], fmt="%.2f", delimiter=",")
        for k in range(frames):
            frame = background.copy()
            x = 10 + k // 4
            frame[8:22, x : x + 12] = 250 - background[8:22, 10:22]
            cv2.imwrite(str(root / name / "img" / f"{k + 1:04d}.jpg"), frame)
    return root


def results(out: Path, trackers: list[str], shift: float = 2.0) -> None:
    """Boxes as if these trackers had run, each further off the truth than the one before, at 20 frames a second."""
    store = Store(out / "evaluation", "otb", "ope")
    for i, tracker in enumerate(trackers):
        store.pin_tracker(tracker, {})
        for name, frames in FRAMES.items():
            store.write(Unit(tracker, name, 1, 0, frames), truth(name) + [shift * i, 0, 0, 0], np.full(frames, 0.05))


def publish(folder: Path, tracker: str, shift: float) -> None:
    with zipfile.ZipFile(folder / f"{tracker}.zip", "w") as archive:
        for name in FRAMES:
            rows = truth(name) + [1 + shift, 1, 0, 0]
            archive.writestr(f"{name}.txt", "".join(",".join(map(str, row)) + "\n" for row in rows))


def test_from_the_data_to_the_page_and_again(otb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ReproduceOptions(otb, tmp_path / "out", trackers="csk", only="Deer", frames=2)
    assert run(options) == 0
    boxes = tmp_path / "out" / "evaluation" / "boxes" / "csk" / "Deer.txt"
    made, page = boxes.stat().st_mtime_ns, (tmp_path / "out" / "index.html").read_bytes()
    assert float(rows_of(tmp_path / "out" / "tables" / "overall.csv")[0]["auc"]) > 0.5
    assert run(options) == 0
    assert boxes.stat().st_mtime_ns == made and (tmp_path / "out" / "index.html").read_bytes() == page
    text = check_self_contained(page.decode()).text
    assert "99 of OTB-100's 100 sequences are missing" in text and "Neither MLT nor MLT w/o meta has run." in text
    assert "index.html shows 1 trackers on 1 sequences" in capsys.readouterr().err


def test_every_figure_and_number(otb: Path, tmp_path: Path) -> None:
    everyone = entrants("paper")
    out, published = tmp_path / "out", tmp_path / "published"
    results(out, [each.tracker for each in everyone], shift=0.5)
    published.mkdir()
    for name, shift in (("KCF_GaussHog__someone", 0.0), ("C-COT", 30.0), ("SiamRPN++", 0.0)):
        publish(published, name, shift)
    assert run(ReproduceOptions(otb, out, published, frames=2, draw_only=True)) == 0
    page = check_self_contained((out / "index.html").read_text(encoding="utf-8"))
    there = {path.name for path in (out / "figures").iterdir()}
    attributes = {attribute for target in otb_targets() if target.name in FRAMES for attribute in target.attributes}
    for figure in ("figure-4-otb-50", "figure-4-otb-100", "figure-5", "figure-5-published"):
        if figure != "figure-4-otb-50" or any(target.name in FRAMES for target in otb_targets("OTB50")):
            assert {f"{figure}.svg", f"{figure}.png"} <= there
    assert {name[len("figure-6-") : -len(".svg")] for name in there if name.startswith("figure-6-") and ".svg" in name} == {
        *(attributes & set(ATTRIBUTES)),
        *(f"published-{attribute}" for attribute in attributes & set(ATTRIBUTES)),
    }
    assert {"figure-7-Deer.jpg", "figure-7-Football1.jpg"} <= there
    assert "(c) Deer: Background Clutters, in place of Human3, which is missing" in page.text
    # MLT is perfect, and each tracker's boxes lie half a pixel further off than those of the one before.
    assert "AUC of MLT less that of MLT w/o meta, OTB-100 above 0 +0." in page.text and "better on 2 of 2" in page.text
    assert "128 plain kernels" in page.text and "held-out targets the matching loss is 0." in page.text
    assert "MLT minus each of the others on the sequences of both" in page.text
    assert "place of MLT by AUC under low resolution 1 1 of 13" in page.text
    assert "frames a second, MLT 62.53 20.0" in page.text
    kcf = page.text[page.text.index("AUC OTB-50") :].partition("KCF ")[2].split()
    assert kcf[3] == "0.952" and kcf[4].startswith("-0.")  # the published boxes are the truth
    for each in RIVALS:
        assert each.title in page.text
    assert "SiamRPN" not in page.text


def test_a_tracker_that_cannot_run_is_left_out(otb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise FileNotFoundError("VGG-16 is missing")

    monkeypatch.setattr("metatrack.compared.hdt.vgg_path", missing)
    results(tmp_path, ["csk"])
    monkeypatch.setattr(reproduce, "_evaluate", lambda options, able: 0)
    assert run(ReproduceOptions(otb, tmp_path, trackers="HDT,CSK")) == 0
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "HDT (hdt-vgg16) is left out: VGG-16 is missing." in page
    with pytest.raises(Problem, match="none of the trackers can run: HDT"):
        run(ReproduceOptions(otb, tmp_path, trackers="HDT"))


def test_trackers_by_either_name() -> None:
    assert [each.paper for each in chosen("lite", "ccot-lite0, kcf,MLT")] == ["MLT", "KCF", "C-COT"]
    assert chosen("lite", "mlt")[0].tracker == "mlt" and len(chosen("paper", None)) == 13
    with pytest.raises(ValueError, match="no tracker 'meen'.*'?meem"):
        chosen("paper", "meen")


def test_published_boxes_find_their_tracker() -> None:
    assert published_names(["DSST__b", "DSST__a", "SiamFC-3s", "CCOT", "DeepSRDCF", "SRDCF"]) == {
        **{"SRDCF": "SRDCF", "SiamFC": "SiamFC-3s", "DSST": "DSST__b", "DeepSRDCF": "DeepSRDCF", "C-COT": "CCOT"}
    }


def test_another_sequence_takes_a_missing_ones_place() -> None:
    def findings(*sequences: tuple[str, str]) -> Findings:
        made = tuple(
            Sequence(name, (Path("1.jpg"),), np.zeros((1, 4)), frozenset(attributes.split())) for name, attributes in sequences
        )
        return Findings("otb", "ope", (), (), made, "")

    shown = scene_sequences(findings(("A", "OCC FM"), ("B", "OCC"), ("Car24", "SV FM OCC"), ("D", "BC")))
    assert {name: sequence and sequence.name for name, sequence in shown.items()} == {
        **{"Box": "A", "Rubik": None, "Human3": "D", "Girl2": None, "Car24": "Car24"}
    }


def test_colours_are_near_to_the_papers() -> None:
    here = Findings("otb", "ope", (), (), (), "")
    styles = section4.Comparison(entrants("paper"), here, None, "").styles
    assert [styles[name].color for name in section4.BOXED] == list(COLORS[:6])
    assert len(set(styles.values())) == 13
