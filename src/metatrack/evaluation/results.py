"""The name that the reader of result files had before; it stays valid."""

from metatrack.evaluation.score.formats import parse_trajectories, read_trajectories, result_files
from metatrack.evaluation.score.records import Trajectory

__all__ = ["Trajectory", "parse_trajectories", "read_trajectories", "result_files"]
