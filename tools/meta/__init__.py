"""Trains the meta-learner of a shipped model on thousands of targets, with the matching network as the bundle has it."""
