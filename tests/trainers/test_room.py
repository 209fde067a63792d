"""What a checkpoint takes: by hand, from shards too, and as real DeepSpeed writes it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from launch.load import load
from tests.trainers.conftest import recipe, recipe_file, tiny_folder  # noqa: F401 - fixtures
from trainers import TrainError
from trainers.checkpoints.room import Engine, engine_of, room
from trainers.keeping import disk
from trainers.machine import Machine
from trainers.memory.foresee import Foresight
from trainers.memory.optimizers import OPTIMIZERS, kept
from trainers.memory.outline import Outline
from trainers.memory.states import SETUPS, Machines, Precision, states
from trainers.models import load_tokenizer
from trainers.recipe import Recipe

Load = Callable[..., Recipe]
LORA = ("adapter.kind=lora", "adapter.r=2")


class Tied(torch.nn.Module):
    """60 tied weights under two names, 40 others: 100, of which a quarter or all are trained."""

    def __init__(self, trained: bool = True, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.embed = torch.nn.Parameter(torch.zeros(60, dtype=dtype), requires_grad=trained)
        self.head = self.embed
        self.more = torch.nn.Parameter(torch.zeros(15, dtype=dtype), requires_grad=trained)
        self.lora = torch.nn.Parameter(torch.zeros(25, dtype=torch.float32))


@pytest.mark.parametrize(
    ("zero", "half", "weights", "resuming"),
    [
        ("null", False, 100 * 4, 100 * 8),
        ("null", True, 100 * 4, 100 * 8),  # autocast: weights and moments stay in fp32
        ("zero1", False, 160 * 4, 100 * 12 + 100 * 4),
        ("zero2", True, 160 * 2, 100 * 12 + 100 * 2),
        ("zero3", True, 100 * 2, 100 * 12),
        ("zero3-offload", False, 100 * 4, 100 * 12),
    ],
)
def test_all_weights_by_hand(recipe: Load, zero: str, half: bool, weights: int, resuming: int) -> None:  # noqa: F811
    """Adam's 8 bytes; under DeepSpeed 4 more for the fp32 copy, and before ZeRO-3 the model again, tied weights twice."""
    found = room(recipe(f"deepspeed={zero}"), Tied(), half)
    assert (found.weights, found.resuming) == (weights, resuming)


@pytest.mark.parametrize(
    ("zero", "half", "weights", "resuming"),
    [
        ("null", True, 25 * 4, 25 * 8),
        ("zero1", True, 25 * 2, 25 * 12 + 25 * 2 + 60 * 2),
        ("zero2", False, 25 * 4, 25 * 12 + 25 * 4 + 60 * 4),
        ("zero3", True, 25 * 2, 25 * 12),
    ],
)
def test_a_lora_by_hand(recipe: Load, zero: str, half: bool, weights: int, resuming: int) -> None:  # noqa: F811
    """25 of 100 weights are trained; of the frozen ones DeepSpeed leaves the tied 60 in, by their second name."""
    found = room(recipe(f"deepspeed={zero}", *LORA), Tied(trained=False), half)
    assert (found.weights, found.resuming) == (weights, resuming)


@pytest.mark.parametrize(
    ("optim", "alone", "beside"),
    [("sgd", 0, 4), ("adafactor", 0, 4), ("adamw_8bit", 2, 6), ("lion_32bit", 4, 8), ("lion_8bit", 1, 5),
     ("adagrad", 4, 8), ("ademamix", 12, 16), ("adamw_torch_fused", 8, 12)],
)  # fmt: skip
def test_other_optimizers_by_hand(recipe: Load, optim: str, alone: int, beside: int) -> None:  # noqa: F811
    """Bytes a parameter without DeepSpeed, and with its fp32 copy."""
    plain, zero = recipe(f"train.optim={optim}"), recipe(f"train.optim={optim}", "deepspeed=zero3")
    assert room(plain, Tied(), False).resuming == alone * 100
    assert room(zero, Tied(), True).resuming == beside * 100


def test_every_optimizer_is_one_of_transformers() -> None:
    """Muon is none of them yet; moments follow bf16 weights where nobody copies them."""
    from transformers.training_args import OptimizerNames

    assert OPTIMIZERS.keys() <= {name.value for name in OptimizerNames}
    assert [kept(name).bytes(2) for name in ("adamw_torch", OptimizerNames.SGD, "adamw_8bit")] == [4, 0, 2]


def test_of_a_sharded_model_the_whole_is_counted(
    recipe: Load,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Under ZeRO-3 a rank holds nothing of a parameter before it is gathered: 2 + 12 bytes of 10^9 are 14 GB, not 0."""
    model = torch.nn.Module()
    model.p = torch.nn.Parameter(torch.empty(0))
    model.p.ds_numel = 10**9  # type: ignore[union-attr,assignment]
    made = recipe("deepspeed=zero3", "train.save_total_limit=1")
    assert room(made, model, half=True).whole == 14e9
    monkeypatch.setattr("trainers.keeping.shutil.disk_usage", lambda folder: SimpleNamespace(free=27e9))
    with pytest.raises(TrainError, match="14 GB each; at most 28 GB at a time, and 27 GB are free"):
        disk(made, model, tmp_path, half=True)


def test_what_is_only_kept_as_the_best_is_weights(recipe: Load) -> None:  # noqa: F811
    assert room(recipe("train.save_only_model=true", "deepspeed=zero2"), Tied(), False).resuming == 0


def test_a_configuration_says_what_is_in_16_bits(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    for text, half, due in (
        ('{"zero_optimization": {"stage": 3}, "bf16": {"enabled": "auto"}}', True, Engine(stage=3, half=True)),
        ('{"zero_optimization": {"stage": 2}, "bf16": {"enabled": "auto"}}', False, Engine(stage=2, half=False)),
        ('{"zero_optimization": {"stage": 2}}', True, Engine(stage=2, half=False)),
        ('{"fp16": {"enabled": true}}', True, Engine(stage=0, half=True)),
    ):
        file.write_text(text)
        assert engine_of(file, half) == due


def test_moments_beside_deepspeeds_copy_are_in_fp32(recipe: Load) -> None:  # noqa: F811
    """1000 bf16 weights: alone 4 bytes of moments, beside the copy 4 + 8; on 4 ranks a quarter of 12000."""
    made = recipe("model.dtype=bfloat16")
    found = Foresight(made, Machines(ranks=4), load_tokenizer(made.model), 0.0, Machine(gpu="a card", bf16=True))
    precision = found.precision(found.outline)
    assert (precision.state, precision.copied) == (4, 8)
    counts = type(found.counts)(**{**vars(found.counts), "trained": 1000, "frozen": 0, "largest": 100})
    by_name = {setup.name: states(setup, counts, Machines(ranks=4), precision).optimizer for setup in SETUPS}
    assert (by_name["none"], by_name["zero1"], by_name["zero2"], by_name["zero3"]) == (4000, 3000, 3000, 3000)
    sgd = Precision(frozen=2, trained=2, engine=2, state=0, copied=0)
    assert states(SETUPS[2], counts, Machines(ranks=4), sgd).optimizer == 1000


@pytest.mark.soak
@pytest.mark.parametrize("zero", ["zero1", "zero2", "zero3"])
@pytest.mark.parametrize("words", [(), ("train.bf16=true",), ("train.bf16=true", *LORA)])
def test_deepspeeds_own_files_are_as_large(recipe_file: Path, zero: str, words: tuple[str, ...]) -> None:  # noqa: F811
    """Within 3 %, or what headers take of a LoRA of 2,000 weights."""
    words = (f"deepspeed={zero}", *words, "eval.retain=[]", "train.max_steps=1", "eval.every=1")
    run = [sys.executable, "-m", "launch", "train", str(recipe_file), *words, "--run-dir", "run"]
    assert subprocess.run(run, check=False).returncode == 0
    files = [file for file in Path("run/checkpoints/checkpoint-1").rglob("*") if file.suffix in (".pt", ".safetensors")]
    made = load(str(recipe_file), words)
    with Outline(made.model, made.adapter, load_tokenizer(made.model)).model(torch.float32) as model:
        due = room(made, model, half="train.bf16=true" in words).whole
    assert sum(file.stat().st_size for file in files) == pytest.approx(due, rel=0.03, abs=60_000)
