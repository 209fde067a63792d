"""Measuring leaves training as it is: with and without evaluations a run has the same losses and weights, to the bit."""

from pathlib import Path

import pytest
import torch

from eval_hooks import CheckpointEval, EvalError
from eval_hooks.gather import whole_weights
from tests.eval_hooks.test_callback import bare
from tests.eval_hooks.test_shares import processes
from tests.trainers.conftest import weights
from tests.trainers.test_ranks import run
from tests.trainers.test_sft import logged
from trainers import TrainError
from trainers.arguments import training_arguments

WORDS = ["adapter={kind: lora, r: 2, lora_dropout: 0.2}", "train.optim=sgd", "train.learning_rate=0.1"]
MEASURED = [
    "eval.every=1",
    "eval.order=waves",
    "eval.retain=[{task: pocket, variant: olmes_cf, shots: 0, limit: 80}]",
    "eval.target=[{task: sql, n: 3, max_new_tokens: 4}]",
    "data.validation=[{from: train, fraction: 0.2}]",
]
BARE = ["eval.retain=[]", "data.validation=[{from: train, fraction: 0.2}]"]


def test_two_ranks_of_zero_3_train_bit_for_bit_as_without_being_measured(recipe_file: Path) -> None:
    """With dropout, checkpointed activations, a generative task, scoring in waves and a held-out loss at every step."""
    words = [*WORDS, "deepspeed=zero3", "train.activation_checkpointing=true"]
    with_, without = (run(recipe_file, name, [*words, *more], 2) for name, more in (("a", MEASURED), ("b", BARE)))
    assert (with_ / "evals/step-2/sql.parquet").is_file() and not (without / "evals/step-2/sql.parquet").is_file()
    assert logged(with_, "train/loss") == logged(without, "train/loss")
    a, b = (weights(folder / "checkpoints" / "checkpoint-4") for folder in (with_, without))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


GATHERED = """
import json, os
import torch, deepspeed
import torch.distributed as dist
from eval_hooks import gather
from tests.conftest import tiny_llama

deepspeed.init_distributed(dist_backend="gloo")
config = {"train_micro_batch_size_per_gpu": 1, "zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0},
          "zero_force_ds_cpu_optimizer": False, "zero_allow_untested_optimizer": True}
model = tiny_llama()
whole = model.state_dict()["model.layers.0.mlp.up_proj.weight"].clone()
ids = torch.tensor([[5, 6, 7, 8]])
plain = model(ids).logits
engine, optimizer, _, _ = deepspeed.initialize(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), config=config)
weight = engine.module.model.layers[0].mlp.up_proj.weight
assert weight.numel() == 0
if dist.get_rank() == 0:
    gather.free_memory = lambda model: 10**4 if os.environ["TIGHT"] == "1" else 10**12  # one rank decides for both
with gather.whole_weights(engine.module, optimizer):
    inside = weight.numel()
    if inside:
        assert torch.equal(weight, whole)
        with torch.no_grad():
            for _ in range(2 + dist.get_rank()):  # the ranks need not call alike
                assert torch.allclose(engine.module(ids).logits, plain, atol=1e-5)
assert weight.numel() == 0 and inside == (0 if os.environ["TIGHT"] == "1" else whole.numel()), inside
loss = engine(ids, labels=ids).loss  # training goes on, with its hooks
engine.backward(loss)
engine.step()
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.parametrize("tight", ["0", "1"])
def test_generation_under_zero_3_gathers_the_weights_once_where_they_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tight: str
) -> None:
    monkeypatch.setenv("TIGHT", tight)
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    processes(tmp_path, GATHERED, 2)


def test_without_zero_3_nothing_is_gathered() -> None:
    model = torch.nn.Linear(2, 2)
    with whole_weights(model, torch.optim.SGD(model.parameters())):
        assert model.weight.numel() == 4


def test_fsdp_is_refused_by_name(recipe, tokenizer, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Nobody has tested that its sharded weights are gathered alike on all ranks while they are measured."""
    with pytest.raises(TrainError, match=r"train.fsdp.*deepspeed: zero3"):
        training_arguments(recipe("train.fsdp=full_shard"))
    callback = CheckpointEval(retain=[{"task": "pocket", "shots": 0, "limit": 4}], out=tmp_path / "run")
    trainer = bare(tokenizer, tmp_path, callback, steps=1)
    trainer.args.fsdp = ["full_shard"]
    with pytest.raises(EvalError, match="FSDP"):
        callback.on_train_begin(trainer.args, trainer.state, trainer.control, model=trainer.model,
                                processing_class=tokenizer)  # fmt: skip
