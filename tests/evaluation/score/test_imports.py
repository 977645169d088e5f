"""Published results on their way into an evaluation: whose they are, what they are about, and what is refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from metatrack.app.import_results import ImportOptions, run
from metatrack.app.problem import Problem
from metatrack.app.report import ReportOptions
from metatrack.app.report import run as run_report
from metatrack.cli import main
from metatrack.data.datasets import read_dataset
from metatrack.data.otb import otb_targets, read_otb
from metatrack.data.plain import read_plain
from metatrack.evaluation.run.store import Store, Unit
from metatrack.evaluation.score.formats import write_got10k, write_json, write_lasot, write_mat, write_txt
from metatrack.evaluation.score.imports import check_name, find_sources, load_results
from metatrack.evaluation.score.records import Trajectory
from metatrack.evaluation.score.summary import tracker_order
from tests.evaluation.helpers import FAKES, command, finish, start
from tests.fake_trackers import make_two_sequences

# AUC and P@20 over the 15 targets whose frames are at hand (../shared/data/otb/sequences).
PUBLISHED = {
    "CSK": (0.263, 0.424),
    "DSST": (0.289, 0.465),
    "KCF_GaussHog": (0.329, 0.507),
    "MEEM": (0.494, 0.837),
    "SRDCF": (0.525, 0.719),
    "STAPLE": (0.487, 0.648),
    "STRUCK": (0.365, 0.551),
    "SiamFC-3s": (0.550, 0.741),
    "SiamRPN++": (0.724, 0.982),
    "TLD": (0.390, 0.559),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sequences in the plain layout."""
    return make_two_sequences(tmp_path / "data")


@pytest.fixture
def otb(tmp_path: Path) -> Path:
    """Tiger1, whose first five of 354 frames the benchmark skips, and Diving, whose video outlasts its boxes; no picture."""
    targets = {target.name: target for target in otb_targets()}
    for name in ("Tiger1", "Diving"):
        target = targets[name]
        folder = tmp_path / "otb" / name
        (folder / "img").mkdir(parents=True)
        for number in range(1, target.video_end + 1):
            (folder / "img" / f"{number:04d}.jpg").touch()
        np.savetxt(folder / "groundtruth_rect.txt", truth(target.rows), "%d", ",")
    return tmp_path / "otb"


def truth(rows: int) -> np.ndarray:
    return np.array([(10 + k, 20, 30, 40) for k in range(rows)])


def boxes(frames: int) -> np.ndarray:
    return np.array([(2.0 * k, 5, 10, 10) for k in range(frames)])


def bring(root: Path, out: Path, *results: Path, data_set: str = "plain", **options: object) -> Store:
    assert run(ImportOptions(data_set, root, tuple(results), out, **options)) == 0  # type: ignore[arg-type]
    return Store.open(out)


def scores(store: Store) -> dict[str, tuple[float, int]]:
    content = json.loads((store.root / "summary.json").read_text())["trackers"]
    return {name: (facts["scores"]["auc"]["mean"], len(facts["sequences"])) for name, facts in content.items()}


# -- layouts


def test_a_folder_of_text_is_one_tracker(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_txt(tmp_path / "Mine" / "a.txt", boxes(5), " ")
    write_txt(tmp_path / "Mine" / "b_1.txt", boxes(6), "\t")
    store = bring(root, tmp_path / "out", tmp_path / "Mine")
    assert scores(store) == {"Mine": (pytest.approx(20 / 21), 2)}
    unit = Unit("Mine", "a", 1, 0, 5)
    np.testing.assert_array_equal(store.read_boxes(unit), boxes(5))  # plain counts from 0
    assert store.read_seconds(unit).size == 0
    out, err = capsys.readouterr()
    assert "Mine: 2 of 2 sequences\n" in err and out.splitlines()[1].split()[:2] == ["Mine", "0.952"]


def test_single_files_need_a_name(root: Path, tmp_path: Path) -> None:
    files = [tmp_path / "a_KCF.txt", tmp_path / "B.1.csv"]
    for file, frames in zip(files, (5, 6)):
        write_txt(file, boxes(frames))
    with pytest.raises(Problem, match="Name the tracker: --tracker NAME"):
        bring(root, tmp_path / "out", *files)
    assert scores(bring(root, tmp_path / "out", *files, tracker="KCF"))["KCF"] == (pytest.approx(20 / 21), 2)


def test_several_trackers_in_one_go(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every = tmp_path / "all"
    write_txt(every / "One" / "a.txt", boxes(5))
    write_lasot(every, "Two", "a", boxes(5))
    write_got10k(every, "Three", "a", boxes(5), np.full(5, 0.02))
    with zipfile.ZipFile(every / "Four__somebody.zip", "w") as archive:
        archive.writestr("deep/inside/a_Four.json", json.dumps([{"res": boxes(5).tolist(), "fps": 25}]))
    (every / "Six" / "empty").mkdir(parents=True)
    (every / "readme.txt").write_text("about these results")
    write_txt(every / "Seven" / "elsewhere.txt", boxes(3))
    store = bring(root, tmp_path / "out", every)
    assert list(scores(store)) == ["Four", "One", "Three", "Two"]
    assert tracker_order(store) == ["Four", "One", "Three", "Two"]
    err = capsys.readouterr().err
    assert "Four: 1 of 2 sequences; missing: b_1\n" in err
    assert "nothing about these sequences: Seven (1 files)" in err
    for tracker, second in (("Three", 0.02), ("Four", 0.04)):
        assert store.read_seconds(Unit(tracker, "a", 1, 0, 5)).tolist() == [second] * 5
    # one of them
    assert list(scores(bring(root, tmp_path / "two", every, tracker="Two"))) == ["Two"]
    assert list(scores(bring(root, tmp_path / "three", every, tracker="Four__somebody"))) == ["Four__somebody"]
    with pytest.raises(Problem, match="no results of 'Eight'; there are Four, One, Seven, Three, Two"):
        bring(root, tmp_path / "four", every, tracker="Eight")


def test_names_are_cut_only_where_they_still_differ(root: Path, tmp_path: Path) -> None:
    for name in ("KCF__ann", "KCF__bob", "DSST__ann"):
        write_txt(tmp_path / "all" / name / "a.txt", boxes(5))
    assert list(scores(bring(root, tmp_path / "out", tmp_path / "all"))) == ["DSST", "KCF__ann", "KCF__bob"]
    for name in ("Siam FC", "-x", "a/b", ""):
        with pytest.raises(ValueError, match="cannot be the name of a tracker"):
            check_name(name)


def test_of_several_runs_the_first_counts_and_times_belong_to_it(root: Path, tmp_path: Path) -> None:
    for number in (2, 1, 3):
        write_txt(tmp_path / "T" / "b_1" / f"b_1_{number:03d}.txt", boxes(6) + number)
    write_txt(tmp_path / "T" / "b_1" / "b_1_time.txt", np.full((6, 3), [0.1, 0.2, 0.3]))
    store = bring(root, tmp_path / "out", tmp_path / "T")
    unit = Unit("T", "b_1", 1, 0, 6)
    np.testing.assert_array_equal(store.read_boxes(unit), boxes(6) + 1)
    assert store.read_seconds(unit).tolist() == [0.1] * 6


@pytest.mark.parametrize("rows", ["counted", "all"])
@pytest.mark.parametrize("kind", ["mat", "json", "txt"])
def test_otb_s_exceptions_and_its_first_pixel(otb: Path, tmp_path: Path, rows: str, kind: str) -> None:
    """Whether or not the files have rows for frames that the benchmark skips, and whatever the format: all found, all perfect."""
    folder = tmp_path / "Best"
    folder.mkdir()
    for sequence in read_otb(otb):
        target = next(target for target in otb_targets() if target.name == sequence.name)
        stated = sequence.boxes + [1, 1, 0, 0]
        if rows == "all":
            stated = np.concatenate([np.ones((target.skip, 4)), stated, np.ones((target.video_end - target.end, 4))])
        if kind == "mat":
            pytest.importorskip("scipy")
            write_mat(folder / f"{sequence.name.lower()}_Best.mat", [Trajectory(stated, 1, 50.0)])
        elif kind == "json":
            write_json(folder / f"{sequence.name}.json", [Trajectory(stated, 1, 50.0)], "Best", sequence.name, "ope")
        else:
            write_txt(folder / f"{sequence.name}.txt", stated, "\t")
    if kind == "mat" and rows == "all":  # TRE: the first run is that of OPE
        write_mat(folder / "Tiger1_Best.mat", [Trajectory(truth(354)), Trajectory(truth(3))])
        (folder / "tiger1_Best.mat").unlink()
    store = bring(otb, tmp_path / "out", folder, data_set="otb")
    assert scores(store) == {"Best": (pytest.approx(20 / 21), 2)}
    for sequence in read_otb(otb):
        np.testing.assert_array_equal(store.read_boxes(Unit("Best", sequence.name, 1, 0, len(sequence))), sequence.boxes)
    # the same files, said to count from 0, are others
    with pytest.raises(Problem, match="Best: the folder holds results of this name already, from other files"):
        bring(otb, tmp_path / "out", folder, data_set="otb", first_pixel=0)


def test_a_file_about_another_target_is_not_mistaken(tmp_path: Path) -> None:
    """Girl2's frames are not at hand; its file must not pass for one about Girl."""
    targets = {target.name: target for target in otb_targets()}
    folder = tmp_path / "otb" / "Girl"
    (folder / "img").mkdir(parents=True)
    for number in targets["Girl"].frames:
        (folder / "img" / f"{number:04d}.jpg").touch()
    np.savetxt(folder / "groundtruth_rect.txt", truth(targets["Girl"].rows), "%d", ",")
    write_txt(tmp_path / "X" / "Girl2.txt", truth(9))
    write_txt(tmp_path / "X" / "Girl.txt", truth(500))
    (source,) = find_sources([tmp_path / "X"], read_otb(tmp_path / "otb"))
    found = load_results(source, read_otb(tmp_path / "otb"), "otb")
    assert list(found.results) == ["Girl"] and found.others == 1


def test_nor_is_one_about_a_sequence_that_continues_its_name(tmp_path: Path) -> None:
    """NfS' car_side is not at hand, and its file not one about car by a tracker called side."""
    folder = tmp_path / "nfs" / "car" / "30"
    (folder / "car").mkdir(parents=True)
    for number in range(1, 6):
        (folder / "car" / f"{number:05d}.jpg").touch()
    (folder / "car.txt").write_text("0 10 20 40 60\n" * 5)
    sequences = read_dataset("nfs", tmp_path / "nfs")
    for files in (["car", "car_side"], ["car_side"], ["car_KCF", "car_side_KCF"]):
        results = tmp_path / "-".join(files)
        for name in files:
            write_txt(results / f"{name}.txt", boxes(5))
        (source,) = find_sources([results], sequences)
        found = load_results(source, sequences, "nfs")
        assert list(found.results) == ["car"] * (len(files) - 1) and found.others == 1, files


def test_a_file_that_stops_early_is_said(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_txt(tmp_path / "T" / "a.txt", boxes(3))
    store = bring(root, tmp_path / "out", tmp_path / "T")
    assert "stop early: a (3 of 5 frames)" in capsys.readouterr().err
    assert np.isnan(store.read_boxes(Unit("T", "a", 1, 0, 5))[3:]).all()


# -- what is refused


def test_wrong_results(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["import-results", "--dataset", "plain", "--root", str(root), "--out", str(out), "--results"]
    write_txt(tmp_path / "long" / "a.txt", boxes(9))
    write_txt(tmp_path / "other" / "elsewhere.txt", boxes(9))
    write_txt(tmp_path / "twice" / "a.txt", boxes(5))
    write_txt(tmp_path / "twice" / "again" / "A.csv", boxes(5))
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "a.txt").write_text("one two three four\n")
    (tmp_path / "nothing").mkdir()
    write_txt(tmp_path / "Siam FC" / "a.txt", boxes(5))
    for place, message in (
        ("long", "long: a.txt holds 9 boxes, but a has 5 frames"),
        ("other", "other (1 files): no file is named after any of the 2 sequences (a, b_1, ...)"),
        ("twice", "twice: two files are about a, a.txt and again/A.csv"),
        ("words", "a.txt, line 1: 'one two three four' is not a row of numbers"),
        ("nothing", "no file is named after any"),
        ("nowhere", "nowhere does not exist"),
        ("Siam FC", "'Siam FC' cannot be the name of a tracker"),
    ):
        assert main([*words, str(tmp_path / place)]) == 2
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1, err
        assert not out.exists()  # nothing is begun with wrong input
    assert main([*words, str(tmp_path / "long"), "--first-pixel", "2"]) == 2


def test_results_are_not_mixed(root: Path, tmp_path: Path) -> None:
    write_txt(tmp_path / "T" / "a.txt", boxes(5))
    out = tmp_path / "out"
    store = bring(root, out, tmp_path / "T")
    bring(root, out, tmp_path / "T")  # the same once more does no harm
    before = store.file("boxes", Unit("T", "a", 1, 0, 5)).read_bytes()
    write_txt(tmp_path / "T" / "a.txt", boxes(5) + 1)
    with pytest.raises(Problem, match="name them anew: --tracker NAME"):
        bring(root, out, tmp_path / "T")
    assert store.file("boxes", Unit("T", "a", 1, 0, 5)).read_bytes() == before
    bring(root, out, tmp_path / "T", tracker="T2")
    assert list(scores(store)) == ["T", "T2"]
    with pytest.raises(Problem, match="another evaluation .protocol: 'tre', now 'ope'"):
        bring(root, Store(tmp_path / "tre", "plain", "tre").root, tmp_path / "T")


def test_more_of_the_data_set_may_follow(root: Path, tmp_path: Path) -> None:
    for name, frames in (("a", 5), ("b_1", 6)):
        write_txt(tmp_path / "T" / f"{name}.txt", boxes(frames))
    store = bring(root, tmp_path / "out", tmp_path / "T", only="a")
    assert scores(store)["T"][1] == 1
    assert scores(bring(root, tmp_path / "out", tmp_path / "T"))["T"][1] == 2


# -- beside one's own


def test_beside_an_evaluation(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, _, err = finish(start(command(root, out, f"{FAKES}:Still"), tmp_path / "log"))
    assert code == 0, err
    write_txt(tmp_path / "Aaa" / "a.txt", boxes(5))
    with pytest.raises(Problem, match="Still: the folder holds results of this name already, from an evaluation here"):
        bring(root, out, tmp_path / "Aaa", tracker="Still")
    store = bring(root, out, tmp_path / "Aaa")
    assert list(scores(store)) == ["Still", "Aaa"]  # one's own stays first
    pytest.importorskip("matplotlib")
    assert run_report(ReportOptions(out)) == 0
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    assert "Boxes from result files, not run here: Aaa." in page and "The lowest AUC of Still first." in page
    assert {sequence.name for sequence in read_plain(root)} == {"a", "b_1"}


# -- the published ones


@pytest.fixture(scope="module")
def published(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    pytest.importorskip("scipy")
    otb = shared / "data" / "otb"
    if not (otb / "results").is_dir() or not (otb / "sequences").is_dir():
        pytest.skip(f"no published results in {otb}")
    out = tmp_path_factory.mktemp("published")
    archives = [sorted((otb / "results").glob(f"{name}__*.zip"))[-1] for name in PUBLISHED]  # of some there are two
    return bring(otb / "sequences", out, *archives, data_set="otb")


def test_all_ten_published_trackers(published: Store) -> None:
    content = json.loads((published.root / "summary.json").read_text())
    assert content["sequences"] == 15 and list(content["trackers"]) == sorted(PUBLISHED, key=str.lower)
    for tracker, (auc, precision) in PUBLISHED.items():
        facts = content["trackers"][tracker]
        assert not facts["missing"] and len(facts["sequences"]) == 15
        assert facts["scores"]["auc"]["mean"] == pytest.approx(auc, abs=0.0006), tracker
        assert facts["scores"]["precision"]["mean"] == pytest.approx(precision, abs=0.0006), tracker
    speed = json.loads((published.root / "speed.json").read_text())
    assert speed["SRDCF"]["fps"] == pytest.approx(5.7, abs=0.1) and speed["SiamFC-3s"]["fps"] is None
