"""Checkpoints on disk: whose they are, and how large."""
