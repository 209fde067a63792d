"""The line that says where a figure was measured."""

import os

import torch

from trainers.environment import processor


def machine() -> str:
    """Processor, threads in use, version of torch, as `AMD EPYC 9B14, 2 threads, torch 2.13.0`."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    return f"{processor()}, {torch.get_num_threads()} threads of {os.cpu_count()} cores, torch {torch.__version__}"
