"""Trackers to compare with: classic ones, OpenCV's, any program of yours. Each module names its paper and where it differs."""
