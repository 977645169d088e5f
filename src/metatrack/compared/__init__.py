"""Other people's trackers, to compare with: each module names the paper and where it differs."""
