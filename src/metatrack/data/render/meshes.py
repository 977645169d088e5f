"""Reads files of static meshes (OBJ with MTL, GLB, PLY ...) by trimesh, as :class:`Mesh`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from metatrack.arrays import Float32, UInt8
from metatrack.data.opencv import cv2
from metatrack.data.render.model import TEXTURE_SIDE, Mesh

CLEAR = 0.3  # materials more transparent than this are left out: glass would be a target that shows what is behind it


def read_mesh(path: Path, name: str, source: str, licence: str) -> Mesh | None:
    """The model in a file, or None where nothing solid is in it.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a mesh that trimesh reads.
    """
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of odd materials and degenerate triangles: what comes out is checked below
            scene = trimesh.load_scene(path, process=False)
            parts = [part for part in scene.dump() if isinstance(part, trimesh.Trimesh) and len(part.faces)]
            pieces = [piece for part in parts if (piece := _piece(part)) is not None]
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - readers of many formats raise whatever they like on damaged files
        raise ValueError(f"{path} cannot be read as a mesh: {error}") from error
    if not pieces:
        return None
    return assemble(pieces, name, source, licence)


class Piece:
    """Part of a model: all triangles of one material."""

    def __init__(
        self, positions: Any, normals: Any, coordinates: Any, faces: Any, color: Any, gloss: float, texture: UInt8 | None
    ) -> None:
        n = len(positions)
        self.positions = np.asarray(positions, np.float32)
        self.normals = np.asarray(normals, np.float32)
        self.coordinates = np.zeros((n, 2), np.float32) if coordinates is None else np.asarray(coordinates, np.float32)
        self.faces = np.asarray(faces, np.int32)
        self.colors = np.broadcast_to(np.asarray(color, np.float32), (n, 3))
        self.gloss = np.full(n, gloss, np.float32)
        self.texture = texture


def assemble(pieces: list[Piece], name: str, source: str, licence: str) -> Mesh:
    """One model of several pieces, centred and scaled into the unit ball."""
    order = sorted(range(len(pieces)), key=lambda k: (pieces[k].texture is not None, k))  # those without a texture are one group
    starts = np.cumsum([0, *(len(pieces[k].positions) for k in order)])
    faces = [pieces[k].faces + np.int32(start) for k, start in zip(order, starts, strict=False)]
    groups: list[tuple[int, int, int]] = []
    textures: list[UInt8] = []
    known: dict[int, int] = {}
    first = 0
    for k in order:
        texture, count = pieces[k].texture, len(pieces[k].faces)
        number = -1
        if texture is not None:
            number = known.setdefault(id(texture), len(textures))
            if number == len(textures):
                textures.append(texture)
        if groups and groups[-1][2] == number:
            groups[-1] = (groups[-1][0], groups[-1][1] + count, number)
        else:
            groups.append((first, count, number))
        first += count
    positions = np.concatenate([pieces[k].positions for k in order])
    used = np.concatenate(faces)
    middle = (positions[used].min((0, 1)) + positions[used].max((0, 1))) / 2
    positions = positions - middle
    positions /= max(float(np.linalg.norm(positions[used], axis=-1).max()), 1e-9)
    normals = np.concatenate([pieces[k].normals for k in order])
    return Mesh(
        name=name,
        positions=np.asarray(positions, np.float32),
        normals=np.asarray(np.nan_to_num(normals), np.float32),
        coordinates=np.concatenate([pieces[k].coordinates for k in order]),
        colors=np.concatenate([pieces[k].colors for k in order]),
        gloss=np.concatenate([pieces[k].gloss for k in order]),
        faces=used,
        groups=tuple(groups),
        textures=tuple(textures),
        source=source,
        licence=licence,
    )


def _piece(part: trimesh.Trimesh) -> Piece | None:
    """A part as trimesh has it; None where its material is clear or its numbers are not finite."""
    visual: Any = part.visual
    material: Any = getattr(visual, "material", None)
    color, gloss, texture = np.array([0.7, 0.7, 0.7]), 0.1, None
    if material is not None:
        image = getattr(material, "image", None) or getattr(material, "baseColorTexture", None)
        if _opacity(material) < CLEAR:
            return None
        color = np.asarray(material.main_color[:3], np.float64) / 255
        specular = getattr(material, "specular", None)
        gloss = float(np.clip(np.mean(specular[:3]) / 255, 0, 1)) if specular is not None else 0.1
        if image is not None and getattr(visual, "uv", None) is not None:
            texture, color = texture_of(image), np.ones(3)  # exporters leave any number in Kd where a texture replaces it
    elif getattr(visual, "kind", None) == "vertex":
        color = np.asarray(visual.vertex_colors[:, :3], np.float64) / 255
    if not np.isfinite(part.vertices).all():
        return None
    coordinates = None if texture is None else np.nan_to_num(np.asarray(visual.uv)[:, :2])
    return Piece(part.vertices, part.vertex_normals, coordinates, part.faces, color, gloss, texture)


def _opacity(material: Any) -> float:
    given = getattr(material, "kwargs", {}).get("d")
    try:
        return float(given[0]) if given else 1.0
    except (TypeError, ValueError):
        return 1.0


def texture_of(image: Any) -> UInt8:
    """A Pillow image as (h, w, 4), not larger than textures are kept, its sides a power of two for mipmaps."""
    rgba = np.asarray(image.convert("RGBA"), np.uint8)
    height, width = (min(TEXTURE_SIDE, 1 << max(0, int(np.ceil(np.log2(n))))) for n in rgba.shape[:2])
    return np.asarray(cv2.resize(rgba, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def flat_normals(positions: Float32, faces: np.ndarray[Any, Any]) -> Float32:
    """Normals (n, 3) of vertices as the mean of their triangles'."""
    corners = positions[faces]
    each = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(positions)
    for k in range(3):
        np.add.at(normals, faces[:, k], each)
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12), np.float32)
