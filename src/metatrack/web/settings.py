"""What the server allows: each a flag of ``metatrack app``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits on what a page may ask for."""

    upload: int = 4096
    """Megabytes of an uploaded video, at most."""
    minutes: float = 180.0
    """Length of a video, at most."""
    pixels: int = 4096 * 4096
    """Pixels of a frame, at most."""
    projects: int = 200
    """Projects that are kept, at most."""
    jobs: int = 1
    """Trackings and written videos at a time, at most."""
    targets: int = 100
    """Targets of a project, at most."""
    memory: int = 2048
    """Megabytes that a process which reads a video may take, besides what it has when it starts."""
    thumbnails: int = 1024
    """Megabytes of small pictures of all frames, which are shown at once while an exact one is sought; 0 makes none."""
    cameras: tuple[int, ...] = (0,)
    """Numbers of the cameras of this machine that the page may open."""
