"""The command that starts the ranks of one machine, for each launcher: a row each."""

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launch.hosts import host_and_port
from launch.itself import ITSELF
from launch.network import Route, route
from launch.problems import RecipeError
from trainers.world import free_port


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How many ranks there are and where."""

    nproc: int
    """Ranks on each machine."""
    nnodes: int = 1
    node_rank: int | None = None
    """This machine's number; None: torchrun's rendezvous gives it, or a hostfile has all of them."""
    master: str | None = None
    """HOST:PORT of the first machine."""
    hostfile: Path | None = None
    """DeepSpeed's: a line HOST slots=N for each machine."""
    on_gpu: bool = False

    @property
    def ranks(self) -> int:
        """On all machines together."""
        return self.nproc * self.nnodes

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the first machine."""
        found = host_and_port(self.master or "")
        assert found is not None
        return found

    @property
    def way(self) -> Route | None:
        """The way to the first machine; None where there is one machine only."""
        return route(*self.address) if self.nnodes > 1 and self.master else None


@dataclass(frozen=True, kw_only=True)
class Command:
    """What is started: words, and what is added to the environment."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        added = [f"{key}={shlex.quote(value)}" for key, value in self.env.items()]
        return " ".join([*added, shlex.join(self.argv)])


def command(launcher: str, shape: Shape, words: Sequence[str]) -> Command:
    """The command of a launcher for `temper train` with these words. Raises RecipeError for what it cannot start."""
    argv = LAUNCHERS[launcher](shape, words)
    return Command(argv=(sys.executable, "-P", "-m", *argv), env={**environment(shape), **OWN_ENV.get(launcher, {})})


def environment(shape: Shape) -> dict[str, str]:
    """What a person would have to set, and has not.

    Threads: each rank would take all cores. Interface: gloo looks its own name up, and where that gives 127.0.0.1 no
    other machine reaches it.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = {"OMP_NUM_THREADS": str(max(1, cores // shape.nproc))}
    if shape.way and shape.way.interface:
        wanted["GLOO_SOCKET_IFNAME"] = shape.way.interface
    return {key: value for key, value in wanted.items() if key not in os.environ}


def torchrun(shape: Shape, words: Sequence[str]) -> list[str]:
    """On one machine at a port of its own; on several static where each is told its number, else by rendezvous."""
    start = ["torch.distributed.run", f"--nproc_per_node={shape.nproc}"]
    if shape.nnodes == 1:
        where = ["--standalone", "--local_addr=127.0.0.1"]
    elif shape.node_rank is not None:
        host, port = shape.address
        where = [f"--nnodes={shape.nnodes}", f"--node_rank={shape.node_rank}"]
        where += [f"--master_addr={host}", f"--master_port={port}"]
    else:
        way = shape.way
        assert way is not None
        where = [f"--nnodes={shape.nnodes}", "--rdzv_backend=c10d", f"--rdzv_endpoint={shape.master}"]
        # who hosts the rendezvous is guessed from host names otherwise, and where they mislead all wait for all
        where += ["--rdzv_id=temper", f"--rdzv_conf=is_host={int(way.arrived)}", f"--local_addr={way.address}"]
    return [*start, *where, "--no-python", *ITSELF, "train", *words]


def deepspeed(shape: Shape, words: Sequence[str]) -> list[str]:
    """Its launcher; with a hostfile over ssh from one machine, or started on each one by its number.

    It gives --local_rank to the program before the program's own words: not wanted, the environment says it too.
    """
    start = ["deepspeed.launcher.runner", "--no_local_rank"]
    if shape.hostfile is not None:
        start += [f"--hostfile={shape.hostfile}", f"--num_nodes={shape.nnodes}", f"--num_gpus={shape.nproc}"]
        if shape.node_rank is not None:
            start += ["--no_ssh", f"--node_rank={shape.node_rank}"]
        if shape.master:
            host, port = shape.address
            start += [f"--master_addr={host}", f"--master_port={port}"]
    elif shape.nnodes > 1:
        raise RecipeError("--with deepspeed over several nodes: add --hostfile FILE, with a line HOST slots=N for each")
    else:
        start += [*_devices(shape), f"--master_port={free_port()}", f"--hostfile={os.devnull}"]  # not /job/hostfile
    return [*start, "--no_python", *_env_as_here(), *ITSELF, "train", *words]


def _env_as_here() -> list[str]:
    """What its launchers, and over ssh PYTHONPATH=. as well, would leave in the ranks' environment taken back."""
    found = {name: os.environ.get(name) for name in ("PYTHONPATH", *OWN_ENV["deepspeed"])}
    unset = [word for name, value in found.items() if value is None for word in ("-u", name)]
    return ["env", *unset, *(f"{name}={value}" for name, value in found.items() if value is not None)]


def _devices(shape: Shape) -> list[str]:
    """--num_gpus takes the machine's first ones whatever CUDA_VISIBLE_DEVICES says; --include names those it says."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not shape.on_gpu or not visible:
        return [f"--num_gpus={shape.nproc}"]
    taken = visible.split(",")[: shape.nproc]
    if not all(number.strip().isdecimal() for number in taken):
        raise RecipeError(f"CUDA_VISIBLE_DEVICES={visible}: deepspeed takes numbers only; use --with torchrun")
    return [f"--include=localhost:{','.join(taken)}"]


def accelerate(shape: Shape, words: Sequence[str]) -> list[str]:
    """Its launcher, told everything, so that a default_config.yaml of other work changes nothing.

    `--multi_gpu` means several processes: without it there is one whatever `--num_processes` says. On a CPU too.
    """
    start = ["accelerate.commands.launch", f"--num_processes={shape.ranks}", f"--num_machines={shape.nnodes}"]
    start += ["--mixed_precision=no", "--dynamo_backend=no", "--gpu_ids=all"]
    start += ["--multi_gpu"] if shape.ranks > 1 else []
    if shape.nnodes == 1:
        start += [f"--main_process_port={free_port()}"]
    elif shape.node_rank is None:
        raise RecipeError("--with accelerate over several nodes: add --node-rank R, from 0, on each of them")
    else:
        host, port = shape.address
        start += [f"--machine_rank={shape.node_rank}", f"--main_process_ip={host}", f"--main_process_port={port}"]
    return [*start, "--no_python", *ITSELF, "train", *words]


LAUNCHERS: dict[str, Callable[[Shape, Sequence[str]], list[str]]] = {
    "torchrun": torchrun,
    "deepspeed": deepspeed,
    "accelerate": accelerate,
}
"""What starts ranks on this machine; Slurm starts one of them on each of its own."""
OWN_ENV = {"deepspeed": {"PYTHONSAFEPATH": "1"}}
"""deepspeed starts one more launcher of its own, with `python -m`, on every machine."""
