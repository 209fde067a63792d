"""environment.json says on what a run ran, and what of it is different here."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch

from trainers.environment import environment, git_state, same_machine, tf32, variables
from trainers.recipe import Recipe


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", "-C", folder, *who, *words], check=True, capture_output=True)


def test_commit_and_hash_of_what_differs_from_it(tmp_path: Path) -> None:
    """Null where nothing differs; a changed file and a new module both count; a run folder's files do not."""
    git(tmp_path, "init")
    (tmp_path / "a.py").write_text("1\n")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-m", "first")
    clean = git_state(tmp_path)
    assert clean and len(clean["commit"]) == 40 and clean["diff"] is None and clean["root"] == str(tmp_path.resolve())
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/metrics.jsonl").write_text("{}")
    assert git_state(tmp_path / "runs") == clean
    (tmp_path / "a.py").write_text("2\n")
    changed = git_state(tmp_path)
    (tmp_path / "b.py").write_text("3\n")
    more = git_state(tmp_path)
    assert changed and more and clean["commit"] == changed["commit"] == more["commit"]
    assert len({clean["diff"], changed["diff"], more["diff"]}) == 3


def test_outside_of_git_there_is_no_commit(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None


def test_versions_hosts_threads_and_seeds(recipe: Callable[..., Recipe]) -> None:
    words = ("data.train=[{source: facts, people: 2, facts: 2, seed: 5}]", "data.seed=3")
    found = environment(recipe(*words), SimpleNamespace(seed=7, data_seed=9), {})
    assert found["seeds"] == {"train": 7, "order": 9, "mix": 3, "sources": {"train.facts": 5}}
    assert found["hosts"] == [found["host"]] and found["world_size"] == 1
    assert found["packages"]["torch"] == torch.__version__ and found["cpu_threads"] == torch.get_num_threads()
    assert found["packages"]["vllm"] is None or isinstance(found["packages"]["vllm"], str)
    keys = {"driver", "nccl", "cuda", "gpus", "code", "work", "python", "platform", "cpu", "command", "variables"}
    assert keys <= found.keys() and (torch.cuda.is_available() or found["nccl"] is None)


def test_what_could_round_otherwise_is_named(recipe: Callable[..., Recipe]) -> None:
    found = environment(recipe(), SimpleNamespace(seed=0), {})
    assert same_machine(found) == ""
    assert "processor Abacus" in same_machine({**found, "cpu": "Abacus"})
    assert "torch 1.0" in same_machine({**found, "packages": {**found["packages"], "torch": "1.0"}})


def test_variables_that_change_what_is_computed_are_kept_and_secrets_are_not() -> None:
    """Whole families, as they come with new releases; what belongs to nobody's arithmetic stays out."""
    given = {"ACCELERATE_MIXED_PRECISION": "bf16", "NCCL_ALGO": "Ring", "PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:1",
             "PYTORCH_ALLOC_CONF": "x", "NVIDIA_TF32_OVERRIDE": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "RANK": "1",
             "HOME": "/root", "HF_TOKEN": "hf_abcdefghijklmnopqrstuvwxyz012345"}  # fmt: skip
    found = variables(given)
    assert found == {name: value for name, value in given.items() if name not in ("HOME", "HF_TOKEN")}


def test_tf32_is_what_torch_does() -> None:
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        assert tf32(SimpleNamespace(tf32=True))["matmul"] == "high" and tf32(SimpleNamespace(tf32=True))["asked"]
    finally:
        torch.set_float32_matmul_precision(before)
