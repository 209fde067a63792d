"""Parts of `python -m tests.benchmarks.gpu`, a file each."""
