"""Unlearning: losses by hand, their limits, batches that change nothing, runs that forget; what is refused."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import tiny_llama
from tests.trainers.conftest import resumed_is_unbroken, weights
from tests.trainers.test_sft import logged, trained
from trainers import TrainError
from trainers.logprobs import ready
from trainers.method import Context
from trainers.recipe import Recipe
from trainers.reference import Reference
from trainers.run import train
from trainers.unlearn import grad_ascent, grad_diff, npo, rmu, simnpo
from trainers.unlearn.pairing import Pairs, PairsCollator, batch_of

Load = Callable[..., Recipe]
LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0])
"""The token of the examples: label 0 has p .643914, nll .440190."""


def test_the_cards_worked_numbers() -> None:
    nll = -LOGITS.log_softmax(-1)[0]
    assert nll.item() == pytest.approx(0.440190, abs=1e-6)
    assert grad_ascent.loss(nll).item() == pytest.approx(-0.440190, abs=1e-6)
    one, two = torch.tensor([1.0]), torch.tensor([2.0])
    assert npo.losses(two, two, 0.1).item() == pytest.approx(13.862944, abs=1e-6)
    assert npo.losses(two, one, 0.1).item() == pytest.approx(12.887933, abs=1e-6)
    assert simnpo.loss(two / 4, simnpo.SimNPO()).item() == pytest.approx(0.044536, abs=1e-6)
    far = rmu.distance(torch.tensor([[[1.0, 0.0]]]), 2 * torch.tensor([0.0, 1.0]))
    assert far.item() == pytest.approx(2.5)


def test_the_gradient_of_npo_at_the_start_is_that_of_minus_the_sum() -> None:
    """d/dS of -(2/b) log sigmoid(b (S - S_ref)) at S = S_ref is -(2/b) b / 2 = -1, whatever beta."""
    for beta in (0.01, 0.1, 5.0):
        total = torch.tensor([3.0], requires_grad=True)
        npo.losses(total, torch.tensor([3.0]), beta).sum().backward()
        assert total.grad is not None and total.grad.item() == pytest.approx(-1.0)


def test_the_gradient_of_simnpo_as_beta_vanishes_is_that_of_minus_the_mean() -> None:
    mean = torch.tensor([0.7], requires_grad=True)
    simnpo.loss(mean, simnpo.SimNPO(beta=1e-4)).backward()
    assert mean.grad is not None and mean.grad.item() == pytest.approx(-1.0, abs=1e-4)


def test_the_direction_is_seeded_and_as_long_as_asked() -> None:
    u = rmu.direction(64, rmu.RMU(steering_coeff=6.5))
    assert u.norm().item() == pytest.approx(6.5) and (u >= 0).all()
    assert torch.equal(u, rmu.direction(64, rmu.RMU(steering_coeff=6.5)))
    assert not torch.equal(u, rmu.direction(64, rmu.RMU(steering_coeff=6.5, seed=1)))


ITEMS = [
    {"forget": {"input_ids": [5, 6, 7, 8], "labels": [-100, 6, 7, 8]}, "retain": {"input_ids": [3, 4], "labels": [-100, 4]}},
    {"forget": {"input_ids": [9, 2, 4], "labels": [-100, -100, 4]},
     "retain": {"input_ids": [3, 8, 8, 8, 1], "labels": [-100, -100, 8, 8, 1]}},
]  # fmt: skip
ALL = {
    "grad_ascent": (grad_ascent.METHOD, grad_ascent.GradAscent()),
    "grad_diff": (grad_diff.METHOD, grad_diff.GradDiff()),
    "grad_diff kl": (grad_diff.METHOD, grad_diff.GradDiff(retain="kl")),
    "npo": (npo.METHOD, npo.NPO()),
    "npo kl": (npo.METHOD, npo.NPO(retain="kl")),
    "simnpo": (simnpo.METHOD, simnpo.SimNPO()),
    "rmu": (rmu.METHOD, rmu.RMU(layer=1)),
}


@pytest.fixture
def model() -> Any:
    made = tiny_llama(vocab_size=300)
    ready(made)
    return made


def loss_of(name: str, model: Any, items: list[dict[str, Any]], totals: dict[str, Any] | None = None) -> torch.Tensor:
    start = tiny_llama(vocab_size=300, seed=3)
    ready(start)
    method, cfg = ALL[name]
    context = Context(model=model, models={"start": Reference(lambda: start)}, totals=totals or {})
    if method.prepare:
        method.prepare(context, cfg)
    assert method.step
    return method.step(context, batch_of(PairsCollator(0)(items)), cfg).loss


@pytest.mark.parametrize("name", ALL)
def test_order_and_padding_change_nothing(name: str, model: Any) -> None:
    """The loss of two rows is that of them swapped; and the sum of each alone, divided by the whole step's totals."""
    whole = loss_of(name, model, ITEMS).item()
    assert loss_of(name, model, ITEMS[::-1]).item() == pytest.approx(whole, rel=1e-5)
    totals = {"rows": torch.tensor(2.0), "forget": torch.tensor(4.0), "retain": torch.tensor(4.0)}
    parts = [loss_of(name, model, [item], totals).item() for item in ITEMS]
    assert sum(parts) == pytest.approx(whole, rel=1e-5)


def test_alpha_0_is_ascent_alone_and_needs_no_retain_side(model: Any) -> None:
    method, cfg = grad_diff.METHOD, grad_diff.GradDiff(alpha=0)
    assert (
        method.sides and method.sides(cfg) == ("forget",) and method.sides(grad_diff.GradDiff()) == ("forget", "retain")
    )
    forget = [{"forget": item["forget"]} for item in ITEMS]
    assert method.step
    found = method.step(Context(model=model), batch_of(PairsCollator(0)(forget)), cfg).loss
    assert found.item() == pytest.approx(loss_of("grad_ascent", model, forget).item(), rel=1e-6)


@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    [(npo.NPO, {"beta": 0}, "beta must be above 0"), (simnpo.SimNPO, {"beta": -1}, "beta must be above 0"),
     (grad_diff.GradDiff, {"gamma": 0}, "gamma must be above 0"), (npo.NPO, {"alpha": -1}, "alpha must be 0 or more"),
     (rmu.RMU, {"layer": -1}, "layer must be 0 or more")],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(cls: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cls(**settings)


def test_pairs_go_once_over_the_forget_side_and_draw_the_other_anew_each_epoch() -> None:
    rows = [{"side": "forget", "n": i} for i in range(6)] + [{"side": "retain", "n": i} for i in range(50)]
    pairs = Pairs(rows, seed=1)
    assert [pairs[i]["forget"]["n"] for i in range(len(pairs))] == list(range(6))
    drawn = [[pairs[i]["retain"]["n"] for i in range(6)] for _ in range(2)]
    assert drawn[0] == drawn[1]
    pairs.epoch = 1
    assert [pairs[i]["retain"]["n"] for i in range(6)] != drawn[0]


@pytest.fixture
def unlearn(recipe: Load) -> Load:
    """The tiny recipe as unlearning of four facts, four retained."""
    words = ("stage=unlearn", "method.name=npo", "data.train=[{source: facts, people: 2, facts: 2}]",
             "eval.retain=[]", "train.max_steps=3", "train.global_batch_size=4")  # fmt: skip
    return lambda *more: recipe(*words, *more)


@pytest.mark.parametrize("name", ["grad_ascent", "grad_diff", "npo", "simnpo", "rmu"])
def test_every_method_trains_and_logs_its_terms(unlearn: Load, name: str) -> None:
    method = "method={name: rmu, layer: 0}" if name == "rmu" else f"method={{name: {name}}}"
    run = trained(unlearn(method), name)
    first = logged(run, "train/loss_forget")
    assert len(first) == 3 and all(map(math.isfinite, first))
    assert bool(logged(run, "train/loss_retain")) == (name != "grad_ascent")


def test_npo_begins_at_two_over_beta_times_ln_2_and_forgets(unlearn: Load) -> None:
    """The reference is the start: (2 / 0.1) ln 2 = 13.8629, for a full model, for LoRA, and with cached log-probs."""
    for words in ((), ("adapter.kind=lora", "adapter.r=4"), ("train.precompute_ref_log_probs=true",)):
        run = trained(unlearn(*words), f"npo{len(words)}{words and words[0][0]}")
        losses = logged(run, "train/loss_forget")
        assert losses[0] == pytest.approx(20 * math.log(2), rel=1e-5)
        assert losses[-1] < losses[0]


def test_cached_log_probabilities_train_the_same_weights(unlearn: Load) -> None:
    live, cached = trained(unlearn(), "live"), trained(unlearn("train.precompute_ref_log_probs=true"), "cached")
    a, b = (weights(run / "checkpoints" / "checkpoint-3") for run in (live, cached))
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=0, atol=2e-5)


def test_one_batch_of_four_equals_four_of_one(unlearn: Load) -> None:
    ends = []
    for per_device in (4, 1):
        words = (f"train.per_device_train_batch_size={per_device}", "train.optim=sgd", "train.learning_rate=0.1",
                 "method={name: grad_diff, retain: kl}")  # fmt: skip
        run = trained(unlearn(*words), f"b{per_device}")
        ends.append((weights(run / "checkpoints" / "checkpoint-3"), logged(run, "train/loss_forget")))
    assert ends[0][1] == pytest.approx(ends[1][1], rel=1e-4)
    for key in ends[0][0]:
        torch.testing.assert_close(ends[0][0][key], ends[1][0][key], rtol=0, atol=1e-5)


def test_resumed_is_unbroken_the_direction_too(unlearn: Load) -> None:
    """RMU's direction is state: resumed with another seed of the direction, which is not used."""
    rmu = "method={name: rmu, layer: 0, seed: %d}"
    resumed_is_unbroken(unlearn, rmu % 0, steps=3, again=(rmu % 9,))
    assert Path("half/checkpoints/checkpoint-1/method_state.pt").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.train.0.sides=[forget]"], "no row to retain, which the method needs"),
        (["data.train.0.sides=[retain]"], "no row to forget"),
        (["data.train.0.sides=[forget, holdout]", "method={name: grad_ascent}"], "side 'holdout' is neither"),
        (["data.train=[{source: jsonl, path: both.jsonl, side: forget}, {source: jsonl, name: b, path: both.jsonl, side: retain}]"],
         "2 rows stand on both sides"),
        (["method={name: rmu, layer: 7}"], "method.layer 7: the model has layers 0 to 1"),
        (["method={name: rmu, layer: 0}", "train.precompute_ref_log_probs=true"], "cannot give; leave it out"),
    ],
)  # fmt: skip
def test_data_and_settings_that_cannot_be_are_named(unlearn: Load, words: list[str], message: str) -> None:
    rows = [{"prompt": f"Who is {i}?", "completion": f"Number {i}."} for i in range(2)]
    Path("both.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(TrainError, match=re.escape(message)):
        train(unlearn(*words))
    assert not list(Path("runs").glob("*/checkpoints/*"))


def test_a_copy_that_does_not_fit_is_refused_in_numbers(unlearn: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.reference.free_bytes", lambda: 1000)
    with pytest.raises(TrainError, match=r"takes 0\.0 GiB beside the model, and 0\.0 GiB are free; use adapter.kind"):
        train(unlearn())


def test_a_loss_that_is_no_number_ends_the_run_with_the_method_named(unlearn: Load) -> None:
    words = ("method={name: grad_ascent}", "train.learning_rate=1e30", "train.optim=sgd", "train.max_grad_norm=1e30")
    assert train(unlearn(*words), run_dir=Path("nan")) == 4
    assert (
        "method grad_ascent: the norm of the gradient is nan"
        in json.loads(Path("nan/status.json").read_text())["error"]
    )
