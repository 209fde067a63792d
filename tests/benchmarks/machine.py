"""The line that says where a figure was measured."""

import os
import platform
from pathlib import Path

import torch


def machine() -> str:
    """Processor, threads in use, version of torch, as `AMD EPYC 9B14, 2 threads, torch 2.13.0`."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    facts = Path("/proc/cpuinfo")
    names = (
        [line.partition(":")[2].strip() for line in facts.open() if line.startswith("model name")]
        if facts.is_file()
        else []
    )
    name = names[0] if names else platform.processor()
    return f"{name}, {torch.get_num_threads()} threads of {os.cpu_count()} cores, torch {torch.__version__}"
