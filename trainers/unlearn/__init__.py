"""Unlearning, on transformers.Trainer: losses on rows to forget, and on rows to retain beside them."""
