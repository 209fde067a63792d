"""Side-by-side speed runs: each prints its figures, a ratio and the machine; `make bench` runs them, nothing asserts."""
