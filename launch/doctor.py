"""What this machine can do: `temper doctor`. Each check looks at one thing and says what to do about it."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from launch.findings import Finding

GIB = 2**30
EMBEDDED = "smollm2-135m-instruct"
SHOWN = ("torch", "transformers", "trl", "peft", "accelerate", "deepspeed", "datasets", "wandb")
"""Packages that are listed though nothing is wrong with them."""
MEMORY_GIB, DISK_GIB = 4, 3
"""What the quickstart needs with room to spare: 1.6 GiB resident and 0.6 GB of weights, measured."""


def examine(hub: bool = False, ranks: bool = True) -> list[Finding]:
    """All findings, in order.

    With `hub`, the Hugging Face hub is asked as well (3 s at most); with `ranks`, two processes add up a number (about
    5 s, 60 at most).
    """
    found = [
        python(),
        *packages(),
        *optional(),
        processor(),
        memory(),
        disk(),
        *accelerators(),
        precision(),
        compiler(),
        wandb_login(),
        cache(),
        embedded(),
    ]
    return [*found, *(two_ranks() if ranks else ()), *([hub_answers()] if hub else [])]


def python() -> Finding:
    """Python's version; pip has refused the ones that do not do."""
    return Finding(name="python", state="ok", found=".".join(map(str, sys.version_info[:3])))


def packages(distribution: str = "tempering") -> Iterator[Finding]:
    """The installed versions against those the package asks for."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(line) for line in requires(distribution) or []]
    except PackageNotFoundError:
        yield Finding(
            name=distribution, state="warn", found="not installed, run from its folder", remedy="pip install -e ."
        )
        wanted = [Requirement(name) for name in SHOWN]
    for requirement in wanted:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            there = version(requirement.name)
        except PackageNotFoundError:
            yield Finding(name=requirement.name, state="bad", found="missing", remedy=f"pip install '{requirement}'")
            continue
        if not requirement.specifier.contains(there, prereleases=True):
            text = f"{there}, asked for is {requirement.specifier}"
            yield Finding(name=requirement.name, state="bad", found=text, remedy=f"pip install '{requirement}'")
        elif requirement.name in SHOWN:
            yield Finding(name=requirement.name, state="ok", found=there)


OPTIONAL = {
    "lm-eval": ("eval", "tasks of lm-evaluation-harness"),
    "torchao": ("quantise", "8- and 4-bit weights in certificates"),
    "tensorboard": ("tensorboard", "TensorBoard's event files"),
    "wandb-workspaces": ("dashboard", "saved views in W&B"),
}
"""Package -> (extra that installs it, what it is for)."""
ON_GPU = {
    "vllm": ("gpu", "answers written by vLLM (train.use_vllm)"),
    "bitsandbytes": ("gpu", "training on 4-bit weights (adapter.kind: qlora), 8-bit optimizers"),
    "liger-kernel": ("gpu", "Liger's kernels (train.use_liger_kernel)"),
    "flash-attn": ("", "attention by flash_attention_2 (sdpa is there)"),
}
"""The same of what only a machine with a GPU can use; no extra: a package that pip builds for an hour."""


def optional() -> Iterator[Finding]:
    """Which extras are not there: all works without them, but for what they are for.

    Where there is a GPU also what is there of those for it, with the version.
    """
    yield from _extras(OPTIONAL, shown=False)
    if has_gpu():
        yield from _extras(ON_GPU, shown=True)


def has_gpu() -> bool:
    """Whether torch sees one."""
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def _extras(table: Mapping[str, tuple[str, str]], shown: bool) -> Iterator[Finding]:
    for name, (extra, purpose) in table.items():
        try:
            there = version(name)
        except PackageNotFoundError:
            remedy = f"pip install 'tempering[{extra}]', to have it" if extra else f"pip install {name}, to have it"
            yield Finding(name=name, state="ok", found=f"not installed, so no {purpose}", remedy=remedy)
        else:
            if shown:
                yield Finding(name=name, state="ok", found=there)


def two_ranks(timeout_s: float = 60.0) -> Iterator[Finding]:
    """Whether two processes of this machine can add up a number: over gloo, and over NCCL where there are two GPUs."""
    try:
        import torch
    except ImportError:
        return
    from launch.two_ranks import all_reduce

    for backend in ("gloo", *(["nccl"] if torch.cuda.device_count() > 1 else [])):
        done = all_reduce(backend, timeout_s)
        name = f"two ranks, {backend}"
        if done.problem:
            yield Finding(name=name, state="bad", found=done.problem, remedy=REMEDIES[backend])
        else:
            yield Finding(name=name, state="ok", found=f"all-reduce right, {done.seconds:.1f} s with start-up")


REMEDIES = {
    "gloo": "GLOO_SOCKET_IFNAME=lo (or the network's interface); see that the host's name resolves and that a firewall "
    "lets 127.0.0.1 through; one process works without it",
    "nccl": "NCCL_DEBUG=INFO says more; try NCCL_P2P_DISABLE=1 and NCCL_SOCKET_IFNAME; in a container give it shared "
    "memory (--shm-size=8g or --ipc=host)",
}
"""Backend -> what mostly helps."""


def processor() -> Finding:
    """Cores this process may use, and the threads torch takes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        import torch
    except ImportError:
        return Finding(name="cpu", state="ok", found=f"{cores} cores")
    threads = torch.get_num_threads()
    found = f"{cores} cores, torch takes {threads} threads"
    if threads > cores:
        return Finding(
            name="cpu", state="warn", found=found, remedy=f"more threads than cores is slow: OMP_NUM_THREADS={cores}"
        )
    return Finding(name="cpu", state="ok", found=found)


def memory() -> Finding:
    """Free memory."""
    import psutil

    free, total = psutil.virtual_memory().available / GIB, psutil.virtual_memory().total / GIB
    found = f"{free:.1f} of {total:.1f} GiB free"
    if free < MEMORY_GIB:
        remedy = "close other programs, or lower train.per_device_train_batch_size and train.max_length"
        return Finding(name="memory", state="warn", found=found, remedy=remedy)
    return Finding(name="memory", state="ok", found=found)


def disk() -> Finding:
    """Free space where runs are written."""
    free = shutil.disk_usage(Path.cwd()).free / GIB
    found = f"{free:.1f} GiB free in {Path.cwd()}"
    if free < DISK_GIB:
        return Finding(name="disk", state="warn", found=found, remedy="free some space, or work in another folder")
    return Finding(name="disk", state="ok", found=found)


def accelerators() -> Iterator[Finding]:
    """The GPUs torch sees."""
    try:
        import torch
    except ImportError:
        return
    count = torch.cuda.device_count()
    for index in range(count):
        card = torch.cuda.get_device_properties(index)
        yield Finding(name=f"gpu {index}", state="ok", found=f"{card.name}, {card.total_memory / GIB:.0f} GiB")
    if count == 0 and shutil.which("nvidia-smi"):
        remedy = "install a torch built for CUDA, see pytorch.org/get-started"
        yield Finding(
            name="gpu", state="warn", found=f"nvidia-smi is there, torch {torch.__version__} sees none", remedy=remedy
        )
    elif count == 0:
        yield Finding(name="gpu", state="ok", found="none: training runs on the CPU")


def precision() -> Finding:
    """What a run computes in here where its recipe leaves train.bf16 out."""
    try:
        from trainers.machine import bf16, own_machine

        choice = bf16({}, own_machine())
    except ImportError:
        return Finding(name="precision", state="warn", found="not known without torch", remedy="see torch, above")
    return Finding(name="precision", state="ok", found=f"{'bf16' if choice.value else 'fp32'}: {choice.reason}")


def compiler() -> Finding:
    """What DeepSpeed needs to build an operation when it is first used."""
    found = shutil.which(os.environ.get("CXX", "c++")) or shutil.which("g++")
    if not found:
        return Finding(
            name="compiler", state="warn", found="none", remedy="for DeepSpeed's own optimizers: install g++"
        )
    return Finding(name="compiler", state="ok", found=found)


def wandb_login() -> Finding:
    """Whether W&B would accept an upload from here; without it runs stay offline, which is the default anyway."""
    if login := wandb_login_here():
        return Finding(name="w&b", state="ok", found=login)
    return Finding(
        name="w&b", state="ok", found="not logged in: runs are kept offline", remedy="wandb login, to upload"
    )


def wandb_login_here() -> str:
    """How this machine is logged in at W&B; empty where it is not. Nothing is asked over a network."""
    import netrc
    from urllib.parse import urlparse

    if os.environ.get("WANDB_API_KEY"):
        return "logged in by WANDB_API_KEY"
    host = urlparse(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname
    try:
        return "logged in" if host in netrc.netrc(os.environ.get("NETRC")).hosts else ""
    except (OSError, netrc.NetrcParseError):
        return ""


def cache() -> Finding:
    """The folder of fetched models and tokenised data."""
    from trainers import TrainError
    from trainers.cache import cache_dir

    try:
        folder = cache_dir()
    except TrainError as error:
        found, _, remedy = str(error).partition("; ")
        return Finding(name="cache", state="bad", found=found, remedy=remedy)
    if not os.access(folder, os.W_OK):
        return Finding(
            name="cache", state="bad", found=f"{folder} cannot be written", remedy="TEMPERING_CACHE=another folder"
        )
    return Finding(name="cache", state="ok", found=str(folder))


def embedded() -> Finding:
    """The model the quickstart trains."""
    from trainers import TrainError
    from trainers.cache import is_kept
    from trainers.fetch import model_dir

    try:
        folder = model_dir(EMBEDDED)
    except TrainError:
        return Finding(name=EMBEDDED, state="warn", found="not looked for: see the cache", remedy="")
    if not is_kept(folder):
        return Finding(name=EMBEDDED, state="warn", found="not fetched", remedy=f"temper fetch {EMBEDDED}")
    return Finding(name=EMBEDDED, state="ok", found=str(folder))


def hub_answers(timeout_s: float = 3.0) -> Finding:
    """Whether the Hugging Face hub can be reached."""
    from urllib.error import URLError
    from urllib.request import Request, urlopen

    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    remedy = "models and data by local path, or the embedded ones, work without it"
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        return Finding(name="hub", state="warn", found="HF_HUB_OFFLINE is set", remedy=remedy)
    try:
        urlopen(Request(address, method="HEAD"), timeout=timeout_s).close()
    except (URLError, OSError) as error:
        return Finding(name="hub", state="warn", found=f"{address} does not answer: {error}", remedy=remedy)
    return Finding(name="hub", state="ok", found=address)
