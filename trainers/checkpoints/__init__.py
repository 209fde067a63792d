"""Checkpoints on disk: whose they are."""
