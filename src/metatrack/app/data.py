"""``metatrack data material``, ``synth``, ``models`` and ``render``: training clips out of pictures and 3D models."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metatrack.app.problem import needs_extra, user_input
from metatrack.runtime.processor import usable_cores

if TYPE_CHECKING:
    from metatrack.data.clips import Maker
    from metatrack.data.render.pack import ModelRow


@dataclass(frozen=True)
class MaterialOptions:
    """Fetches five packages of pictures (about 500 MB unpacked) from Debian's archive, without installing them.

    With --models also Sweet Home 3D's furniture (125 MB), 3D models for `metatrack data models`.

    Needs Debian or a descendant, no root. On other systems any folder of cut-out objects (images with transparency) and any
    folder of photographs will do. The licences of the pictures are in usr/share/doc of the folder.
    """

    out: Path
    """Folder to unpack them in; what is there is not fetched again."""
    models: bool = False
    """Also fetch 3D models."""


@dataclass(frozen=True, kw_only=True)
class ClipsOptions:
    """What is said of clips however they are made."""

    backgrounds: tuple[Path, ...]
    """Folders of photographs."""
    out: Path
    """Folder of the data set; the clips come into its split."""
    clips: int = 1000
    """Number of clips."""
    length: int
    """Frames of a clip."""
    seed: int = 1
    """Seed of everything random."""
    subset: Literal["train", "val", "all"] = "train"
    """Part of the material to use: train and val share none."""
    split: str | None = None
    """Name of the split's folder; by default the subset's, and train for all."""


@dataclass(frozen=True, kw_only=True)
class SynthOptions(ClipsOptions):
    """Composes clips of objects that move over photographs, in GOT-10k layout with exact boxes.

    The same options give the same bytes. Clips that exist are skipped: an interrupted call is resumed by repeating it.
    """

    objects: tuple[Path, ...]
    """Folders of images with transparency."""
    length: int = 10
    """Frames of a clip."""
    processes: int = 0
    """Processes to work with; 0 is one for each core that this process may use."""


@dataclass(frozen=True)
class PackOptions:
    """Packs 3D models for `metatrack data render`: reads them once, leaves out what is no target, and notes source and licence.

    OBJ, GLB (articulated figures too) and PLY files and the libraries of Sweet Home 3D (.sh3f) are read. Run
    it once for each source.
    """

    folders: tuple[Path, ...]
    """Folders that are searched through."""
    out: Path
    """Folder of packed models; those of other sources stay in it."""
    source: str
    """Where the models come from, in a word: their names begin with it."""
    licence: str | None = None
    """Licence of all of them; without it the parts of Debian's sweethome3d-furniture have their own, others "not stated"."""
    figures: bool = False
    """Keep articulated figures alone."""


@dataclass(frozen=True, kw_only=True)
class RenderOptions(ClipsOptions):
    """Renders clips of 3D models that turn, act and move before photographs, in GOT-10k layout with exact boxes and labels.

    The same options give the same bytes with the same OpenGL. Clips that exist are skipped: an interrupted call is resumed by
    repeating it, and more are added by a larger number.
    """

    models: tuple[Path, ...]
    """Folders of packed models (metatrack data models)."""
    length: int = 18
    """Frames of a clip."""
    filmed: bool = False
    """Longer videos for validation (640x400): the camera does not follow, the target leaves the frame and comes back among its
    doubles. Without it, crops in which the target is in the middle, for training."""
    masks: bool = False
    """Also write the numbers of the objects in each frame (1 is the target), as masks/00000001.png beside the frames."""
    jobs: int | None = None
    """Processes to work with; by default one for each core that this process may use."""


def material(options: MaterialOptions) -> int:
    """Fetches the pictures; returns the exit code."""
    from metatrack.data.material import fetch_material

    with user_input(RuntimeError):
        found = fetch_material(options.out, models=options.models)
    backgrounds = " ".join(str(path) for path in found.backgrounds)
    print(f"next: metatrack data synth --objects {found.objects} --backgrounds {backgrounds} --out DIR")
    if found.models is not None:
        print(f"and:  metatrack data models --folders {found.models} --source sweethome3d --out MODELS")
        print(f"then: metatrack data render --models MODELS --backgrounds {backgrounds} --out DIR")
    return 0


def synth(options: SynthOptions) -> int:
    """Composes the clips; returns the exit code."""
    with needs_extra("opencv", "metatrack data synth"):
        from metatrack.data.synth import Composer

    with user_input():
        composer = Composer(options.objects, options.backgrounds, subset=options.subset)
        print(_write(composer, options, options.processes or usable_cores()))
    return 0


def _write(maker: Maker, options: ClipsOptions, processes: int, **how: Any) -> str:
    """Makes and writes the clips; returns what was done."""
    from metatrack.data.synth import write_clips

    split = options.split or ("train" if options.subset == "all" else options.subset)
    asked = options.clips, options.length, options.seed
    folder = write_clips(maker, options.out, *asked, split=split, processes=processes, **how)
    return f"{options.clips} clips of {options.length} frames in {folder}"


def models(options: PackOptions) -> int:
    """Packs the models; returns the exit code."""
    with needs_extra("opencv", "metatrack data models"):
        import metatrack.data.synth  # noqa: F401 - what needs OpenCV alone, so that the message names the right extra
    with needs_extra("render", "metatrack data models"):
        from metatrack.data.render.pack import pack

    with user_input():
        rows = pack(list(options.folders), options.out, options.source, options.licence, figures=options.figures)
    kept = [row for row in rows if row.file is not None]
    figures = sum(row.animated for row in kept)
    print(f"{len(kept)} of {len(rows)} models ({figures} articulated) in {options.out}; its models.json says why not the others")
    _tell_licences(kept)
    return 0


def _tell_licences(rows: list[ModelRow]) -> None:
    for (source, licence), count in sorted(Counter((row.source, row.licence) for row in rows).items()):
        print(f"  {count:5} of {source}: {licence}")


def render(options: RenderOptions) -> int:
    """Renders the clips; returns the exit code."""
    with needs_extra("opencv", "metatrack data render"):
        import metatrack.data.synth  # noqa: F401 - as above
    with needs_extra("render", "metatrack data render"):
        from metatrack.data.render import FILMED, NoOpenGLError, RenderConfig, Renderer

    config, name = (FILMED, "filmed") if options.filmed else (RenderConfig(), "render")
    jobs = usable_cores() if options.jobs is None else options.jobs
    with user_input(NoOpenGLError):
        renderer = Renderer(options.models, options.backgrounds, subset=options.subset, config=config)
        done = _write(renderer, options, jobs, name_prefix=name, masks=options.masks)
    print(f"{done}, of {len(renderer.stock.rows)} models:")
    _tell_licences(renderer.stock.rows)
    return 0
