"""Rendered clips: textured 3D models that turn, act and move before photographs, where footage with labels is not to be had.

What cut-outs (:mod:`metatrack.data.synth`) cannot show is here: rotation out of the picture's plane, articulation, parts that
hide each other, light that falls from somewhere, doubles of the target seen from other sides, and a target that leaves the frame.

:mod:`.pack` makes a folder of :mod:`.model` files out of meshes (:mod:`.meshes`) and articulated figures (:mod:`.gltf`).
:mod:`.composer` renders a clip: a :mod:`.scene` of bodies and views, drawn from a :mod:`.stock`, moved by :mod:`.motion`, each
body drawn by the :mod:`.stage` as a layer; layers, light on the background, and the camera's faults are those of the synthetic
composer. Boxes, the visible share and the picture of object numbers are of the pixels that were drawn.
The same seed gives the same bytes with the same OpenGL: whoever changes the order in which random numbers are drawn changes all
clips.
"""

from metatrack.data.render.composer import Renderer
from metatrack.data.render.config import FILMED, RenderConfig
from metatrack.data.render.pack import pack, read_table
from metatrack.data.render.stage import NoOpenGLError

__all__ = ["FILMED", "NoOpenGLError", "RenderConfig", "Renderer", "pack", "read_table"]
