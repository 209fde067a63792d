"""Whether confidence means anything: gaps, Brier, likelihood, ranking."""
