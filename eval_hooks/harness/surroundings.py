"""What lm-eval's own code meets while it runs here: its seeds, a hub that is there or not, no bars on the screen."""

import io
import random
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

WAIT_S = 3.0
"""For the hub to answer; its library tries for some 23 s."""


@contextmanager
def seeds() -> Iterator[None]:
    """lm-eval's default seeds while inside, for tasks that shuffle; afterwards the random states are as before."""
    import numpy as np
    import torch
    from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED

    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(DEFAULT_RANDOM_SEED)
    np.random.seed(DEFAULT_OTHER_SEED)
    torch.random.default_generator.manual_seed(DEFAULT_OTHER_SEED)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


@contextmanager
def cache_where_no_hub() -> Iterator[None]:
    """Where the hub does not answer, data comes from the cache or is missing at once."""
    import datasets
    import huggingface_hub.constants as hub

    if hub.HF_HUB_OFFLINE or _answers(hub.ENDPOINT):
        yield
        return
    before = datasets.config.HF_HUB_OFFLINE
    hub.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = False, before


def _answers(endpoint: str) -> bool:
    """Whether the hub can be reached; behind a proxy that is the proxy's to say."""
    if urllib.request.getproxies():
        return True
    place = urllib.parse.urlsplit(endpoint)
    try:
        socket.create_connection((place.hostname or "", place.port or 443), timeout=WAIT_S).close()
    except OSError:
        return False
    return True


@contextmanager
def no_bars() -> Iterator[None]:
    """Without the progress bars that lm-eval draws on every rank."""
    with redirect_stderr(io.StringIO()):
        yield
