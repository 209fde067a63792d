"""Instruction tuning, on trl.SFTTrainer."""
