"""Reinforcement learning from verifiable rewards, on trl.GRPOTrainer and trl.RLOOTrainer."""
