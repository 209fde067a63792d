"""Which of the run's processes this is, as the launcher says."""

import os
import socket


def world_size() -> int:
    """Ranks of this run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """This process's number among them."""
    return int(os.environ.get("RANK", "0"))


def free_port() -> int:
    """A port of this machine that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def named() -> str:
    """This rank as errors name it: `rank 1 on node-7`."""
    return f"rank {rank()} on {socket.gethostname()}"
