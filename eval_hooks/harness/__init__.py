"""lm-evaluation-harness's tasks on the live model: `task: lm_eval:NAME`.

Its tasks, prompts, filters and metrics; our forward passes, shared out over the ranks, and our per-item tables.
"""
