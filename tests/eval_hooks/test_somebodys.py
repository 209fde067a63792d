"""Somebody else's trainer puts the best weights in at the end, starts anew in the same folder, shards its model."""

import warnings
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from transformers import EarlyStoppingCallback, TrainerCallback

from eval_hooks import CheckpointEval
from eval_hooks.errors import EvalError
from eval_hooks.files import read_json
from tests.eval_hooks.test_callback import POCKET, all_right, bare, summaries

pytestmark = pytest.mark.usefixtures("few_resamples")

FEW = {**POCKET, "limit": 8}

BEST: dict[str, Any] = {
    "load_best_model_at_end": True,
    "metric_for_best_model": "eval_loss",
    "eval_strategy": "steps",
    "eval_steps": 1,
    "save_strategy": "steps",
    "save_steps": 1,
    "learning_rate": 0.5,
}
"""A rate at which the loss rises, so that the first checkpoint is the best."""


class Weights(TrainerCallback):
    """A number of the weights when each summary was written, by step of the summary."""

    def __init__(self) -> None:
        self.model: Any = None
        self.of: dict[int, float] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.model = kwargs["model"]

    def note(self, summary: dict[str, Any]) -> None:
        self.of[summary["step"]] = self.sum()

    def sum(self) -> float:
        return float(sum(weight.double().abs().sum() for weight in self.model.parameters()))


@pytest.mark.parametrize("early", [False, True])
def test_the_best_weights_at_the_end_are_measured_under_their_own_step(
    tokenizer: Any, tmp_path: Path, early: bool
) -> None:
    """Of 4 steps the first is best. Without early stopping steps 4 and 1 are measured, each with its own weights."""
    seen, measure = Weights(), CheckpointEval(tasks=[FEW], out=tmp_path / "run", every=None)
    measure.on_summary = seen.note
    trainer = bare(tokenizer, tmp_path, measure, held_out=True, **BEST)
    trainer.callback_handler.callbacks.insert(0, seen)
    if early:
        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=1))
    trainer.train()
    best = int(str(trainer.state.best_model_checkpoint).rpartition("-")[2])
    assert best == 1
    assert sorted(summaries(tmp_path / "run")) == ([0, 1] if early else [0, 1, 4])
    assert seen.of[1] == pytest.approx(seen.sum(), rel=1e-12), "what is in the trainer now"
    if not early:
        assert seen.of[4] != pytest.approx(seen.of[1], rel=1e-9)


def test_a_second_run_into_the_same_folder_takes_nothing_over(small_tokenizer: Any, tmp_path: Path) -> None:
    """The first of 6 steps crosses its budget at step 2; the second of 4, with patience 2, must not count that."""
    budget = {"accuracy_drop": 0.1, "patience": 2, "action": "stop"}

    def run(steps: int) -> CheckpointEval:
        out = tmp_path / "run"
        measure = CheckpointEval(retain=[POCKET], out=out, every=2, budget=budget, on_summary=all_right(out))
        bare(small_tokenizer, tmp_path, measure, steps=steps).train()
        return measure

    run(6)
    first = summaries(tmp_path / "run")
    with pytest.warns(UserWarning, match="held an earlier run's evaluations; they are now in .*1-earlier-run"):
        second = run(2)
    assert second.stopped is None and sorted(summaries(tmp_path / "run")) == [0, 2]
    assert sorted(summaries(tmp_path / "run" / "aside" / "1-earlier-run")) == sorted(first)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()
    assert len([line for line in lines if '"eval/pocket/accuracy"' in line]) == 2
    assert len(read_json(tmp_path / "run" / "spending.json")["looks"]) == 1


def test_a_callback_trains_twice_and_a_folder_of_its_own_says_nothing(small_tokenizer: Any, tmp_path: Path) -> None:
    measure = CheckpointEval(tasks=[FEW], out=tmp_path / "run")
    trainer = bare(small_tokenizer, tmp_path, measure, steps=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "held an earlier")
        trainer.train()
    with pytest.warns(UserWarning, match="held an earlier"):
        trainer.train()
    assert sorted(summaries(tmp_path / "run")) == [0, 1]


@pytest.mark.parametrize("kind", [DistributedType.FSDP, DistributedType.MEGATRON_LM])
def test_sharding_that_accelerates_own_configuration_switched_on_is_refused(
    small_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: DistributedType
) -> None:
    trainer = bare(small_tokenizer, tmp_path, CheckpointEval(tasks=[FEW], out=tmp_path / "run"), steps=1)
    monkeypatch.setitem(PartialState._shared_state, "distributed_type", kind)
    with pytest.raises(EvalError, match="measuring under it is untested; use DeepSpeed ZeRO-3"):
        trainer.callback_handler.on_train_begin(trainer.args, trainer.state, trainer.control)
