"""The synthetic composer, on material that the tests draw themselves."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from metatrack.data import material
from metatrack.data.got10k import read_got10k
from metatrack.data.synth import Composer, ComposerConfig, write_clips
from metatrack.data.synth.cutouts import read_object
from metatrack.data.synth.files import in_subset, picture_key
from metatrack.data.synth.stock import PHOTO_SIDE, find_photos, read_photo
from metatrack.geometry import context_side

PLAIN = ComposerConfig(blob=0, clutter=0, distractors=0, occluded=0, lighting=0, degrade=0)
"""The target alone, in its own colours, on a photograph."""


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(os.fspath(path), image)


def draw_object(rng: np.random.Generator, width: int, height: int, low: int, high: int, shape: str = "ellipse") -> np.ndarray:
    """A noisy shape with transparency, (height, width, 4); its clear pixels are pure green, which must never be seen."""
    color = rng.integers(low, high, (height, width, 3), np.uint8)
    alpha = np.zeros((height, width), np.uint8)
    if shape == "ellipse":
        cv2.ellipse(alpha, (width // 2, height // 2), (width // 2 - 4, height // 2 - 4), 0, 0, 360, 255, -1, cv2.LINE_AA)
    else:
        points = np.array([[5, 5], [width - 6, height // 3], [width // 3, height - 6]])
        cv2.fillPoly(alpha, [points], (255,), cv2.LINE_AA)
    color[alpha == 0] = (0, 255, 0)
    return np.dstack([color, alpha])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Objects of any colour, and photographs of noise."""
    root = tmp_path_factory.mktemp("material")
    rng = np.random.default_rng(0)
    for i, (w, h) in enumerate([(90, 90), (200, 80), (70, 150), (300, 200)]):
        write(root / "objects" / f"thing{i}.png", draw_object(rng, w, h, 0, 256, ["ellipse", "triangle"][i % 2]))
    for i in range(3):
        noise = rng.integers(0, 256, (40, 50, 3), np.uint8)
        write(root / "photos" / "deep" / f"photo{i}.png", cv2.resize(noise, (500, 400), interpolation=cv2.INTER_CUBIC))
    return root / "objects", root / "photos"


@pytest.fixture(scope="module")
def composer(folders: tuple[Path, Path]) -> Composer:
    return Composer(*folders)


@pytest.fixture(scope="module")
def bright_on_black(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Objects no darker than 150 without green, and a black photograph: the pixels tell what is target."""
    root = tmp_path_factory.mktemp("bright")
    rng = np.random.default_rng(1)
    for i, (w, h) in enumerate([(120, 120), (240, 90), (60, 130), (100, 250)]):
        image = draw_object(rng, w, h, 200, 256, ["ellipse", "triangle"][i % 2])
        image[..., 0] = np.where(image[..., 3] > 0, rng.integers(150, 256, image.shape[:2]), 0)
        write(root / "objects" / f"thing{i}.png", image)
    write(root / "photos" / "black.png", np.zeros((400, 400, 3), np.uint8))
    return root / "objects", root / "photos"


def test_a_clip_has_the_stated_form(composer: Composer) -> None:
    frames, boxes = composer.clip(np.random.default_rng(3), 5)[:2]
    assert len(frames) == 5 and boxes.shape == (5, 4) and boxes.dtype == np.float64
    assert all(frame.shape == (400, 400, 3) and frame.dtype == np.uint8 for frame in frames)
    assert not np.array_equal(frames[0], frames[1])
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= 400).all()


def test_the_same_generator_gives_the_same_clip(composer: Composer, folders: tuple[Path, Path]) -> None:
    """... of another composer, too, and whatever the first one has composed before."""
    fresh = Composer(*folders)
    composer.clip(np.random.default_rng(99), 2)
    for seed in range(6):
        one, two = (c.clip(np.random.default_rng(seed), 3) for c in (composer, fresh))
        assert np.array_equal(one[0], two[0]) and np.array_equal(one[1], two[1])
    other = composer.clip(np.random.default_rng(6), 3)
    assert not np.array_equal(one[0], other[0])


def test_target_is_central_and_its_context_side_is_close_to_127(composer: Composer) -> None:
    boxes = np.concatenate([composer.clip(np.random.default_rng(seed), 4)[1] for seed in range(25)])
    sides = np.array([context_side(w, h) for _, _, w, h in boxes])
    # 4 % of jitter, 1 % of what placement tolerates, and half a pixel of the box's grid
    assert (abs(sides / 127 - 1) < 0.055).all()
    assert sides.std() > 1.5, "the jitter of the scale is missing"
    off = boxes[:, :2] + boxes[:, 2:] / 2 - 200
    assert (abs(off) <= 8.5).all() and (off.std(0) > 3).all()


def test_every_pixel_of_an_isolated_target_lies_in_its_box_and_the_box_is_tight(bright_on_black: tuple[Path, Path]) -> None:
    composer = Composer(*bright_on_black, config=PLAIN)
    for seed in range(20):
        frames, boxes = composer.clip(np.random.default_rng(seed), 3)[:2]
        for frame, (x, y, w, h) in zip(frames, boxes, strict=True):
            red = frame[..., 0]  # 200-255 inside, 0 outside: more than half covered is above 128, less than half never is
            rows, columns = np.flatnonzero((red > 128).any(1)), np.flatnonzero((red > 128).any(0))
            seen = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
            edges = np.array([x, y, x + w, y + h])
            # a pixel that counts may stick out by half of itself, and a thin tip may fade by up to two pixels
            assert (seen[:2] >= edges[:2] - 0.5).all() and (seen[2:] <= edges[2:] + 0.5).all(), (seed, seen, edges)
            assert (abs(seen - edges) <= 2).all(), (seed, seen, edges)


def test_hidden_colors_of_clear_pixels_make_no_halo(bright_on_black: tuple[Path, Path], tmp_path: Path) -> None:
    """The drawn objects are pure green where they are clear; an object without green on black must show none at all."""
    rng = np.random.default_rng(4)
    image = draw_object(rng, 280, 200, 40, 256)
    image[image[..., 3] > 0, 1] = 0
    write(tmp_path / "purple.png", image)
    composer = Composer(tmp_path, bright_on_black[1], config=PLAIN)
    for seed in range(6):
        for frame in composer.clip(np.random.default_rng(seed), 2)[0]:
            assert frame[..., 0].max() > 100
            assert frame[..., 1].max() <= 2


def test_parts_do_not_disturb_each_other(folders: tuple[Path, Path]) -> None:
    """Distractors, occluders and spoiled frames leave the boxes as they are; the first frame is never occluded."""
    plain, busy, hidden = (
        Composer(*folders, config=config)
        for config in (
            PLAIN,
            dataclasses.replace(PLAIN, distractors=3, degrade=1.0, clutter=1.0),
            dataclasses.replace(PLAIN, occluded=1.0, occluded_frames=0.5),
        )
    )
    covered = 0
    for seed in range(12):
        (f0, b0), (f1, b1), (f2, b2) = (c.clip(np.random.default_rng(seed), 4)[:2] for c in (plain, busy, hidden))
        assert np.array_equal(b0, b1) and np.array_equal(b0, b2)
        assert np.array_equal(f0[0], f2[0])
        assert not np.array_equal(f0, f1) or seed > 0
        changed = [i for i in range(4) if not np.array_equal(f0[i], f2[i])]
        assert len(changed) <= 2
        for i in changed:
            x, y, w, h = np.rint(b0[i]).astype(int)
            part = (f0[i] != f2[i]).any(2)[y : y + h, x : x + w].mean()
            assert 0.05 < part < 0.85, "an occluder must hide a part of the target"
        covered += len(changed)
    assert covered >= 12


def test_subsets_are_disjoint_and_cover_everything() -> None:
    names = [Path(f"a/thing-number{i}.png") for i in range(2000)]
    train, val = ([in_subset(name, subset) for name in names] for subset in ("train", "val"))
    assert [a != b for a, b in zip(train, val, strict=True)] == [True] * 2000
    assert 0.82 < np.mean(train) < 0.88
    assert all(in_subset(name, "all") for name in names)
    moved = [in_subset(Path("elsewhere") / name.name, "train") for name in names]
    assert moved == train
    # fixed for ever: a split that changes between releases would mix what was kept apart
    digest = hashlib.sha256("".join(str(int(t)) for t in train).encode()).hexdigest()
    assert digest.startswith(GOLDEN_SPLIT)


GOLDEN_SPLIT = "f4e7e26ae0441bd7"


def test_one_file_is_kept_per_picture(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1300, 3), np.uint8)
    for name, size in {
        "Autumn/contents/images/320x310.jpg": (320, 310),
        "Autumn/contents/images/1300x1200.jpg": (1300, 1200),
        "Autumn/contents/images/1050x1010.jpg": (1050, 1010),
        "Autumn/contents/screenshot.jpg": (400, 400),
        "dune-d.png": (310, 300),
        "dune-l.png": (330, 320),
        "small.png": (299, 500),
    }.items():
        write(tmp_path / name, cv2.resize(noise, size))
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    found = [path.relative_to(tmp_path).as_posix() for path in find_photos([tmp_path])]
    # large enough and least to decode; else the largest
    assert found == ["Autumn/contents/images/1050x1010.jpg", "dune-l.png"]
    assert read_photo(tmp_path / found[0]).shape == (PHOTO_SIDE, 1040, 3)
    assert picture_key(Path("x/Sea_640x480.jpg")) == picture_key(Path("y/sea-dark.png")) == "sea"
    with pytest.raises(OSError, match="broken.jpg"):
        read_photo(tmp_path / "broken.jpg")


def test_which_images_are_objects(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    good = draw_object(rng, 100, 80, 0, 256)
    flat = good.copy()
    flat[..., :3] = (10, 20, 200)
    opaque = good.copy()
    opaque[..., 3] = 255
    small = draw_object(rng, 44, 44, 0, 256)
    thin = draw_object(rng, 300, 40, 0, 256)
    empty = np.zeros_like(good)
    empty[..., 3] = np.where(np.eye(80, 100), 255, 0)
    cases = {"good": good, "flat": flat, "opaque": opaque, "small": small, "thin": thin, "empty": empty, "rgb": good[..., :3]}
    for name, image in cases.items():
        write(tmp_path / f"{name}.png", image)
    (tmp_path / "text.png").write_text("no image")
    kept = {name for name in [*cases, "text"] if read_object(tmp_path / f"{name}.png") is not None}
    assert kept == {"good"}
    large = draw_object(rng, 1000, 700, 0, 256)
    large[..., :3] = cv2.resize(rng.integers(0, 256, (70, 100, 3), np.uint8), (1000, 700))
    write(tmp_path / "large.png", large)
    cutout = read_object(tmp_path / "large.png")
    assert cutout is not None and max(cutout.alpha.shape) == 256 and cutout.color.shape == (*cutout.alpha.shape, 3)


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_resumed_write_equals_an_uninterrupted_one(composer: Composer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_clips(composer, tmp_path / "whole", 4, 2, seed=5)
    expected = digest(whole)
    assert sorted(expected) == sorted(
        [f"synth-{i:06d}/{name}" for i in range(4) for name in ("00000001.jpg", "00000002.jpg", "groundtruth.txt")]
        + ["list.txt", "synth.json"]
    )

    composed: list[int] = []
    compose = Composer.clip

    def failing(self: Composer, rng: np.random.Generator, length: int):  # noqa: ANN202
        if len(composed) == 2:
            raise KeyboardInterrupt
        composed.append(1)
        return compose(self, rng, length)

    with monkeypatch.context() as patch:
        patch.setattr(Composer, "clip", failing)
        with pytest.raises(KeyboardInterrupt):
            write_clips(composer, tmp_path / "parts", 4, 2, seed=5)
    parts = tmp_path / "parts" / "train"
    assert sorted(p.name for p in parts.iterdir() if p.is_dir()) == ["synth-000000", "synth-000001"]
    stamp = (parts / "synth-000000" / "00000001.jpg").stat().st_mtime_ns
    write_clips(composer, tmp_path / "parts", 4, 2, seed=5)
    assert digest(parts) == expected
    assert (parts / "synth-000000" / "00000001.jpg").stat().st_mtime_ns == stamp, "a clip that exists is written again"

    with pytest.raises(ValueError, match="another recipe"):
        write_clips(composer, tmp_path / "parts", 4, 2, seed=6)
    assert digest(parts) == expected


def test_a_failed_clip_leaves_nothing_behind(composer: Composer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imwrite", lambda *_: False)
    with pytest.raises(OSError, match="cannot write"):
        write_clips(composer, tmp_path, 1, 1, seed=0)
    assert [path.name for path in (tmp_path / "train").iterdir()] == ["synth.json"]


def test_written_clips_are_read_back(composer: Composer, tmp_path: Path) -> None:
    write_clips(composer, tmp_path, 3, 2, seed=7, split="val", name_prefix="clip")
    sequences = read_got10k(tmp_path, "val")
    assert [s.name for s in sequences] == ["clip-000000", "clip-000001", "clip-000002"]
    frames, boxes = composer.clip(np.random.default_rng([7, 1]), 2)[:2]
    assert np.allclose(sequences[1].boxes, boxes, atol=1e-4)
    # JPEG changes single pixels, so the frames are compared after averaging
    seen, made = (cv2.resize(f, (25, 25), interpolation=cv2.INTER_AREA).astype(int) for f in (sequences[1].frame(1), frames[1]))
    assert abs(seen - made).max() <= 12 and abs(seen - made[..., ::-1]).max() > 12


def test_two_processes_write_the_same_bytes(composer: Composer, tmp_path: Path) -> None:
    one = write_clips(composer, tmp_path / "one", 2, 1, seed=1)
    two = write_clips(composer, tmp_path / "two", 2, 1, seed=1, processes=2)
    assert digest(one) == digest(two)


def test_bad_material_is_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    objects, photos = folders
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        Composer(tmp_path / "nowhere", photos)
    with pytest.raises(ValueError, match="no usable object of subset 'all' among 0 image files"):
        Composer(tmp_path, photos)
    with pytest.raises(ValueError, match="no usable background"):
        Composer(objects, [tmp_path])
    with pytest.raises(ValueError, match="unknown subset 'test'"):
        Composer(objects, photos, subset="test")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one frame"):
        Composer(objects, photos).clip(np.random.default_rng(0), 0)


@pytest.mark.parametrize(
    "change", [{"blob": 1.5}, {"occluded": -0.1}, {"distractors": -1}, {"scale_jitter": 0.5}, {"size": 200}, {"context": 0.0}]
)
def test_senseless_config_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        ComposerConfig(**change)  # type: ignore[arg-type]


def test_fetch_says_what_to_do_without_debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="apt-get is not on this machine.*name your own"):
        material.fetch_material(tmp_path)


def test_fetch_unpacks_each_package_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str]] = []

    def run(name: str, *arguments: str, folder: Path, package: str) -> None:
        calls.append((name, package))
        if arguments[0] == "download":
            (folder / f"{package}_1.deb").write_bytes(b"")
            return
        tree = folder / arguments[2]  # the program's own folder is this one: a path of ours must not be relative
        for part in (material.OBJECTS, *material.BACKGROUNDS, material.MODELS, Path("usr/share/doc") / package):
            (tree / part).mkdir(parents=True)
            (tree / part / f"{package}.txt").write_text(package)

    monkeypatch.setattr(material, "_run", run)
    monkeypatch.chdir(tmp_path.parent)
    found = material.fetch_material(Path(tmp_path.name))
    assert calls == [call for package in material.PACKAGES for call in (("apt-get", package), ("dpkg", package))]
    assert found.objects == tmp_path / "usr/share/tuxpaint/stamps"
    assert sorted(p.stem for p in found.objects.iterdir()) == sorted(material.PACKAGES)
    assert [p.name for p in tmp_path.iterdir()] == ["usr"], "temporary folders are left behind"
    shutil.rmtree(tmp_path / "usr/share/doc" / material.PACKAGES[2])  # as if interrupted within the third
    calls.clear()
    material.fetch_material(tmp_path)
    assert {package for _, package in calls} == {material.PACKAGES[2]}
    calls.clear()
    assert material.fetch_material(tmp_path, models=True).models == tmp_path / material.MODELS
    assert {package for _, package in calls} == {material.MODELS_PACKAGE}
