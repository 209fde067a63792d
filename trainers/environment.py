"""environment.json: on what a run ran, so that somebody else can have the same, and see where they have not."""

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from eval_hooks.masking import masked, masked_words
from eval_hooks.ranks import from_all, place
from trainers.machine import Chosen, as_data
from trainers.recipe import Recipe

STACK = ("tempering", "torch", "transformers", "tokenizers", "trl", "peft", "accelerate", "deepspeed", "datasets",
         "safetensors", "wandb", "numpy", "torchao", "bitsandbytes", "vllm", "flash-attn", "liger-kernel")  # fmt: skip
LAUNCHED_BY = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES",
               "NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID")  # fmt: skip
"""Variables that say how a rank was started, or change what it computes."""
FAMILIES = ("ACCELERATE_", "NCCL_", "TORCH_NCCL_", "GLOO_", "PYTORCH_", "TORCH_ALLOW_TF32", "NVIDIA_TF32", "CUBLAS_",
            "CUDNN_", "DEEPSPEED_", "DS_", "FLASH_ATTENTION_")  # fmt: skip
"""Beginnings of the names of others that do."""


def environment(recipe: Recipe, arguments: Any, chosen: Chosen) -> dict[str, Any]:
    """Versions, machine, hosts of all ranks, commits, seeds: what a run ran on, and what was chosen by it.

    Called on every rank.
    """
    import torch

    on_gpu = torch.cuda.is_available()
    rank, ranks = place()
    hosts = from_all({rank: platform.node()})
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "host": platform.node(),
        "hosts": [hosts[number] for number in sorted(hosts)],
        "packages": {name: _version(name) for name in STACK},
        "cpu": processor(),
        "cpu_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "driver": _driver() if on_gpu else None,
        "cuda": torch.version.cuda,
        "nccl": ".".join(map(str, torch.cuda.nccl.version())) if on_gpu else None,
        "world_size": ranks,
        "chosen": as_data(chosen),
        "seeds": seeds(recipe, arguments),
        "code": git_state(Path(__file__).parent),
        "work": git_state(Path.cwd()),
        "tf32": tf32(arguments),
        "variables": variables(os.environ),
        "command": masked_words(sys.argv),
    }


def variables(given: Mapping[str, str]) -> dict[str, str]:
    """Those of the environment that say how a rank was started, or change what it computes; secrets masked."""
    names = [name for name in sorted(given) if name in LAUNCHED_BY or name.startswith(FAMILIES)]
    return dict(masked({name: given[name] for name in names}))


def tf32(arguments: Any) -> dict[str, Any]:
    """Whether fp32 products are computed in 19 bits: what was asked for, of matrices (highest: no), of convolutions."""
    import torch

    convolutions = None
    with suppress(RuntimeError):  # where somebody has set it by torch's newer names
        convolutions = torch.backends.cudnn.allow_tf32
    asked = getattr(arguments, "tf32", None)
    return {"asked": asked, "matmul": torch.get_float32_matmul_precision(), "convolutions": convolutions}


def seeds(recipe: Recipe, arguments: Any) -> dict[str, Any]:
    """Everything that draws at random: the trainer, the order of rows, each data source."""
    drawn = {
        f"{side}.{spec.name}": spec.config.seed
        for side in ("train", "validation")
        for spec in getattr(recipe.data, side)
        if hasattr(spec.config, "seed")
    }
    own = {"train": arguments.seed, "order": getattr(arguments, "data_seed", None), "mix": recipe.data.seed}
    return {**own, "sources": drawn}


def git_state(folder: Path) -> dict[str, Any] | None:
    """The git checkout that a folder lies in: its root, commit, and sha256 of what differs from it; None elsewhere.

    The hash is over `git diff HEAD` and the Python files that git does not know yet; `diff` is null where there is
    neither. Run folders are full of other files that git does not know.
    """
    root = _git(folder, "rev-parse", "--show-toplevel")
    if not root:
        return None
    top = Path(root.decode().strip())
    difference = _git(top, "diff", "--binary", "HEAD") or b""
    names = (_git(top, "ls-files", "--others", "--exclude-standard", "-z", "*.py") or b"").decode().split("\0")
    untracked = [name for name in sorted(filter(None, names)) if "checkpoints" not in Path(name).parts]
    digest = hashlib.sha256(difference)
    for name in untracked:
        digest.update(name.encode() + b"\0" + (top / name).read_bytes())
    commit = (_git(top, "rev-parse", "--verify", "HEAD") or b"").decode().strip() or None
    return {"root": str(top), "commit": commit, "diff": digest.hexdigest() if difference or untracked else None}


def _git(folder: Path, *words: str) -> bytes | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _driver() -> str | None:
    """The NVIDIA driver's version."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return next(iter(done.stdout.split()), None)


def processor() -> str:
    """The processor's name, as Linux says it; elsewhere what Python knows."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text("utf-8", errors="replace").splitlines() if file.is_file() else []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def same_machine(then: Mapping[str, Any]) -> str:
    """What of a run's environment could make the same arithmetic round otherwise here; empty where nothing could."""
    import torch

    now = {
        "processor": processor(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        **{name: _version(name) for name in ("torch", "transformers", "peft")},
    }
    before = {"processor": then.get("cpu"), "gpus": then.get("gpus"), **then.get("packages", {})}
    return ", ".join(f"{key} {before.get(key)}" for key, value in now.items() if before.get(key) != value)
