"""Draws one model as a :class:`metatrack.data.synth.layers.Layer`, by OpenGL without a display (EGL; Mesa's llvmpipe is enough).

Coordinates of a view: x right, y up, z towards the camera, unit the model's radius. The camera is ``distance`` radii away, so
that a point (x, y, z) is drawn ``scale * x / (1 - z / distance)`` pixels right of the centre, and the same up.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import moderngl
import numpy as np

from metatrack.arrays import Float32, Float64, UInt8
from metatrack.data.opencv import cv2
from metatrack.data.render.model import Mesh
from metatrack.data.render.shaders import FRAGMENT, VERTEX
from metatrack.data.synth.layers import SUPERSAMPLE, Layer

LARGEST = 720
"""Side of a layer in pixels of the frame, at most: what is larger is drawn in part, and its box is computed."""
KEPT = 48  # models whose buffers are kept
MESA = (
    "OpenGL could not be started without a display: on Debian and its descendants install Mesa's software rasteriser (apt-get "
    "install libegl1 libgl1 libegl-mesa0 libgl1-mesa-dri)"
)


class NoOpenGLError(RuntimeError):
    """There is no OpenGL 3.3 that works without a display."""


@dataclass(frozen=True)
class Light:
    """Light on a scene at one moment."""

    direction: Float64  # (3,), unit, towards the sun, in the coordinates of the view
    sun: Float64  # (3,), linear
    ambient: float


@dataclass(frozen=True)
class Pose:
    """A model's pose as the camera sees it."""

    rotation: Float64  # (3, 3), from the model to the view
    distance: float
    action: int = 0
    frame: float = 0.0


@dataclass(frozen=True)
class Look:
    """What a model looks like in a clip, beside its own materials."""

    photo: UInt8 | None = None  # (side, side, 3), mapped onto the surface from three sides
    amount: float = 0.0  # 0-1, how much of the colour is the photograph's
    repeats: float = 1.0  # of the photograph, per radius
    shine: float = 0.2  # strength of reflections


@dataclass(frozen=True)
class Outline:
    """A posed model before it is drawn: vertices on the picture, unit the model's radius; y down, about the model's centre."""

    positions: Float32  # (n, 3), posed, in the model's coordinates
    normals: Float32  # (n, 3)
    low: Float64  # (2,), x and y of the box's corner
    high: Float64


def outline(model: Mesh, pose: Pose) -> Outline:
    """Poses a model and finds its box: exact, since a box is that of its vertices."""
    positions, normals = model.posed(pose.action, pose.frame)
    seen = positions @ pose.rotation.T.astype(np.float32)
    flat = seen[:, :2] / (1 - seen[:, 2:] / np.float32(pose.distance))
    flat[:, 1] *= -1
    return Outline(positions, normals, flat.min(0).astype(np.float64), flat.max(0).astype(np.float64))


class Stage:
    """Holds the OpenGL context, which is made when first needed: a stage can be sent to another process before that."""

    def __init__(self) -> None:
        self._gl: _Gl | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_gl": None}

    @property
    def gl(self) -> _Gl:
        """The context; a :class:`NoOpenGLError` where there is none."""
        if self._gl is None:
            self._gl = _Gl()
        return self._gl

    def layer(
        self, model: Mesh, shape: Outline, pose: Pose, look: Look, light: Light, center: Float64, scale: float
    ) -> Layer | None:
        """Draws a model about ``center`` (x and y in pixels of the frame), ``scale`` pixels per radius.

        The layer is whole wherever it lies, also beyond the frame, unless it is larger than :data:`LARGEST`. None where it is
        less than two pixels wide or high.
        """
        low, high = center + scale * shape.low, center + scale * shape.high
        x0, y0 = (int(v) for v in np.floor(low) - 1)
        x1, y1 = (int(v) for v in np.ceil(high) + 1)
        if min(high - low) < 2:
            return None
        width, height = min(x1 - x0, LARGEST), min(y1 - y0, LARGEST)
        rgba = self.gl.draw(model, shape, pose, look, light, center - [x0, y0], scale, (width, height))
        n = SUPERSAMPLE
        alpha = rgba[..., 3]
        left, top, inner_w, inner_h = cv2.boundingRect((alpha > 127).astype(np.uint8))
        if inner_w < n or inner_h < n:
            return None
        coarse = cv2.resize(rgba, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        whole = (x1 - x0, y1 - y0) == (width, height)
        box = (x0 + left / n, y0 + top / n, inner_w / n, inner_h / n)
        return Layer(x0, y0, coarse[..., :3], coarse[..., 3] / 255, box if whole else (*low, *(high - low)))


class _Gl:
    """One OpenGL context with the program, a canvas and the buffers of the models seen last."""

    def __init__(self) -> None:
        # The order of sums in Mesa's threads does not matter, but processes are what fills the cores here.
        os.environ.setdefault("LP_NUM_THREADS", "0")
        try:
            self.context = moderngl.create_context(standalone=True, require=330, backend="egl")  # type: ignore[arg-type] # its stub is wrong
        except Exception as error:  # noqa: BLE001 - glcontext raises plain Exception where EGL is missing
            raise NoOpenGLError(f"{MESA}; it said: {error}") from error
        self.program = self.context.program(vertex_shader=VERTEX, fragment_shader=FRAGMENT)
        side = SUPERSAMPLE * LARGEST
        self.canvas = self.context.framebuffer(
            [self.context.renderbuffer((side, side), 4)], self.context.depth_renderbuffer((side, side))
        )
        self.kept: OrderedDict[int, _Buffers] = OrderedDict()
        self.white = self.context.texture((1, 1), 4, b"\xff" * 4)
        self.around = self.white
        self.photo: tuple[int, Any] = (0, self.white)
        self.renderer = str(self.context.info["GL_RENDERER"])

    def surround(self, photo: UInt8) -> None:
        """The surroundings (side, side, 3) that light the models and are mirrored in them, until the next call."""
        if self.around is not self.white:
            self.around.release()
        self.around = self._texture(photo)

    def _texture(self, image: UInt8) -> Any:
        texture = self.context.texture((image.shape[1], image.shape[0]), image.shape[2], np.ascontiguousarray(image).tobytes())
        texture.build_mipmaps()
        texture.anisotropy = 1.0
        return texture

    def _buffers(self, model: Mesh) -> _Buffers:
        key = id(model)
        if key not in self.kept:
            while len(self.kept) >= KEPT:
                self.kept.popitem(last=False)[1].release()
            self.kept[key] = _Buffers(self, model)
        self.kept.move_to_end(key)
        return self.kept[key]

    def _wrapping(self, look: Look) -> Any:
        if look.photo is None:
            return self.white
        if self.photo[0] != id(look.photo):
            if self.photo[1] is not self.white:
                self.photo[1].release()
            self.photo = (id(look.photo), self._texture(look.photo))
        return self.photo[1]

    def draw(
        self,
        model: Mesh,
        shape: Outline,
        pose: Pose,
        look: Look,
        light: Light,
        center: Float64,
        scale: float,
        size: tuple[int, int],
    ) -> UInt8:
        """Pixels (n * height, n * width, 4), n times supersampled; alpha is 0 or 255, and clear pixels are black."""
        buffers = self._buffers(model)
        if model.skin is not None:
            buffers.pose(shape)
        wide, high = SUPERSAMPLE * size[0], SUPERSAMPLE * size[1]
        self.canvas.use()
        self.canvas.viewport = (0, 0, wide, high)
        self.context.enable_only(moderngl.DEPTH_TEST)
        self.canvas.clear(0, 0, 0, 0, depth=1.0, viewport=(0, 0, wide, high))
        values = {
            "turn": pose.rotation.T.astype("f4").tobytes(),  # OpenGL's matrices are by columns
            "distance": pose.distance,
            # The picture's y points down and so do the canvas' rows as they are read: no flip.
            "stretch": (2 * scale / size[0], -2 * scale / size[1]),
            "middle": (2 * center[0] / size[0] - 1, 2 * center[1] / size[1] - 1),
            "sun_direction": tuple(light.direction),
            "sun": tuple(light.sun),
            "ambient": light.ambient,
            "photo_amount": look.amount if look.photo is not None else 0.0,
            "photo_repeats": look.repeats,
            "shine": look.shine,
        }
        for name, value in values.items():
            uniform: Any = self.program[name]
            if isinstance(value, bytes):
                uniform.write(value)
            else:
                uniform.value = value
        for unit, name in enumerate(("picture", "photo", "around")):
            unit_of: Any = self.program[name]
            unit_of.value = unit
        self._wrapping(look).use(1)
        self.around.use(2)
        for first, count, number in model.groups:
            (buffers.textures[number] if number >= 0 else self.white).use(0)
            buffers.array.render(vertices=3 * count, first=3 * first)
        data = self.canvas.read(viewport=(0, 0, wide, high), components=4)
        return np.frombuffer(data, np.uint8).reshape(high, wide, 4)


class _Buffers:
    """What OpenGL holds of one model."""

    def __init__(self, gl: _Gl, model: Mesh) -> None:
        context = gl.context
        fixed = np.column_stack([model.positions, model.coordinates, model.colors, model.gloss]).astype("f4")
        self.fixed = context.buffer(fixed.tobytes())
        self.posed = context.buffer(np.column_stack([model.positions, model.normals]).astype("f4").tobytes())
        self.faces = context.buffer(np.ascontiguousarray(model.faces, "i4").tobytes())
        self.textures = [gl._texture(texture) for texture in model.textures]
        content = [
            (self.fixed, "3f 2f 3f 1f", "rest", "coordinate", "color", "gloss"),
            (self.posed, "3f 3f", "position", "normal"),
        ]
        self.array = context.vertex_array(gl.program, content, self.faces)
        self.model = model  # kept alive, for its id is the key

    def pose(self, shape: Outline) -> None:
        self.posed.write(np.column_stack([shape.positions, shape.normals]).astype("f4").tobytes())

    def release(self) -> None:
        for each in (self.array, self.fixed, self.posed, self.faces, *self.textures):
            each.release()
