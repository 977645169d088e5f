"""A validation that can see: clips of 200 frames of natural targets that no training saw, and what a tracker does on them.

``python -m tools.validate.make`` makes the clips, ``python -m tools.validate.run`` follows their targets and prints the table.
"""
