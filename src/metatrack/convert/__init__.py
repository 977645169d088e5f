"""Boxes of targets through a video, between the file formats of annotation tools, benchmarks and data frames."""
