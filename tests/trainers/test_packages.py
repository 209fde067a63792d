"""Packages that a recipe asks for and that are not there are named, with the remedy, before a folder is taken."""

from collections.abc import Callable
from pathlib import Path

import pytest

from trainers import TrainError
from trainers.recipe import Recipe
from trainers.run import train


def test_vllm_that_is_not_there_is_named_before_anything_is_loaded(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.packages.find_spec", lambda name: None)
    words = ("stage=rlvr", "method.name=grpo", "data.train=[{source: curriculum, n: 8, kinds: [sum]}]")
    with pytest.raises(TrainError, match=r"train.use_vllm: the package vllm is not installed; pip install"):
        train(recipe(*words, "train.use_vllm=true"), run_dir=Path("run"))
    assert not Path("run").exists()
