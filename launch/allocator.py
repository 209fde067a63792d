"""On a CPU: what a tensor took is given back when it is freed."""

import ctypes
import os
import sys

M_MMAP_THRESHOLD = -3
"""The name of a setting in glibc's malloc.h."""
MAPPED = 2**17
"""Bytes from which on a block is mapped alone: glibc's own beginning."""


def give_back_freed() -> None:
    """Keep glibc from raising that size, up to 32 MiB, when a mapped block is freed, as it does untold (mallopt(3)).

    Blocks below it come from a heap whose gaps are not given back: a step of SmolLM2-135M in fp32 took 3.6 GB where its
    tensors have 2.1. MALLOC_MMAP_THRESHOLD_ in the environment is left as it is, and so are other C libraries.
    """
    if sys.platform != "linux" or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MAPPED)
