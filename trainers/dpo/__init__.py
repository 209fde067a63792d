"""Preference tuning, on trl.DPOTrainer."""
