"""Names of machines, which end up on the command lines of ssh, pdsh and torchrun."""

import re
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path

HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")
PORTS = range(1, 65536)
RULE = "letters, digits, . _ - only, not - first, or an IPv6 address"
LARGEST = 1 << 20
"""Bytes of a list of machines: some ten thousand of them."""


def is_host(text: str) -> bool:
    """Whether it can only be read as a machine: `-oProxyCommand=...` in its place would be an option of ssh's."""
    if HOST.fullmatch(text):
        return True
    try:
        return "%" not in text and bool(IPv6Address(text))
    except ValueError:
        return False


def host_and_port(text: str) -> tuple[str, int] | None:
    """The two of HOST:PORT (IPv6: [HOST]:PORT, or without brackets); None for anything else."""
    found = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^\[\]]+)):([0-9]{1,5})", text)
    if found is None or int(found[3]) not in PORTS or not is_host(host := found[1] or found[2]):
        return None
    return host, int(found[3])


def hostfile_problems(file: Path) -> Iterator[str]:
    """What is wrong with DeepSpeed's list of machines, each with its line."""
    due = "a line HOST slots=N for each machine"
    if not file.is_file():
        yield f"--hostfile {file}: no such file; {due}"
        return
    try:
        with file.open("rb") as handle:
            text = handle.read(LARGEST + 1)
        if len(text) > LARGEST:
            yield f"--hostfile {file}: larger than {LARGEST >> 20} MiB; {due}"
            return
        lines = text.decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        yield f"--hostfile {file}: cannot be read: {error}"
        return
    first: dict[str, int] = {}
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        found = re.fullmatch(r"(\S+)\s+slots=([0-9]{1,6})(\s*#.*)?", line)
        if found is None:
            yield f"{file}:{number}: {ascii(line[:60])}: write HOST slots=N"
        elif not is_host(found[1]):
            yield f"{file}:{number}: {ascii(found[1][:60])} is no host's name: {RULE}"
        elif first.setdefault(found[1], number) != number:
            yield f"{file}:{number}: {found[1]} is there twice, first in line {first[found[1]]}"
    if not first:
        yield f"--hostfile {file}: no machine in it; {due}"
