"""A 3D model as the renderer wants it, and the file that holds one."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from metatrack.arrays import Float32, UInt8
from metatrack.data.opencv import cv2
from metatrack.files import write_atomically

TEXTURE_SIDE = 512
"""Textures are kept with their longer side at most this long: four times what a frame ever shows of them."""
Index = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Skin:
    """What moves the vertices of an articulated model: linear blend skinning, its actions sampled in time."""

    joints: Index  # (n, 4), the joints that a vertex follows
    weights: Float32  # (n, 4), how much; a row's sum is 1
    actions: tuple[Float32, ...]  # each (frames, joints, 3, 4): from the rest pose to the pose, at ACTION_RATE frames a second


@dataclass(frozen=True)
class Mesh:
    """Triangles with materials. The rest pose is centred and lies in the unit ball; y is up."""

    name: str
    positions: Float32  # (n, 3)
    normals: Float32  # (n, 3), unit
    coordinates: Float32  # (n, 2), of the texture, origin at its bottom left
    colors: Float32  # (n, 3), 0-1: the material's own, white where it has a texture
    gloss: Float32  # (n,), 0-1: strength of highlights
    faces: Index  # (m, 3)
    groups: tuple[tuple[int, int, int], ...]  # first face, number of faces, number of the texture (-1: none)
    textures: tuple[UInt8, ...] = ()  # each (h, w, 4) RGBA
    skin: Skin | None = None
    source: str = ""
    licence: str = ""

    def posed(self, action: int, frame: float) -> tuple[Float32, Float32]:
        """Positions (n, 3) and normals (n, 3) in an action at a time in frames, which runs round; centred on the pose.

        A model without a skin has one pose.
        """
        if self.skin is None or not self.skin.actions:
            return self.positions, self.normals
        poses = self.skin.actions[action % len(self.skin.actions)]
        before = int(np.floor(frame)) % len(poses)
        share = np.float32(frame - np.floor(frame))
        matrices = (1 - share) * poses[before] + share * poses[(before + 1) % len(poses)]  # (joints, 3, 4)
        blended = np.einsum("nk,nkij->nij", self.skin.weights, matrices[self.skin.joints])  # (n, 3, 4)
        moved = np.einsum("nij,nj->ni", blended[..., :3], self.positions) + blended[..., 3]
        turned = np.einsum("nij,nj->ni", blended[..., :3], self.normals)
        turned /= np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-9)
        middle = (moved.min(0) + moved.max(0)) / 2
        return np.asarray(moved - middle, np.float32), np.asarray(turned, np.float32)


def write_model(path: Path, model: Mesh) -> None:
    """Writes a model as an ``.npz``, in one step."""
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "positions": model.positions.astype(np.float32),
        "normals": model.normals.astype(np.float16),
        "coordinates": model.coordinates.astype(np.float32),
        "colors": np.rint(model.colors * 255).astype(np.uint8),
        "gloss": np.rint(model.gloss * 255).astype(np.uint8),
        "faces": model.faces.astype(np.int32),
        "groups": np.array(model.groups, np.int32).reshape(-1, 3),
        "about": np.array(json.dumps({"name": model.name, "source": model.source, "licence": model.licence})),
    }
    for k, texture in enumerate(model.textures):
        arrays[f"texture{k}"] = _encoded(texture)
    if model.skin is not None:
        arrays["joints"], arrays["weights"] = model.skin.joints.astype(np.int32), model.skin.weights
        for k, action in enumerate(model.skin.actions):
            arrays[f"action{k}"] = action.astype(np.float32)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(path, buffer.getvalue())


def read_model(path: Path) -> Mesh:
    """Reads what :func:`write_model` wrote; an ``OSError`` or ``ValueError`` where the file cannot be read, or is none."""
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
        about = json.loads(str(arrays["about"]))
        skin = None
        if "joints" in arrays:
            skin = Skin(
                arrays["joints"], arrays["weights"], tuple(np.asarray(each, np.float32) for each in _numbered(arrays, "action"))
            )
        return Mesh(
            name=about["name"],
            positions=arrays["positions"],
            normals=arrays["normals"].astype(np.float32),
            coordinates=arrays["coordinates"],
            colors=arrays["colors"].astype(np.float32) / 255,
            gloss=arrays["gloss"].astype(np.float32) / 255,
            faces=arrays["faces"],
            groups=tuple((int(a), int(b), int(c)) for a, b, c in arrays["groups"]),
            textures=tuple(_decoded(data) for data in _numbered(arrays, "texture")),
            skin=skin,
            source=about["source"],
            licence=about["licence"],
        )
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is not a packed model ({error}); make it again with `metatrack data models`") from error


def _numbered(arrays: dict[str, npt.NDArray[np.generic]], stem: str) -> list[npt.NDArray[np.generic]]:
    found: list[npt.NDArray[np.generic]] = []
    while f"{stem}{len(found)}" in arrays:
        found.append(arrays[f"{stem}{len(found)}"])
    return found


def _encoded(texture: UInt8) -> UInt8:
    """JPEG where all is opaque, else PNG."""
    opaque = bool((texture[..., 3] == 255).all())
    bgr = cv2.cvtColor(texture, cv2.COLOR_RGBA2BGR if opaque else cv2.COLOR_RGBA2BGRA)
    done, data = cv2.imencode(".jpg" if opaque else ".png", bgr, [cv2.IMWRITE_JPEG_QUALITY, 94] if opaque else [])
    if not done:
        raise ValueError(f"a texture of shape {texture.shape} cannot be encoded")
    return np.asarray(data, np.uint8).reshape(-1)


def _decoded(data: npt.NDArray[np.generic]) -> UInt8:
    image = cv2.imdecode(np.asarray(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError("a texture cannot be decoded")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if image.shape[-1] == 4 else cv2.COLOR_BGR2RGBA), np.uint8)
