"""Training trajectories out of unlabelled video: boxes where a segmenter and two different trackers agree.

``python -m tools.pseudo.make`` finds and follows targets, ``python -m tools.pseudo.finish`` leaves out what was looked at and
refused, and writes the tables and contact sheets.
"""
