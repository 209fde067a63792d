"""What a launcher must know of this machine's network: the way to the first node."""

import socket
from dataclasses import dataclass

import psutil

from launch.problems import RecipeError


@dataclass(frozen=True, kw_only=True)
class Route:
    """The way from this machine to the first node."""

    address: str
    """This machine's own, as the first node sees it."""
    interface: str | None
    """The network interface that has it."""
    arrived: bool
    """Whether this machine is the first node."""


def route(host: str, port: int) -> Route:
    """The way to `host`; nothing is sent. Raises RecipeError where there is none."""
    try:
        family, kind, _, _, to = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(to)
            address = str(probe.getsockname()[0])
    except OSError as error:
        raise RecipeError(f"--master {host}:{port}: no way there: {error.strerror or error}") from error
    own = {entry.address: name for name, entries in psutil.net_if_addrs().items() for entry in entries}
    return Route(address=address, interface=own.get(address), arrived=str(to[0]) in own)
