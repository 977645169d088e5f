"""Rendered clips, of models that the tests make themselves; skipped where no OpenGL works without a display."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

moderngl = pytest.importorskip("moderngl", reason="the renderer needs the render extra")
pytest.importorskip("trimesh", reason="the renderer needs the render extra")

from metatrack.cli import main  # noqa: E402
from metatrack.data.clips import MadeClip  # noqa: E402
from metatrack.data.got10k import read_got10k  # noqa: E402
from metatrack.data.render import NoOpenGLError, RenderConfig, Renderer, pack, read_table  # noqa: E402
from metatrack.data.render.gltf import ACTION_RATE, read_figure  # noqa: E402
from metatrack.data.render.model import read_model  # noqa: E402
from metatrack.data.render.stage import Stage  # noqa: E402
from metatrack.data.render.stock import model_key  # noqa: E402
from metatrack.data.synth import write_clips  # noqa: E402
from metatrack.data.synth.files import key_in_subset  # noqa: E402
from metatrack.geometry import context_side  # noqa: E402

PLAIN = RenderConfig(distractors=0, clutter=0, occluded=0, wrapped=0, lighting=0, shadows=0, degrade=0)
"""The target alone, in its own colours."""

CUBE = """mtllib cube.mtl
v -1 -1 -1
v 1 -1 -1
v 1 1 -1
v -1 1 -1
v -1 -1 1
v 1 -1 1
v 1 1 1
v -1 1 1
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl skin
f 1/1 2/2 3/3 4/4
f 5/1 6/2 7/3 8/4
f 1/1 2/2 6/3 5/4
f 3/1 4/2 8/3 7/4
f 1/1 4/2 8/3 5/4
f 2/1 3/2 7/3 6/4
"""


@pytest.fixture(scope="module")
def opengl() -> None:
    try:
        Stage().gl  # noqa: B018 - it is made when asked for
    except NoOpenGLError as error:
        pytest.skip(str(error))


def write_cube(folder: Path, stretch: float = 1.0) -> None:
    """A cube, or a box that is longer in y, with a texture of coloured noise."""
    folder.mkdir(parents=True)
    rows = [
        f"v {x} {float(y) * stretch} {z}" if kind == "v" else row
        for row in CUBE.splitlines()
        for kind, x, y, z in [(row.split() + [""] * 3)[:4]]
    ]
    (folder / f"{folder.name}.obj").write_text("\n".join(rows).replace("cube.mtl", f"{folder.name}.mtl") + "\n")
    (folder / f"{folder.name}.mtl").write_text("newmtl skin\nKd 0.1 0.1 0.1\nmap_Kd skin.png\n")
    colors = np.random.default_rng(len(folder.name)).integers(120, 256, (8, 8, 3), np.uint8)
    assert cv2.imwrite(str(folder / "skin.png"), cv2.resize(colors, (64, 64), interpolation=cv2.INTER_NEAREST))


def write_bar(path: Path) -> None:
    """A GLB with a skin of two joints: a square in the plane z = 0; its upper edge follows the second joint, turned by 90 deg."""
    positions = np.array([[-1, 0, 0], [1, 0, 0], [1, 2, 0], [-1, 2, 0]], "f4")
    blocks = [
        positions.tobytes(),
        np.tile(np.array([0, 0, 1], "f4"), (4, 1)).tobytes(),
        np.array([0, 1, 2, 0, 2, 3], "u2").tobytes(),
        np.array([[0, 0, 0, 0]] * 2 + [[1, 0, 0, 0]] * 2, "u1").tobytes(),
        np.tile(np.array([1, 0, 0, 0], "f4"), (4, 1)).tobytes(),
        np.stack([np.eye(4), np.eye(4)]).astype("f4").tobytes(),
        np.array([0, 1], "f4").tobytes(),
        np.array([[0, 0, 0, 1], [0, 0, np.sqrt(0.5), np.sqrt(0.5)]], "f4").tobytes(),
    ]
    kinds = [(5126, "VEC3", 4), (5126, "VEC3", 4), (5123, "SCALAR", 6), (5121, "VEC4", 4), (5126, "VEC4", 4), (5126, "MAT4", 2)]
    kinds += [(5126, "SCALAR", 2), (5126, "VEC4", 2)]
    starts = np.cumsum([0, *map(len, blocks)])
    document = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": int(starts[-1])}],
        "bufferViews": [{"buffer": 0, "byteOffset": int(s), "byteLength": len(b)} for s, b in zip(starts, blocks, strict=False)],
        "accessors": [{"bufferView": k, "componentType": c, "type": t, "count": n} for k, (c, t, n) in enumerate(kinds)],
        "meshes": [
            {
                "primitives": [
                    {"attributes": {"POSITION": 0, "NORMAL": 1, "JOINTS_0": 3, "WEIGHTS_0": 4}, "indices": 2, "material": 0}
                ]
            }
        ],
        "materials": [{"pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 1]}}],
        "nodes": [{"mesh": 0, "skin": 0}, {"name": "root", "children": [2]}, {"name": "tip"}],
        "skins": [{"joints": [1, 2], "inverseBindMatrices": 5}],
        "animations": [
            {"samplers": [{"input": 6, "output": 7}], "channels": [{"sampler": 0, "target": {"node": 2, "path": "rotation"}}]}
        ],
    }
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    blob = b"".join(blocks)
    head = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(blob))
    path.write_bytes(head + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(blob), b"BIN\0") + blob)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Packed models, and dark photographs of noise."""
    root = tmp_path_factory.mktemp("render")
    for name, stretch in (("cube", 1.0), ("brick", 2.0), ("cabinet", 1.5), ("tin", 0.7)):
        write_cube(root / "meshes" / name, stretch)
    write_cube(root / "meshes" / "brickWall")
    (root / "meshes" / "broken.glb").write_bytes(b"glTF, or not")
    pack([root / "meshes"], root / "models", "made", "CC0")
    rng = np.random.default_rng(0)
    (root / "photos").mkdir()
    for i in range(4):
        noise = cv2.resize(rng.integers(0, 60, (40, 50, 3), np.uint8), (500, 400), interpolation=cv2.INTER_LINEAR)
        assert cv2.imwrite(str(root / "photos" / f"photo{i}.png"), noise)
    return root / "models", root / "photos"


def renderer(folders: tuple[Path, Path], config: RenderConfig) -> Renderer:
    return Renderer(*folders, config=config)


def made(folders: tuple[Path, Path], config: RenderConfig, length: int = 5, seed: int = 0) -> MadeClip:
    return renderer(folders, config).clip(np.random.default_rng(seed), length)


def extent(mask: np.ndarray) -> tuple[float, ...]:
    return tuple(map(float, cv2.boundingRect(mask.astype(np.uint8))))


def test_the_table_says_what_is_in_and_why_not_the_rest(folders) -> None:
    rows = {row.name: row for row in read_table(folders[0])}
    kept = {name for name, row in rows.items() if row.file is not None}
    assert kept == {"made-cube-cube", "made-brick-brick", "made-cabinet-cabinet", "made-tin-tin"}
    assert {row.licence for row in rows.values()} == {"CC0"}
    assert "building" in rows["made-brickWall-brickWall"].left_out
    assert "broken.glb" in rows["made-meshes-broken"].left_out


def test_a_packed_model_is_centred_and_has_its_texture(folders) -> None:
    model = read_model(folders[0] / "made-brick-brick.npz")
    # Half sides 1, 2, 1, scaled by the distance of a corner, sqrt(6).
    np.testing.assert_allclose(np.abs(model.positions).max(0), np.array([1, 2, 1]) / np.sqrt(6), atol=1e-6)
    assert [texture.shape for texture in model.textures] == [(64, 64, 4)]
    assert model.groups == ((0, 12, 0),)
    assert (model.colors == 1).all()  # the material's Kd gives way to the texture


def test_a_skin_moves_what_follows_its_joint(tmp_path) -> None:
    write_bar(tmp_path / "bar.glb")
    model = read_figure(tmp_path / "bar.glb", "bar", "made", "CC0")
    assert model is not None and model.skin is not None
    (action,) = model.skin.actions
    assert len(action) == ACTION_RATE  # one second
    # The last sample is 11/12 of the way, linearly between (0, 0, 0, 1) and (0, 0, s, s): normalised.
    share, s = 11 / 12, np.sqrt(0.5)
    angle = 2 * np.arctan2(share * s, 1 - share + share * s)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wanted = np.vstack([[[-1, 0], [1, 0]], np.array([[1, 2], [-1, 2]]) @ turn.T])
    wanted -= (wanted.min(0) + wanted.max(0)) / 2
    posed, normals = model.posed(0, 11.0)
    scale = np.linalg.norm(posed[0] - posed[1]) / 2
    np.testing.assert_allclose(posed[:, :2] / scale, wanted, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)


@pytest.mark.usefixtures("opengl")
class TestClips:
    def test_boxes_are_those_of_the_pixels(self, folders) -> None:
        for seed in range(4):
            clip = made(folders, PLAIN, seed=seed)
            for numbers, box in zip(clip.numbers, clip.boxes, strict=True):
                # The box is exact to half a pixel, the numbers to a pixel.
                np.testing.assert_allclose(extent(numbers == 1), box, atol=1.01)
            np.testing.assert_array_equal(clip.visible, 1)

    def test_the_target_is_where_training_wants_it(self, folders) -> None:
        clip = made(folders, PLAIN, length=8)
        sides = np.array([context_side(w, h) for _, _, w, h in clip.boxes])
        np.testing.assert_allclose(sides, 127, rtol=0.055)
        middles = clip.boxes[:, :2] + clip.boxes[:, 2:] / 2
        assert np.abs(middles - 165).max() <= 9
        assert {frame.shape for frame in clip.frames} == {(330, 330, 3)}

    def test_the_target_is_to_be_seen_where_its_number_is(self, folders) -> None:
        clip = made(folders, PLAIN)
        for frame, numbers in zip(clip.frames, clip.numbers, strict=True):
            inner = cv2.erode((numbers == 1).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
            outer = cv2.dilate((numbers == 1).astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
            assert frame[inner].mean() > frame[outer].mean() + 20  # bright on dark

    def test_it_turns(self, folders) -> None:
        boxes = made(folders, dataclasses.replace(PLAIN, spin=3.0), length=6, seed=2).boxes
        aspects = boxes[:, 2] / boxes[:, 3]
        assert np.ptp(aspects) > 0.02

    def test_the_visible_share_is_of_the_targets_pixels(self, folders) -> None:
        found = []
        for seed in range(6):
            alone = made(folders, PLAIN, length=10, seed=seed)
            covered = made(folders, dataclasses.replace(PLAIN, occluded=1.0), length=10, seed=seed)
            if not np.allclose(alone.boxes, covered.boxes):
                continue  # the occluder was there in the first frame, so that another scene was drawn
            shares = [(c == 1).sum() / (a == 1).sum() for a, c in zip(alone.numbers, covered.numbers, strict=True)]
            np.testing.assert_allclose(covered.visible, shares, atol=1e-9)
            found += shares
        assert min(found) < 0.7 and max(found) == 1

    def test_filmed_targets_leave_the_frame_and_return(self, folders) -> None:
        config = dataclasses.replace(PLAIN, size=(200, 160), follow=False, context=40, exits=1, distractors=2, doubles=1.0)
        clip = made(folders, config, length=110)
        outside = clip.visible < 0.1
        assert clip.visible[0] > 0.97 and outside.any() and not outside[-3:].all()
        gone = clip.boxes[clip.visible == 0]
        x, y, w, h = gone.T
        assert ((x + w < 2) | (y + h < 2) | (x > 198) | (y > 158) | (np.array([len(gone)]) > 0)).all()
        assert max(numbers.max() for numbers in clip.numbers) >= 2  # its double


@pytest.mark.usefixtures("opengl")
class TestWriting:
    def write(self, folders, out: Path, clips: int = 3, processes: int = 1) -> Path:
        config = RenderConfig(clutter=0, degrade=1)
        return write_clips(renderer(folders, config), out, clips, 3, 5, name_prefix="render", processes=processes, masks=True)

    @staticmethod
    def hashes(folder: Path) -> dict[str, str]:
        files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
        return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def test_the_same_call_gives_the_same_bytes_and_resumes(self, folders, tmp_path) -> None:
        whole = self.hashes(self.write(folders, tmp_path / "a"))
        there = self.write(folders, tmp_path / "b", clips=2, processes=2)
        shutil.rmtree(there / "render-000000")
        assert self.hashes(self.write(folders, tmp_path / "b")) == whole
        assert "render-000002/absence.label" in whole and "render-000001/masks/00000003.png" in whole

    def test_the_reader_of_training_data_reads_it(self, folders, tmp_path) -> None:
        self.write(folders, tmp_path, clips=2)
        sequences = read_got10k(tmp_path, "train")
        assert [len(sequence) for sequence in sequences] == [3, 3]
        numbers = cv2.imread(str(tmp_path / "train" / "render-000000" / "masks" / "00000001.png"), cv2.IMREAD_UNCHANGED)
        cover = (tmp_path / "train" / "render-000000" / "cover.label").read_text().split()
        assert cover[0] == "8"
        # A target that nothing hides fills its box to its edges.
        np.testing.assert_allclose(extent(numbers == 1), sequences[0].boxes[0], atol=1.01)


def test_train_and_val_share_no_model(folders) -> None:
    names = [f"made-thing{chr(97 + i)}" for i in range(200)] + [row.name for row in read_table(folders[0])]
    train, val = ({name for name in names if key_in_subset(model_key(name), subset)} for subset in ("train", "val"))
    assert train | val == set(names) and not train & val
    assert model_key("a-chair3") == model_key("a-chair")  # variants stay together


def test_where_there_is_no_opengl_the_remedy_is_named(folders, tmp_path, monkeypatch, capsys) -> None:
    def missing(**_: object) -> None:
        raise Exception("libEGL.so not detected in system")

    monkeypatch.setattr(moderngl, "create_context", missing)
    models, photos = folders
    words = ["data", "render", "--models", str(models), "--backgrounds", str(photos), "--out", str(tmp_path), "--subset", "all"]
    assert main([*words, "--clips", "1", "--jobs", "1"]) != 0
    said = capsys.readouterr().err
    assert "libgl1-mesa-dri" in said and "libEGL.so not detected" in said


def test_a_folder_that_was_not_packed_is_named(folders, tmp_path, capsys) -> None:
    _, photos = folders
    assert main(["data", "render", "--models", str(photos), "--backgrounds", str(photos), "--out", str(tmp_path)]) != 0
    assert "metatrack data models" in capsys.readouterr().err
