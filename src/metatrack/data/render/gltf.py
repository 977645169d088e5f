"""Reads articulated figures from GLB files (glTF 2.0, Khronos): meshes, skins, and their animations sampled in time.

Only what such figures use: triangles with plain or interleaved accessors in the file's own buffer, materials of one colour or
with a texture inside the file, linear and stepped animation. Compressed meshes (Draco) are refused by name.
"""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PilImage

from metatrack.arrays import Float64
from metatrack.data.render.meshes import Piece, assemble, flat_normals, texture_of
from metatrack.data.render.model import Mesh, Skin

ACTION_RATE = 12.0  # poses a second at which animations are sampled; between them matrices are mixed
LONGEST_ACTION = 4.0  # seconds of an action that are kept
TYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Glb:
    """A GLB file: its JSON, and its accessors as arrays."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        if data[:4] != b"glTF" or len(data) < 20:
            raise ValueError(f"{path} is not a GLB file")
        length = struct.unpack_from("<I", data, 12)[0]
        self.path = path
        self.json: dict[str, Any] = json.loads(data[20 : 20 + length])
        self.blob = data[20 + length + 8 :]
        refused = set(self.json.get("extensionsRequired", ())) - {"KHR_materials_unlit", "KHR_texture_transform"}
        if refused:
            raise ValueError(f"{path} needs {', '.join(sorted(refused))}, which is not read here")

    def array(self, number: int) -> np.ndarray[Any, Any]:
        """An accessor, (count, width); integers that stand for 0-1 or -1 to 1 are so returned."""
        accessor = self.json["accessors"][number]
        kind, width, count = np.dtype(TYPES[accessor["componentType"]]), WIDTHS[accessor["type"]], accessor["count"]
        view = self.json["bufferViews"][accessor["bufferView"]]
        start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        stride = view.get("byteStride", kind.itemsize * width)
        raw = np.ndarray((count, width), kind, self.blob, start, (stride, kind.itemsize))
        if accessor.get("normalized") and kind.kind in "iu":
            return np.asarray(raw, np.float32) / float(np.iinfo(str(kind)).max)
        return np.array(raw)

    def image(self, number: int) -> Any:
        """A picture inside the file, as Pillow has it."""
        view = self.json["bufferViews"][self.json["images"][number]["bufferView"]]
        start = view.get("byteOffset", 0)
        return PilImage.open(io.BytesIO(self.blob[start : start + view["byteLength"]]))


def read_figure(path: Path, name: str, source: str, licence: str) -> Mesh | None:
    """The articulated figure in a GLB file; None where the file holds no skin.

    A skin without an animation gets one of its own: all joints swing, limbs farther than the rest.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or needs an extension that is not read here.
    """
    try:
        glb = Glb(path)
        if not glb.json.get("skins"):
            return None
        return _figure(glb, name, source, licence)
    except (KeyError, IndexError, TypeError, struct.error) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error


def _figure(glb: Glb, name: str, source: str, licence: str) -> Mesh | None:
    nodes = glb.json["nodes"]
    pieces, joints, weights = [], [], []
    bases: list[tuple[int, Float64]] = []  # of each joint that some vertex follows: its node, its inverse bind matrix
    for node in nodes:
        if "mesh" not in node or "skin" not in node:
            continue
        skin = glb.json["skins"][node["skin"]]
        start = len(bases)
        inverse = glb.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1).astype(np.float64)
        bases += list(zip(skin["joints"], inverse, strict=True))
        for primitive in glb.json["meshes"][node["mesh"]]["primitives"]:
            if primitive.get("mode", 4) != 4 or "JOINTS_0" not in primitive["attributes"]:
                continue
            piece = _piece(glb, primitive)
            pieces.append(piece)
            joints.append(glb.array(primitive["attributes"]["JOINTS_0"]).astype(np.int32) + start)
            share = np.nan_to_num(np.asarray(glb.array(primitive["attributes"]["WEIGHTS_0"]), np.float32))
            share[share.sum(1) <= 0] = (1, 0, 0, 0)  # some exporters write vertices that follow nothing
            weights.append(share / share.sum(1, keepdims=True))
    if not pieces:
        return None
    actions = [_action(glb, animation, bases) for animation in glb.json.get("animations", ())]
    actions = [action for action in actions if len(action) > 1] or [_swinging(glb, bases)]
    return _assembled(pieces, joints, weights, actions, name, source, licence)


def _assembled(
    pieces: list[Piece], joints: list[Any], weights: list[Any], actions: list[Float64], name: str, source: str, licence: str
) -> Mesh:
    """Puts the pieces together; the scale is that of the widest pose, and the actions are carried over to it."""
    order = sorted(range(len(pieces)), key=lambda k: (pieces[k].texture is not None, k))  # as assemble does
    followed, shares = np.concatenate([joints[k] for k in order]), np.concatenate([weights[k] for k in order])
    raw = np.concatenate([pieces[k].positions for k in order]).astype(np.float64)
    reach = 1e-9
    for action in actions:
        for matrices in action[:: max(1, len(action) // 6)]:
            moved = np.einsum("nk,nkij,nj->ni", shares, matrices[followed], np.column_stack([raw, np.ones(len(raw))]))
            middle = (moved.min(0) + moved.max(0)) / 2
            reach = max(reach, float(np.linalg.norm(moved - middle, axis=1).max()))
    model = assemble(pieces, name, source, licence)
    # The rest pose was centred and scaled, x -> (x - middle) / radius: a pose A x + b of the raw vertices is, in units of the
    # widest pose, (radius A x' + A middle + b) / reach.
    low, high = raw[np.unique(model.faces)].min(0), raw[np.unique(model.faces)].max(0)
    centre = (low + high) / 2
    radius = float(np.linalg.norm(raw[np.unique(model.faces)] - centre, axis=1).max())
    carried = []
    for action in actions:
        shift = action[..., :3] @ centre + action[..., 3]
        carried.append(np.concatenate([action[..., :3] * radius, shift[..., None]], -1).astype(np.float32) / np.float32(reach))
    skin = Skin(followed.astype(np.int32), shares.astype(np.float32), tuple(carried))
    return Mesh(**{**vars(model), "skin": skin})


def _piece(glb: Glb, primitive: dict[str, Any]) -> Piece:
    attributes = primitive["attributes"]
    positions = np.asarray(glb.array(attributes["POSITION"]), np.float32)
    indices = glb.array(primitive["indices"]).reshape(-1) if "indices" in primitive else np.arange(len(positions))
    faces = indices.reshape(-1, 3).astype(np.int32)
    normals = glb.array(attributes["NORMAL"]) if "NORMAL" in attributes else flat_normals(positions, faces)
    material = glb.json["materials"][primitive["material"]] if "material" in primitive else {}
    surface = material.get("pbrMetallicRoughness", {})
    # Base colours are linear light; colours here are as on the screen.
    color = np.clip(np.asarray(surface.get("baseColorFactor", (0.7, 0.7, 0.7, 1))[:3], np.float64), 0, 1) ** (1 / 2.2)
    texture, coordinates = None, None
    if "baseColorTexture" in surface and "TEXCOORD_0" in attributes:
        picture = glb.json["textures"][surface["baseColorTexture"]["index"]]["source"]
        texture, color = texture_of(glb.image(picture)), np.ones(3)
        coordinates = np.asarray(glb.array(attributes["TEXCOORD_0"]), np.float32) * [1, -1] + [
            0,
            1,
        ]  # glTF's origin is at the top
    return Piece(positions, normals, coordinates, faces, color, 0.5 * (1 - surface.get("roughnessFactor", 0.8)), texture)


def _rotation(quaternion: Float64) -> Float64:
    """Matrices (..., 3, 3) of quaternions (..., 4) in the order x, y, z, w."""
    x, y, z, w = np.moveaxis(quaternion / np.maximum(np.linalg.norm(quaternion, axis=-1, keepdims=True), 1e-12), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def _rest(node: dict[str, Any]) -> tuple[Float64, Float64, Float64]:
    """Translation, rotation (quaternion) and scale of a node at rest."""
    if "matrix" in node:
        raise ValueError(f"the node {node.get('name')!r} is given by a matrix, which is not read here")
    return (
        np.asarray(node.get("translation", (0, 0, 0)), np.float64),
        np.asarray(node.get("rotation", (0, 0, 0, 1)), np.float64),
        np.asarray(node.get("scale", (1, 1, 1)), np.float64),
    )


def _world(glb: Glb, local: dict[int, list[Float64]], bases: list[tuple[int, Float64]], count: int) -> Float64:
    """Matrices (count, joints, 3, 4) from the bind pose to the world, of nodes whose parts are (count, 3 or 4) or constant."""
    nodes = glb.json["nodes"]
    parents = {child: number for number, node in enumerate(nodes) for child in node.get("children", ())}
    known: dict[int, Float64] = {}

    def world(number: int) -> Float64:
        if number not in known:
            translation, rotation, scale = local.get(number) or list(_rest(nodes[number]))
            own = np.zeros((count, 4, 4))
            own[:, :3, :3] = _rotation(np.broadcast_to(rotation, (count, 4))) * np.broadcast_to(scale, (count, 3))[:, None, :]
            own[:, :3, 3], own[:, 3, 3] = translation, 1
            known[number] = world(parents[number]) @ own if number in parents else own
        return known[number]

    return np.stack([world(number) @ inverse for number, inverse in bases], 1)[:, :, :3]


def _action(glb: Glb, animation: dict[str, Any], bases: list[tuple[int, Float64]]) -> Float64:
    """Matrices (frames, joints, 3, 4) of an animation, sampled evenly."""
    nodes = glb.json["nodes"]
    samplers = [(glb.array(s["input"])[:, 0].astype(np.float64), s) for s in animation["samplers"]]
    end = min(LONGEST_ACTION, max(float(times[-1]) for times, _ in samplers))
    count = max(1, round(end * ACTION_RATE))
    at = np.arange(count) / ACTION_RATE
    local: dict[int, list[Float64]] = {}
    for channel in animation["channels"]:
        number, path = channel["target"].get("node"), channel["target"]["path"]
        if number is None or path not in ("translation", "rotation", "scale"):
            continue
        times, sampler = samplers[channel["sampler"]]
        values = np.asarray(glb.array(sampler["output"]), np.float64)
        if sampler.get("interpolation") == "CUBICSPLINE":
            values = values[1::3]
        parts = local.setdefault(number, list(_rest(nodes[number])))
        parts[("translation", "rotation", "scale").index(path)] = _sampled(times, values, at, path == "rotation")
    return _world(glb, local, bases, count)


def _sampled(times: Float64, values: Float64, at: Float64, turning: bool) -> Float64:
    """Values (n, k) at other times, linearly; of quaternions the nearer of the two signs is taken."""
    after = np.clip(np.searchsorted(times, at), 1, max(1, len(times) - 1))
    if len(times) == 1:
        return np.repeat(values, len(at), 0)
    before = after - 1
    share = np.clip((at - times[before]) / np.maximum(times[after] - times[before], 1e-9), 0, 1)[:, None]
    first, second = values[before], values[after]
    if turning:
        second = second * np.where((first * second).sum(1, keepdims=True) < 0, -1, 1)
    return np.asarray(first * (1 - share) + second * share)


LIMBS = ("leg", "arm", "thigh", "calf", "shin", "shoulder", "wing", "tail", "foot", "hand", "hip")


def _swinging(glb: Glb, bases: list[tuple[int, Float64]]) -> Float64:
    """An action for a skin that has none: joints swing about their rest, left and right against each other."""
    nodes = glb.json["nodes"]
    count = round(2 * ACTION_RATE)
    phase = 2 * np.pi * np.arange(count) / count
    local: dict[int, list[Float64]] = {}
    for k, number in enumerate(sorted({number for number, _ in bases})):
        called = nodes[number].get("name", "").lower()
        limb = any(word in called for word in LIMBS)
        right = called.endswith((".r", "_r", "r")) or "right" in called
        translation, rotation, scale = _rest(nodes[number])
        amount = 0.35 if limb else 0.06
        angle = amount * np.sin(phase + np.pi * right + 0.7 * (k % 3)) / 2
        swing = np.stack([np.sin(angle), 0.3 * np.sin(angle), 0.2 * np.sin(angle), np.cos(angle)], 1)
        local[number] = [translation, _product(np.broadcast_to(rotation, (count, 4)), swing), scale]
    return _world(glb, local, bases, count)


def _product(a: Float64, b: Float64) -> Float64:
    """Quaternion products (n, 4): first b, then a."""
    (ax, ay, az, aw), (bx, by, bz, bw) = a.T, b.T
    return np.stack(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ],
        1,
    )
