"""Two machines, each a network namespace of its own: other addresses, other interfaces, nothing shared but the disk."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launch.starting import ENV, PYTHON, SHORT, alone, printed_losses
from tests.trainers.conftest import recipe_file, tiny_folder  # noqa: F401 - fixtures

NODES = ("temper-a", "temper-b")
ADDRESSES = ("10.77.0.1", "10.77.0.2")


def ip(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def machines() -> Iterator[tuple[str, str]]:
    """Two namespaces joined by a cable; where they may not be made the test says so."""
    number = os.getpid()
    names = (f"{NODES[0]}-{number}", f"{NODES[1]}-{number}")
    cable = (f"ta{number}", f"tb{number}")
    steps = [("netns", "add", name) for name in names]
    steps.append(("link", "add", cable[0], "type", "veth", "peer", "name", cable[1]))
    for name, end, address in zip(names, cable, ADDRESSES, strict=True):
        steps += [("link", "set", end, "netns", name), ("-n", name, "addr", "add", f"{address}/24", "dev", end)]
        steps += [("-n", name, "link", "set", end, "up"), ("-n", name, "link", "set", "lo", "up")]
    try:
        for step in steps:
            try:
                made = ip(*step)
            except FileNotFoundError:
                pytest.skip("no `ip` (iproute2) here: two machines cannot be imitated")
            if made.returncode:
                pytest.skip(f"network namespaces may not be made here: ip {' '.join(step)}: {made.stderr.strip()}")
        yield names
    finally:
        for name in names:
            ip("netns", "del", name)


def on_both(names: tuple[str, str], recipe: Path, options: list[list[str]]) -> list["subprocess.CompletedProcess[str]"]:
    """`temper launch` on both machines at once, each with its options."""
    env = {key: value for key, value in ENV.items() if key != "GLOO_SOCKET_IFNAME"}
    words = [str(recipe), *SHORT, "deepspeed=zero2", "--nproc", "1", "--nnodes", "2"]
    running = [
        subprocess.Popen(
            ["ip", "netns", "exec", name, *PYTHON, "launch", "launch", *words, *more],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name, more in zip(names, options, strict=True)
    ]  # fmt: skip
    try:
        return [_ended(process) for process in running]
    finally:
        for process in running:
            process.kill()


def _ended(process: "subprocess.Popen[str]") -> "subprocess.CompletedProcess[str]":
    out, err = process.communicate(timeout=200)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


MASTER = ["--master", f"{ADDRESSES[0]}:29611"]
NUMBERED = [[*MASTER, "--node-rank", str(number)] for number in (0, 1)]
WAYS = {
    "static": NUMBERED,
    "rendezvous": [MASTER, MASTER],
    "deepspeed": [[*options, "--with", "deepspeed", "--hostfile", "hosts"] for options in NUMBERED],
    "accelerate": [[*options, "--with", "accelerate"] for options in NUMBERED],
}


@pytest.mark.parametrize(
    "ways", [("rendezvous",), pytest.param(("static", "deepspeed", "accelerate"), marks=pytest.mark.soak)]
)
def test_two_machines_train_as_one(machines: tuple[str, str], recipe_file: Path, ways: tuple[str, ...]) -> None:  # noqa: F811
    """The same losses as one process; both machines' launchers return the run's code, one folder has both logs."""
    Path("hosts").write_text("a slots=1\nb slots=1\n")
    one = alone(recipe_file, *SHORT, "--run-dir", "one")
    for way in ways:
        ended = on_both(machines, recipe_file, [[*options, "--run-dir", way] for options in WAYS[way]])
        assert [run.returncode for run in ended] == [0, 0], ended[0].stderr + ended[1].stderr
        losses = [printed_losses(run.stderr) for run in ended]
        first = losses.index(one)  # by rendezvous either one may come first
        assert losses[1 - first] == []
        assert sorted(file.name for file in (Path(way) / "logs").iterdir()) == ["rank-0.log", "rank-1.log"]
