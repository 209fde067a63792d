"""Preference tuning: ln 2 at the start whatever the start is, SimPO by hand, every TRL loss runs, labels teach."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.trainers.conftest import resumed_is_unbroken
from tests.trainers.test_sft import logged, trained
from trainers.catalog import METHODS
from trainers.dpo.simpo import SimPO, losses
from trainers.recipe import Recipe

Load = Callable[..., Recipe]
LN2 = pytest.approx(math.log(2), abs=1e-5)
WORDS = ("red", "blue", "green", "white")


def write_pairs(path: Path, n: int = 16, swap: bool = False) -> Path:
    """The chosen answer names the colour that is asked for, the rejected one another."""
    rows = []
    for i in range(n):
        a, b = WORDS[i % 4], WORDS[(i + 1 + i // 4) % 4]
        b = b if b != a else WORDS[(i + 2) % 4]
        pair = {"chosen": a, "rejected": b} if not swap else {"chosen": b, "rejected": a}
        rows.append({"prompt": f"Say {a} number {i}.", **pair})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def dpo(recipe: Load, tmp_path: Path) -> Load:
    """The tiny recipe as preference tuning."""
    write_pairs(tmp_path / "pairs.jsonl")
    words = ("stage=dpo", "method.name=sigmoid", "data.train=[{source: jsonl, path: pairs.jsonl}]", "eval.retain=[]",
             "train.max_steps=2", "train.global_batch_size=4", "train.learning_rate=1e-3")  # fmt: skip
    return lambda *more: recipe(*words, *more)


def test_simpo_by_hand() -> None:
    """Means -0.5 and -1.0, beta 2, gamma 0.5: -log sigmoid(0.5) = 0.474077; equal ones: -log sigmoid(-0.5)."""
    cfg = SimPO(beta=2.0, gamma=0.5)
    found = losses(torch.tensor([-0.5, -1.0]), torch.tensor([-1.0, -1.0]), cfg)
    assert found.tolist() == pytest.approx([0.4740770, 0.9740770], abs=1e-6)
    plain = losses(torch.tensor([-1.0]), torch.tensor([-1.0]), SimPO(gamma=0.0))
    assert plain.item() == LN2
    with pytest.raises(ValueError, match="beta must be above 0"):
        SimPO(beta=0)


@pytest.mark.parametrize(
    "words",
    [(), ("adapter.kind=lora", "adapter.r=4"), ("train.precompute_ref_log_probs=true",),
     ("adapter.kind=lora", "adapter.r=4", "train.precompute_ref_log_probs=true")],
    ids=["full", "lora", "cached", "lora cached"],
)  # fmt: skip
def test_policy_equals_reference_gives_ln_2(dpo: Load, words: tuple[str, ...]) -> None:
    run = trained(dpo(*words), "run")
    first, second = logged(run, "train/loss")
    assert first == LN2 and second != LN2
    assert logged(run, "train/rewards/margins")[0] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("words", [(), ("adapter.kind=lora", "adapter.r=4")], ids=["full", "lora"])
def test_on_an_sft_adapter_the_reference_is_sft_and_not_the_raw_base(
    recipe: Load, dpo: Load, words: tuple[str, ...]
) -> None:
    """The adapter moved the model a long way: against the raw base the first loss would not be ln 2."""
    far = ("adapter.kind=lora", "adapter.r=4", "adapter.target_modules=all-linear", "adapter.lora_alpha=64")
    sft = trained(recipe("eval.retain=[]", *far, "train.learning_rate=0.1"), "sft")
    run = trained(dpo(f"model.path={sft}:4", "train.beta=100", *words), "dpo")
    assert logged(run, "train/loss")[0] == LN2
    before, after = (logged(trained(dpo(*more), name), "train/logps/chosen")[0]
                     for name, more in (("raw", ()), ("again", (f"model.path={sft}:4",))))  # fmt: skip
    assert abs(before - after) > 0.01  # at beta 100 such a difference would move the loss by half a nat


TRL = [name for name, method in METHODS.items() if "dpo" in method.stages and method.trl.get("loss_type") == [name]]


def test_every_loss_of_trls_has_a_row() -> None:
    """As listed in the documentation of trl.DPOConfig.loss_type."""
    from trl import DPOConfig

    text = DPOConfig.__dataclass_fields__["loss_type"].metadata["help"] + (DPOConfig.__doc__ or "")
    assert len(TRL) == 15 and all(f"'{name}'" in text or f'"{name}"' in text for name in TRL)


@pytest.mark.parametrize("name", TRL)
def test_every_loss_of_trls_reaches_it_and_trains(dpo: Load, name: str) -> None:
    run = trained(dpo(f"method.name={name}", "train.max_steps=1", "adapter.kind=lora", "adapter.r=2"), name)
    resolved = json.loads((run / "recipe.resolved.json").read_text())["arguments"]
    assert resolved["loss_type"] == [name]
    assert math.isfinite(logged(run, "train/loss")[0])


def test_rpo_is_dpo_and_the_chosen_answers_likelihood(dpo: Load) -> None:
    """At the start ln 2 and the loss of `sft` alone; weights of 1 and 0.5 halve the second."""
    likelihood = logged(trained(dpo("method.name=sft", "train.max_steps=1"), "sft"), "train/loss")[0]
    for name, words, weight in (("rpo", (), 1.0), ("half", ("train.loss_weights=[1.0, 0.5]",), 0.5)):
        first = logged(trained(dpo("method.name=rpo", "train.max_steps=1", *words), name), "train/loss")[0]
        assert first == pytest.approx(math.log(2) + weight * likelihood, abs=1e-4)


def test_what_a_recipe_says_wins_over_a_rows_default(dpo: Load) -> None:
    for words, due in (((), 0.1), (("train.label_smoothing=0.2",), 0.2)):
        run = trained(dpo("method.name=robust", "train.max_steps=1", *words), f"r{due}")
        assert json.loads((run / "recipe.resolved.json").read_text())["arguments"]["label_smoothing"] == due


def test_simpo_trains_without_a_reference(dpo: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """No second model is loaded; the first loss is that of the pairs' own mean log-probabilities."""

    def loads(*args: object, **kwargs: object) -> None:
        raise AssertionError("a reference was loaded")

    monkeypatch.setattr("trl.trainer.dpo_trainer.create_model_from_path", loads)
    monkeypatch.setattr("trainers.reference.frozen_copy", loads)
    run = trained(dpo("method={name: simpo, beta: 2.0, gamma: 0.5}"), "simpo")
    gap = logged(run, "train/rewards/margins")[0]
    assert logged(run, "train/loss")[0] == pytest.approx(math.log1p(math.exp(-(gap - 0.5))), rel=0.05)


def held_out(run: Path, step: int) -> dict[str, dict[str, float]]:
    return json.loads((run / f"evals/step-{step}/summary.json").read_text())["validation"]["pairs"]


@pytest.mark.parametrize(("swap", "share"), [(False, 1.0), (True, 0.0)], ids=["as labelled", "labels flipped"])
def test_labels_teach_and_flipped_labels_turn_learning_round(
    dpo: Load, tmp_path: Path, swap: bool, share: float
) -> None:
    """Trained on the pairs or on the same ones swapped; judged on the pairs as labelled, against step 0."""
    write_pairs(tmp_path / "trained.jsonl", swap=swap)
    words = ("data.train.0.path=trained.jsonl", "data.validation=[{name: pairs, source: jsonl, path: pairs.jsonl}]",
             "train.max_steps=30", "train.global_batch_size=16", "train.learning_rate=1e-2")  # fmt: skip
    run = trained(dpo(*words), "run")
    start, end = held_out(run, 0), held_out(run, 30)
    assert start["accuracy"]["value"] is None and "step 0" in str(start["accuracy"]["reason"])
    assert abs(end["accuracy"]["value"] - share) < 0.2
    assert (end["margin"]["value"] > 0) != swap
    change = end["chosen_change"]["value"] - end["rejected_change"]["value"]
    assert end["margin"]["value"] == pytest.approx(change, abs=1e-9)


def test_shuffled_labels_leave_held_out_pairs_near_one_half(dpo: Load, tmp_path: Path) -> None:
    """Every pair once as labelled and once swapped: nothing to learn, so the margins stay near 0."""
    both = write_pairs(tmp_path / "a.jsonl").read_text() + write_pairs(tmp_path / "b.jsonl", swap=True).read_text()
    (tmp_path / "trained.jsonl").write_text(both)
    words = ("data.train.0.path=trained.jsonl", "data.validation=[{name: pairs, source: jsonl, path: pairs.jsonl}]",
             "train.max_steps=10", "train.global_batch_size=32", "train.learning_rate=1e-3")  # fmt: skip
    end = held_out(trained(dpo(*words), "run"), 10)
    assert abs(end["margin"]["value"]) < 0.05


def test_resumed_is_unbroken(dpo: Load) -> None:
    resumed_is_unbroken(dpo, "adapter.kind=lora", "adapter.r=2")
