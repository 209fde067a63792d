"""What decides over a run: how much of its chance of a wrong word each evaluation may spend."""
