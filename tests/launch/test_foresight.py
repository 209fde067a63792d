"""temper plan: what a person types, and the lines that come."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app
from launch.plan import plan
from launch.problems import RecipeError
from launch.quantity import asked, memory
from tests.trainers.conftest import recipe_file, tiny_folder  # noqa: F401 - fixtures
from trainers.memory.text import aligned, duration, number, size
from trainers.recipe import Recipe

Load = Callable[..., Recipe]


@pytest.mark.parametrize(
    ("text", "amount"),
    [("80GiB", 80 * 2**30), ("80GB", 80 * 10**9), ("24.5 GiB", int(24.5 * 2**30)), ("512mib", 2**29), ("1TB", 10**12)],
)
def test_memory_as_people_write_it(text: str, amount: int) -> None:
    assert memory(text, "--gpu-memory") == amount


@pytest.mark.parametrize(
    ("text", "message"),
    [("80", "the unit is missing; write --gpu-memory 80GiB"), ("lots", "a number and a unit are due"),
     ("80XB", "no unit 'XB'; there is: GB, GiB"), ("0GiB", "must be above 0"), ("-1GiB", "a number and a unit are due"),
     ("", "a number and a unit are due")],
)  # fmt: skip
def test_other_memory_is_refused_with_the_remedy(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        memory(text, "--gpu-memory")


def test_both_options_are_refused_at_once() -> None:
    done = CliRunner().invoke(app, ["plan", "quickstart", "--gpus", "0", "--gpu-memory", "lots"])
    assert done.exit_code == 2 and "--gpus 0: 1 or more are due" in done.output and "--gpu-memory 'lots'" in done.output
    assert asked(2, "1GiB") == 2**30


def test_amounts_in_words() -> None:
    assert [size(n) for n in (0, 3 * 2**20, 1.5 * 2**30)] == ["0 MiB", "3 MiB", "1.5 GiB"]
    assert [number(n) for n in (0, 0.004, 1.234, 80.06)] == ["0", "0.00", "1.23", "80.1"]
    assert [duration(s) for s in (0.0451, 3.2, 840, 19080, 181440)] == [
        "45.1 ms",
        "3.2 s",
        "14 min",
        "5.3 h",
        "2.1 days",
    ]
    assert aligned([("a", "bb"), ("ccc", "d")]) == ["a    bb", "ccc   d"]


@pytest.fixture
def printed(recipe_file: Path) -> Iterator[Callable[..., str]]:  # noqa: F811
    def run(*words: str) -> str:
        done = CliRunner().invoke(app, ["plan", str(recipe_file), *words])
        assert done.exit_code == 0, done.output
        return done.output

    yield run


def test_the_plan_begins_with_the_dry_runs_lines_and_says_the_rest(
    printed: Callable[..., str],
    recipe_file: Path,  # noqa: F811
) -> None:
    from launch.load import load

    text = printed("--gpus", "4", "--gpu-memory", "16GiB", "train.use_cpu=null")
    assert text.startswith(plan(load(str(recipe_file), ["train.use_cpu=null"])))
    heads = [line[:8].strip() for line in text.splitlines()]
    for head in (
        "memory",
        "trained",
        "counted",
        "batch",
        "source",
        "choose",
        "step",
        "time",
        "eval",
        "disk",
        "scaling",
    ):
        assert head in heads
    for name in ("none", "zero1", "zero2", "zero3", "zero2-offload", "zero3-offload"):
        assert re.search(rf"^all      {name} .* yes", text, re.MULTILINE)
        assert re.search(rf"^lora     {name} .* yes", text, re.MULTILINE)
    assert "estimate_zero2_model_states_mem_needs" in text and "estimate_zero3_model_states_mem_needs" in text
    assert "choose    deepspeed=null:" in text and "312 TFLOP/s a GPU x MFU 0.4" in text
    assert "eval      2 evaluations of" in text and "time      4 steps" in text
    assert [line.split()[0] for line in text.splitlines()[-3:]] == ["1", "2", "4"]


def test_where_nothing_fits_it_says_what_would(printed: Callable[..., str]) -> None:
    assert "choose    nothing fits; a LoRA with" in printed("--gpu-memory", "1MiB")


def test_epochs_need_rows_which_are_not_read(printed: Callable[..., str]) -> None:
    assert "counts epochs" in printed("train.max_steps=null", "train.num_train_epochs=2")
