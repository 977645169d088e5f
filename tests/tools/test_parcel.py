"""A mix that travels: what is packed and unpacked again is the same trajectories, thinned where asked."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="training needs the train extra")

from tools.parcel import PackOptions, UnpackOptions, pack, unpack  # noqa: E402

from metatrack.training.mix import load_mix  # noqa: E402
from tests.conftest import Scene  # noqa: E402


@pytest.fixture
def mix(tmp_path):
    """Two clips in GOT-10k's layout, one with a frame without the target, and three stills."""
    rows = ["file,x,y,w,h"]
    for k in range(2):
        scene, folder = Scene(seed=k, length=6), tmp_path / "clips" / "train" / f"clip-{k}"
        folder.mkdir(parents=True)
        for i in range(6):
            Image.fromarray(scene.frame(i)).save(folder / f"{i + 1:08d}.jpg", quality=95)
        (folder / "groundtruth.txt").write_text("".join(",".join(f"{v:.3f}" for v in scene.box(i)) + "\n" for i in range(6)))
        (folder / "absence.label").write_text("0\n0\n1\n0\n0\n0\n" if k == 0 else "0\n" * 6)
    (tmp_path / "still").mkdir()
    for k in range(3):
        scene = Scene(seed=10 + k, length=1)
        Image.fromarray(scene.frame(0)).save(tmp_path / "still" / f"thing-{k}.jpg", quality=95)
        rows.append(f"thing-{k}.jpg," + ",".join(f"{v:.3f}" for v in scene.box(0)))
    (tmp_path / "still" / "boxes.csv").write_text("\n".join(rows) + "\n")
    clips = {"name": "clips", "root": "clips", "split": "train", "weight": 0.7, "reframed": 0.2}
    entries = [clips, {"name": "things", "root": "still", "stills": True, "weight": 0.3}]
    (tmp_path / "mix.json").write_text(json.dumps(entries))
    return tmp_path / "mix.json"


def there_and_back(mix, out, **settings):
    pack(PackOptions([mix], out / "parcels", quality=90, processes=1, **settings))
    unpack(UnpackOptions(out / "parcels", out / "data", processes=2))
    return load_mix(out / "data" / "mix.json")


def test_what_arrives_is_what_was_sent(mix, tmp_path, monkeypatch):
    monkeypatch.setattr("tools.parcel.MIB", 2**16)  # archives of 64 KiB, so that there are several
    found = there_and_back(mix, tmp_path / "out", size=1)
    assert len(list((tmp_path / "out" / "parcels").iterdir())) > 1
    for old, new in zip(load_mix(mix), found, strict=True):
        assert (new.name, new.weight, new.reframed) == (old.name, old.weight, old.reframed)
        for before, after in zip(old.sequences, new.sequences, strict=True):
            shown = np.flatnonzero(np.isfinite(before.boxes).all(1))
            assert after.name == before.name
            np.testing.assert_allclose(after.boxes, before.boxes[shown], atol=5e-4)
            for i, frame in enumerate(shown):
                difference = after.frame(i).astype(float) - before.frame(int(frame))
                assert np.sqrt(np.square(difference).mean()) < 12


def test_sources_are_thinned_where_asked(mix, tmp_path):
    clips, things = there_and_back(mix, tmp_path / "out", frames={"clips": 2})
    assert [len(sequence) for sequence in clips.sequences] == [2, 2]
    np.testing.assert_allclose(clips.sequences[1].boxes, load_mix(mix)[0].sequences[1].boxes[[0, 5]], atol=5e-4)
    assert len(things.sequences) == 3
    with pytest.raises(FileExistsError, match=r"holds part-0.zip; give another --out"):
        pack(PackOptions([mix], tmp_path / "out" / "parcels"))
    with pytest.raises(ValueError, match=r"mix-clips/train/clip-0/00000001.webp would be packed twice"):
        pack(PackOptions([mix, mix], tmp_path / "twice", processes=1))


def test_an_archive_writes_nothing_outside_its_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "part-0.zip", "w") as archive:
        archive.writestr("../escaped.txt", "")
    with pytest.raises(
        ValueError, match=r"part-0.zip: '../escaped.txt' leads out of .*data; only names below that folder are read"
    ):
        unpack(UnpackOptions(tmp_path, tmp_path / "inner" / "data", processes=1))
    assert not (tmp_path / "inner" / "escaped.txt").exists()
    with pytest.raises(FileNotFoundError, match=r"holds no part-\*.zip"):
        unpack(UnpackOptions(tmp_path / "inner", tmp_path / "data"))
