"""What a recipe leaves to the machine, worked out for machines that are not here; what the recipe says wins."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from eval_hooks.files import read_json
from eval_hooks.scoring.pass_size import pass_size
from launch.load import load
from launch.recipes import recipes_dir
from trainers import TrainError, machine
from trainers.arguments import starts_ranks, training_arguments
from trainers.machine import Machine, bf16, choose, choose_here, had, multiplies_bf16, own_machine, planned, weakest
from trainers.memory import lighter
from trainers.memory.foresee import CUDA, SAFE, Foresight
from trainers.memory.states import Machines
from trainers.models import load_tokenizer
from trainers.recipe import Recipe
from trainers.run import train

Load = Callable[..., Recipe]
GIB = 2**30
H100 = Machine(gpu="H100", bf16=True, memory=80 * GIB)
T4 = Machine(gpu="T4", bf16=False, memory=15 * GIB)
NATIVE, PLAIN = Machine(bf16=True), Machine(bf16=False)
LLAMA_8B = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 1, "num_attention_heads": 32,
            "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192}  # fmt: skip
"""Its width and its head, one of its layers: counting all 32 takes time."""
WIDE = {"hidden_size": 4096, "intermediate_size": 16384, "num_hidden_layers": 2, "num_attention_heads": 16,
        "num_key_value_heads": 8, "vocab_size": 49152}  # fmt: skip
"""What its layers keep is most of what it takes."""


def never() -> Any:
    raise AssertionError("nothing is to be foreseen")


@pytest.mark.parametrize(
    ("on", "due", "why"),
    [(H100, True, "H100 has bf16 of its own"), (T4, False, "T4 has no bf16 of its own; train.fp16=true"),
     (NATIVE, True, "this CPU has bf16 of its own"), (PLAIN, False, "in software it takes several times as long")],
)  # fmt: skip
def test_bf16_where_the_machine_multiplies_it_and_what_the_recipe_says_wins(on: Machine, due: bool, why: str) -> None:
    assert bf16({}, on).value is due and why in bf16({}, on).reason
    for said in (True, False):
        assert bf16({"bf16": said}, on) == machine.Choice(value=said, reason="the recipe says so")
    assert not bf16({"fp16": True}, on).value and bf16({"fp16": False}, on).value is due


@pytest.mark.parametrize(
    ("system", "has", "due"),
    [
        pytest.param("linux", {"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False, id="Ice Lake"),
        pytest.param("linux", {"avx512_bf16": True}, True, id="Zen 4"),
        pytest.param("linux", {"amx_bf16": True, "amx_tile": True}, True, id="Sapphire Rapids"),
        pytest.param("linux", {"neon": True, "bf16": True}, True, id="Graviton 3"),
        pytest.param("linux", {"neon": True, "bf16": False, "sve_max_length": 0}, False, id="Graviton 2"),
        pytest.param("darwin", {"neon": True, "bf16": True}, False, id="M2, whose bf16 torch does not use"),
        pytest.param("linux", {}, False, id="unknown"),
    ],
)
def test_which_cpus_multiply_bf16(system: str, has: dict[str, Any], due: bool) -> None:
    assert multiplies_bf16(has, system) is due


@pytest.mark.parametrize(("major", "name", "due"), [(7, "Tesla T4", False), (7, "V100", False), (8, "A100", True)])
def test_a_card_that_emulates_bf16_has_none_of_its_own(
    major: int, name: str, due: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch.cuda.is_bf16_supported says yes to all three."""
    asked: list[Any] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True: True)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: SimpleNamespace(name=name, major=major))
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: asked.append(device) or (10 * GIB, 16 * GIB))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 3 * GIB)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_machine() == Machine(gpu=name, bf16=due, memory=13 * GIB)
    assert asked == [torch.device("cuda", 3)]
    assert own_machine(use_cpu=True).gpu == ""


def test_ranks_take_what_the_weakest_has(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ranks of different memory, on two nodes: both see the same machine, so both choose alike."""
    two = {0: H100, 1: Machine(gpu="H100", bf16=True, memory=30 * GIB)}
    assert weakest(two) == weakest({0: two[0], 1: two[1]}) == Machine(gpu="H100", bf16=True, memory=30 * GIB)
    assert not weakest({0: H100, 1: T4}).bf16
    seen = []
    for own, other in ((0, 1), (1, 0)):
        monkeypatch.setattr(machine, "own_machine", lambda use_cpu, own=own: two[own])
        monkeypatch.setattr(machine, "place", lambda own=own: (own, 2))
        monkeypatch.setattr(machine, "from_all", lambda mine, other=other: {**mine, other: two[other]})
        seen.append(choose(recipe("train.use_cpu=null"), machine.machine_of_all(recipe()), never))
    assert seen[0] == seen[1] and seen[0]["batch_tokens"].reason.find("30.0 GiB") > 0


@pytest.fixture
def of(tiny_folder: Path, tmp_path: Path, recipe: Load) -> Callable[..., Recipe]:
    """A recipe for a GPU, on a model of these sizes of which there are no weights."""

    def made(config: dict[str, int], *words: str) -> Recipe:
        LlamaConfig(**config).save_pretrained(tmp_path / "model")
        for file in (*tiny_folder.glob("token*.json"), tiny_folder / "chat_template.jinja"):
            (tmp_path / "model" / file.name).write_text(file.read_text())
        return recipe(f"model.path={tmp_path / 'model'}", "adapter.kind=lora", "adapter.r=8",
                      "adapter.target_modules=all-linear", "train.use_cpu=null", "train.max_length=512",
                      "train.global_batch_size=8", *words)  # fmt: skip

    return made


def foresight(made: Recipe, on: Machine) -> Foresight:
    return Foresight(made, Machines(ranks=1), load_tokenizer(made.model), CUDA, on)


def test_activations_are_computed_anew_only_where_a_gpu_would_be_short(of: Callable[..., Recipe]) -> None:
    """By the plan's own arithmetic: just enough memory and just too little; the reason has both numbers."""
    made = of(WIDE, "eval.retain=[]")
    plenty = foresight(made, H100)
    without = plenty.own_row.total
    assert not plenty.own_row.checkpointing and plenty.own_checkpointing.value is False
    just, short = (Machine(gpu="x", bf16=True, memory=int(without / SAFE) + n) for n in (1, -(2**20)))
    assert choose(made, just, lambda: foresight(made, just))["activation_checkpointing"].value is False
    found = choose(made, short, lambda: foresight(made, short))["activation_checkpointing"]
    assert found.value is True and re.search(r"foreseen to take [\d.]+ GiB of [\d.]+ GiB without", found.reason)
    assert foresight(made, short).own_row.total < without


def test_a_run_that_ran_out_is_told_to_compute_activations_anew(
    of: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it did not, by the machine's own choice, and that alone takes clearly less."""
    monkeypatch.setattr(lighter, "_memory", lambda per_node: (True, 80 * GIB))
    monkeypatch.setattr("trainers.memory.foresee.CUDA", 0)
    assert re.search(
        r" of 80.0 GiB; train.activation_checkpointing=true [\d.]+ [MG]iB;", lighter.lighter(of(WIDE, "eval.retain=[]"))
    )
    assert "activation_checkpointing" not in lighter.lighter(
        of(WIDE, "eval.retain=[]", "train.activation_checkpointing=true")
    )


def test_what_the_recipe_says_of_checkpointing_wins_under_either_name(recipe: Load) -> None:
    for name in ("activation_checkpointing", "gradient_checkpointing"):
        for said in (True, False):
            made = recipe(f"train.{name}={str(said).lower()}", "train.use_cpu=null")
            assert choose(made, T4, never)["activation_checkpointing"] == machine.Choice(
                value=said, reason="the recipe says so"
            )
    assert choose(recipe(), PLAIN, never)["activation_checkpointing"].value is False


def test_what_cannot_be_foreseen_is_computed_anew(recipe: Load) -> None:
    found = choose(recipe("train.use_cpu=null"), T4, never)["activation_checkpointing"]
    assert found.value is True and found.reason == "memory could not be foreseen (AssertionError)"


def test_a_plan_for_a_gpu_chooses_as_a_run_on_it_does(of: Callable[..., Recipe]) -> None:
    """80 GiB planned for; a card of 80 shows 79.1. And the plan's evaluation is of the passes that it says."""
    made = of(LLAMA_8B, "model.dtype=bfloat16")
    on, here = planned(made, 80 * GIB), Machine(gpu="H100", bf16=True, memory=int(79.1 * GIB))
    plan, run = (choose(made, one, lambda one=one: foresight(made, one)) for one in (on, here))
    assert {name: one.value for name, one in plan.items()} == {name: one.value for name, one in run.items()} == {
        "bf16": True, "activation_checkpointing": False, "batch_tokens": 4096, "logit_bytes": GIB}  # fmt: skip
    small, large = foresight(made, T4).own_row.evaluation, foresight(made, on).own_row.evaluation
    assert pass_size(T4.memory, 4096).tokens == 1024 and large > 2 * small
    assert planned(load(str(made.file), ["train.use_cpu=true"]), 80 * GIB) == own_machine(use_cpu=True)


def test_the_plan_says_what_a_run_would_choose(recipe_file: Path) -> None:
    from typer.testing import CliRunner

    from launch.cli import app

    done = CliRunner().invoke(app, ["plan", str(recipe_file), "--gpu-memory", "40GiB", "train.use_cpu=null"])
    assert done.exit_code == 0, done.output
    assert "machine   bf16 true: a GPU of today has bf16 of its own" in done.output
    assert "machine   activation_checkpointing false: foreseen to take" in done.output
    assert re.search(r"machine   batch_tokens 512: width \d+; 2% of 40.0 GiB", done.output)


def test_choice_and_reason_are_on_the_first_screen_and_in_environment_json(
    recipe: Load, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a run that is gone on with on a machine that would choose otherwise keeps its precision, and says so."""
    monkeypatch.setattr(machine, "own_machine", lambda use_cpu=False: PLAIN)
    made, folder = recipe("train.max_steps=2", "eval.every=1"), tmp_path / "run"
    assert train(made, run_dir=folder) == 0
    said = capsys.readouterr().err
    assert "machine   bf16 false: this CPU has no bf16 of its own" in said
    assert "machine   batch_tokens 512: measured on a CPU" in said
    assert said.index("machine   bf16") < said.index("model     ")
    kept = read_json(folder / "environment.json")["chosen"]
    assert kept["bf16"] == {"value": False, "reason": bf16({}, PLAIN).reason}
    assert kept["batch_tokens"]["value"] == 512 and kept["logit_bytes"]["value"] == 64 * 2**20
    assert read_json(folder / "evals/step-0/summary.json")["pass_size"]["tokens"] == 512
    monkeypatch.setattr(machine, "own_machine", lambda use_cpu=False: NATIVE)
    assert train(recipe("train.max_steps=3", "eval.every=1"), run_dir=folder, resume=True) == 0
    assert "machine   bf16 false: as the run began; by itself it would be true: this CPU has" in capsys.readouterr().err
    assert read_json(folder / "recipe.resolved.json")["arguments"]["bf16"] is False
    assert "autocast" not in read_json(folder / "evals/step-3/summary.json")["precision"]


@pytest.mark.parametrize(
    ("content", "due"),
    [({"arguments": {"bf16": True}}, True), ({"arguments": {"bf16": False}}, False), ({}, None),
     ({"arguments": [1]}, None), ({"arguments": {"bf16": "yes"}}, None)],
)  # fmt: skip
def test_what_a_run_began_with(tmp_path: Path, content: dict[str, Any], due: bool | None) -> None:
    (tmp_path / "recipe.resolved.json").write_text(json.dumps(content))
    assert had(tmp_path) is due and had(None) is None and had(tmp_path / "nowhere") is None


def test_a_machine_with_bf16_trains_in_it_without_being_told(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    for on in (NATIVE, PLAIN):
        monkeypatch.setattr(machine, "own_machine", lambda use_cpu=False, on=on: on)
        assert training_arguments(recipe()).bf16 is on.bf16
        assert (
            training_arguments(recipe("train.bf16=true")).bf16
            and not training_arguments(recipe("train.bf16=false")).bf16
        )


def test_ranks_on_gpus_can_agree_before_the_arguments_are_made(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Communication is brought up as transformers does, with the recipe's own back end and patience."""
    from datetime import timedelta

    told: list[dict[str, Any]] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: False)
    monkeypatch.setattr("accelerate.PartialState", lambda **given: told.append(given))
    monkeypatch.setenv("WORLD_SIZE", "2")
    starts_ranks(recipe("train.use_cpu=null", "train.ddp_timeout=60"))
    assert told == [{"backend": None, "timeout": timedelta(seconds=60)}]


def test_what_cannot_be_loaded_is_a_request_error_on_every_rank(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "own_machine", lambda use_cpu=False: T4)
    with pytest.raises(TrainError, match="no such folder"):
        choose_here(recipe("model.path=./nowhere", "train.use_cpu=null"))


def test_shipped_recipes_leave_precision_to_the_machine() -> None:
    """So that the quickstart takes no longer on a CPU that computes bf16 in software."""
    files = sorted(recipes_dir().rglob("*.yaml"))
    wrong = [
        file.name for file in files if re.search(r"\b(bf16|fp16|activation_checkpointing):", file.read_text("utf-8"))
    ]
    assert files and not wrong


def test_doctor_says_what_a_run_would_compute_in(monkeypatch: pytest.MonkeyPatch) -> None:
    from launch import doctor

    for on, word in (
        (PLAIN, "fp32: this CPU has no bf16"),
        (T4, "fp32: T4 has no bf16"),
        (H100, "bf16: H100 has bf16"),
    ):
        monkeypatch.setattr(machine, "own_machine", lambda on=on: on)
        assert doctor.precision().found.startswith(word) and doctor.precision().state == "ok"
    assert any(finding.name == "precision" for finding in doctor.examine(ranks=False))
