"""What the README shows is what there is: its table, its recipe, its commands, its method.

The lines for somebody else's trainer are run by tests/eval_hooks/test_drop_in.py.
"""

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from launch.cli import app
from launch.load import load
from launch.recipes import find_recipe
from tests.conftest import SMALL_VOCABULARY, tiny_llama
from trainers.catalog import METHODS, STAGES

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")


def block(kind: str) -> str:
    """The first code block of a kind."""
    found = re.search(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)
    assert found
    return found[1]


def table() -> str:
    """Stages and methods, as the README must print them."""
    head = ["| stage | for | method | what it minimises |", "|---|---|---|---|"]
    rows = [
        f"| {stage} | {STAGES[stage].about} | `{name}` | {method.about} |"
        for name, method in METHODS.items()
        for stage in method.stages
    ]
    return "\n".join([*head, *rows])


def test_the_table_of_methods_is_the_catalogs() -> None:
    printed = re.search(r"<!-- printed from trainers/catalog.py.*?-->\n(.*?)\n<!-- end -->", TEXT, re.DOTALL)
    assert printed and printed[1] == table(), f"put this between the markers:\n{table()}"


def test_the_recipe_is_valid(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(block("yaml"))
    recipe = load(str(tmp_path / "mine.yaml"))
    assert recipe.global_batch_size == 64
    assert recipe.data.train[0].columns == {"prompt": "question", "completion": "answer"}


def test_every_command_exists_and_every_recipe_named_is_shipped() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    named = set(re.findall(r"\btemper (\w+)", TEXT))
    assert named <= commands.keys() and len(named) >= 8
    for recipe in set(re.findall(r"temper train ([\w/-]+)", TEXT)) - {"RECIPE"}:
        assert find_recipe(recipe).is_file()
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", TEXT, re.MULTILINE)) <= targets


def test_the_picture_is_there() -> None:
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", TEXT):
        assert (ROOT / picture).is_file()


def method_of_your_own() -> tuple[str, str]:
    """The page's plugin and its recipe."""
    page = TEXT[TEXT.index("## A method of your own") : TEXT.index("## Adding to it")]
    found = [re.search(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("python", "yaml")]
    assert found[0] and found[1]
    return found[0][1], found[1][1]


def test_the_method_of_the_page_gives_its_number() -> None:
    """The token of logits (2, 1, 0, -1) and label 0: WGA with beta 1 is -.283444, with beta 0 -nll."""
    import torch

    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(method_of_your_own()[0], "page", "exec"), names)
    logp = torch.tensor([2.0, 1.0, 0.0, -1.0]).log_softmax(-1)[0].reshape(1, 1)
    assert names["loss"](logp, torch.ones(1, 1), names["WGA"]()).item() == pytest.approx(-0.283444, abs=1e-6)
    assert names["loss"](logp, torch.ones(1, 1), names["WGA"](beta=0.0)).item() == pytest.approx(-0.440190, abs=1e-6)


def test_the_method_of_the_page_trains_from_the_pages_recipe(
    tmp_path: Path, small_vocabulary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer

    from trainers.run import train

    tiny_llama(SMALL_VOCABULARY).save_pretrained(tmp_path / "model")
    AutoTokenizer.from_pretrained(small_vocabulary).save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEMPERING_CACHE", str(tmp_path / "cache"))
    plugin, recipe = method_of_your_own()
    (tmp_path / "wga.py").write_text(plugin)
    (tmp_path / "mine.yaml").write_text(recipe)
    words = [f"model.path={tmp_path / 'model'}", "train.max_steps=2", "train.global_batch_size=4", "eval.retain=[]",
             "train.use_cpu=true", "train.bf16=false", "track.wandb.mode=disabled", "train.logging_steps=1"]  # fmt: skip
    loaded = load("mine.yaml", words)
    try:
        assert train(loaded, run_dir=Path("run")) == 0
    finally:
        METHODS.pop("wga")
    assert (tmp_path / "run/metrics.jsonl").read_text().count("train/loss_forget") == 2
