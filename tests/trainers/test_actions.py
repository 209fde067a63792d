"""What follows when a budget is crossed: each action changes the run as named, and a resumed run goes on so."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from data_mix.config import DataConfig, SourceSpec
from eval_hooks.callback import Due
from eval_hooks.config import Replay
from tests.conftest import tiny_llama
from tests.trainers.conftest import write_rows
from trainers.actions import carry_out, last_good, read, with_replay
from trainers.anchor import own_texts, retained_texts
from trainers.logprobs import kl_over, kl_sum
from trainers.recipe import Recipe
from trainers.reference import Reference
from trainers.run import train
from trainers.rundir import Place

Load = Callable[..., Recipe]
RUN = Path("runs/tiny")
EVERY_STEP = ("eval.every=1", "train.save_total_limit=9")


def crossed_at(monkeypatch: pytest.MonkeyPatch, *steps: int, times: int = 99) -> None:
    """Declare a loss proven at these steps, at most so many times; test_retention shows when one really is."""
    left = [times]

    def crossed(budget: Any, summary: Mapping[str, Any]) -> list[str]:
        if summary["step"] in steps and left[0]:
            left[0] -= 1
            return ["pocket: accuracy fell"]
        return []

    monkeypatch.setattr("eval_hooks.callback.crossed", crossed)


def lines(key: str) -> list[tuple[int, Any]]:
    rows = [json.loads(line) for line in (RUN / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row[key]) for row in rows if key in row]


def weights(step: int) -> dict[str, torch.Tensor]:
    return load_file(RUN / "checkpoints" / f"checkpoint-{step}" / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_roll_back_goes_on_from_the_last_good_checkpoint_at_a_lower_rate(
    recipe: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Proven at steps 2 and 3: back to 1, then rates of 1e-2 until there and half of it after; the first try is kept."""
    crossed_at(monkeypatch, 2, times=1)
    assert train(recipe(*EVERY_STEP, "eval.budget={accuracy_drop: 0.02, action: roll_back}")) == 0
    assert lines("train/learning_rate") == [(1, 0.01), (2, 0.005), (3, 0.005), (4, 0.005)]
    (taken,) = read(RUN)
    assert (taken.action, taken.step, taken.back_to) == ("roll_back", 2, 1)
    assert [step for step, action in lines("budget/action")] == [1]
    assert (RUN / "aside/1-rolled-back/evals/step-2/summary.json").is_file() and (RUN / "evals/step-2").is_dir()
    assert "budget    roll_back at step 2, on from step 1: pocket: accuracy fell" in capsys.readouterr().err
    looks = json.loads((RUN / "spending.json").read_text())["looks"]  # step 2 is another look after it, and costs anew
    assert [look["step"] for look in looks] == [1, 2, 2, 3, 4]
    assert [look["alpha"] for look in looks] == pytest.approx([0.0025, 0.0025, 0.0025, 0.00125, 0.038])
    status = json.loads((RUN / "status.json").read_text())
    assert status["spending"]["spent"] == pytest.approx(0.04675) and status["spending"]["alpha"] == pytest.approx(0.05)
    assert lines("budget/alpha_spent")[-1] == (4, pytest.approx(0.04675))


def test_a_roll_back_is_the_run_that_had_the_lower_rate_from_there(
    recipe: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same optimizer state and same rows from the good checkpoint on: equal to resuming there with half the rate."""
    crossed_at(monkeypatch, 3, times=1)
    sgd = ("train.optim=sgd", "train.max_grad_norm=1e9")
    words = [*EVERY_STEP, *sgd, "eval.budget={action: roll_back, accuracy_drop: 0.02, lr: {factor: 1e-9}}"]
    assert train(recipe(*words)) == 0
    assert read(RUN)[0].back_to == 2
    moved = max(float((weights(4)[name] - weights(2)[name]).abs().max()) for name in weights(4))
    assert moved < 1e-8  # at a rate of next to nothing nothing moves after the good checkpoint


def test_roll_back_gives_up_after_so_many_times_and_names_the_last_good_checkpoint(
    recipe: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    crossed_at(monkeypatch, 2)
    assert train(recipe(*EVERY_STEP, "eval.budget={accuracy_drop: 0.02, action: roll_back, most: 2}")) == 3
    status = json.loads((RUN / "status.json").read_text())
    assert (status["state"], status["last_good"], len(read(RUN))) == ("stopped", 1, 2)
    assert lines("train/learning_rate") == [(1, 0.01), (2, 0.0025)]


def test_stop_names_the_last_good_checkpoint(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    crossed_at(monkeypatch, 3)
    assert train(recipe(*EVERY_STEP, "eval.budget={accuracy_drop: 0.02, action: stop}")) == 3
    assert json.loads((RUN / "status.json").read_text())["last_good"] == 2


def test_report_changes_nothing_but_the_log(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    crossed_at(monkeypatch, 2, 3)
    assert train(recipe(*EVERY_STEP, "eval.budget={accuracy_drop: 0.02, action: report}")) == 0
    assert lines("budget/crossed") == [(2, 1.0), (3, 1.0)]
    assert lines("budget/action") == [(2, "report"), (3, "report")] and len(lines("train/loss")) == 4


def test_patience_counts_evaluations_in_a_row(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    crossed_at(monkeypatch, 1, 3, 4)
    assert train(recipe(*EVERY_STEP, "eval.budget={accuracy_drop: 0.02, action: stop, patience: 2}")) == 3
    assert lines("budget/action") == [(4, "stop")]


def test_lr_scales_the_rate_from_then_on_also_over_a_resume(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    crossed_at(monkeypatch, 2)
    words = (*EVERY_STEP, "eval.budget={accuracy_drop: 0.02, action: lr, lr: {factor: 0.1}}")
    assert train(recipe(*words, "train.max_steps=3")) == 0
    assert lines("train/learning_rate") == [(1, 0.01), (2, 0.01), (3, pytest.approx(0.001))]
    assert train(recipe(*words), run_dir=RUN, resume=True) == 0
    assert lines("train/learning_rate")[-1] == (4, pytest.approx(0.001))


def test_replay_mixes_rows_in_from_then_on(recipe: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The steps until then are those of a run without; the manifest has the new source; the run ends at its own end."""
    plain = recipe(*EVERY_STEP, "eval.retain=[]", "train.max_steps=2")
    assert train(plain) == 0
    before = weights(2)
    crossed_at(monkeypatch, 2)
    more = write_rows(tmp_path / "old.jsonl", 5)
    budget = f"eval.budget={{accuracy_drop: 0.02, action: replay, replay: {{source: jsonl, path: {more}, share: 0.5}}}}"
    epoch = ("train.max_steps=null", "train.num_train_epochs=1")  # 16 rows: 4 steps, also when the mix has 32
    assert train(recipe(*EVERY_STEP, *epoch, budget), run_dir=Path("runs/with")) == 0
    monkeypatch.setattr("tests.trainers.test_actions.RUN", Path("runs/with"))
    assert same(weights(2), before)
    assert [step for step, _ in lines("train/loss")] == [1, 2, 3, 4]
    manifest = json.loads(Path("runs/with/data.manifest.json").read_text())
    assert list(manifest["train"]) == ["jsonl", "replay"]
    assert lines("budget/action")[0][1] == "replay" and read(Path("runs/with"))[0].back_to == 2


@pytest.mark.parametrize("adapter", ["none", pytest.param("lora", marks=pytest.mark.soak)])
def test_kl_pulls_towards_the_start_from_then_on(recipe: Load, monkeypatch: pytest.MonkeyPatch, adapter: str) -> None:
    """Logged from the step after; with a great weight the end lies nearer to the start than without."""
    crossed_at(monkeypatch, 1)
    ends = {}
    for weight in (1e-9, 10):
        budget = f"eval.budget={{accuracy_drop: 0.02, action: kl, kl: {{weight: {weight}}}}}"
        monkeypatch.setattr("tests.trainers.test_actions.RUN", Path(f"runs/{weight}"))
        words = (*EVERY_STEP, f"adapter.kind={adapter}", "train.optim=sgd", "train.learning_rate=0.3", budget)
        assert train(recipe(*words, "train.max_steps=3"), run_dir=RUN) == 0
        assert train(recipe(*words), run_dir=RUN, resume=True) == 0
        kl = dict(lines("train/kl_to_start"))
        assert list(kl) == [2, 3, 4] and all(value >= 0 for value in kl.values())
        ends[weight] = kl[4]
    assert ends[10] < ends[1e-9] and read(RUN)[0].action == "kl"


def test_the_pull_by_hand() -> None:
    """Against itself 0; against another model the mean over real places of KL(start || model), padding left out."""
    model, start = tiny_llama(seed=0), tiny_llama(seed=1)
    ids, mask = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    given = own_texts({"input_ids": ids, "attention_mask": mask, "labels": ids})
    assert float(kl_over(model, Reference(lambda: model), given).detach()) == pytest.approx(0, abs=1e-6)
    found = kl_over(model, Reference(lambda: start), given)
    with torch.no_grad():
        p, q = (one(input_ids=ids, attention_mask=mask).logits[:, :-1][mask[:, 1:] == 1] for one in (start, model))
    assert len(p) == 4 and float(found.detach()) == pytest.approx(float(kl_sum(p, q)) / 4, rel=1e-5)
    packed = {"input_ids": torch.tensor([[5, 6, 7, 8, 9, 10]]), "position_ids": torch.tensor([[0, 1, 2, 3, 0, 1]])}
    assert own_texts(packed).keys() == packed.keys()
    assert float(kl_over(model, Reference(lambda: start), packed).detach()) > 0


def test_unlearning_is_pulled_on_what_it_is_to_retain() -> None:
    batch = {"forget_input_ids": 1, "retain_input_ids": 2, "retain_attention_mask": 3, "retain_labels": 4}
    assert retained_texts(batch) == {"input_ids": 2, "attention_mask": 3}
    assert retained_texts({"forget_input_ids": 1}) == {}


def test_the_share_of_replay_is_that_of_the_whole_mix() -> None:
    """Sources of 30 and 10 rows without weights, a quarter replayed: weights 30, 10 and 40 / 3."""
    specs = (SourceSpec(name="a", source="jsonl"), SourceSpec(name="b", source="jsonl"))
    replay = Replay(source=SourceSpec(name="old", source="jsonl"), share=0.25)
    mixed = with_replay(DataConfig(train=specs), replay, {"a": 30, "b": 10}).train
    assert [spec.weight for spec in mixed] == [30, 10, pytest.approx(40 / 3)]
    assert mixed[2].repeat and mixed[2].weight / sum(spec.weight or 0 for spec in mixed) == pytest.approx(0.25)


def test_without_a_good_checkpoint_it_begins_again(tmp_path: Path) -> None:
    for step, entry in ((0, {}), (10, {"budget": {"crossed": ["a"]}}), (20, {"budget": {"crossed": ["a"]}})):
        folder = tmp_path / "evals" / f"step-{step}"
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps({"step": step, **entry}))
        if step:
            (tmp_path / "checkpoints" / f"checkpoint-{step}").mkdir(parents=True)
    place = Place(folder=tmp_path, root=tmp_path)
    assert last_good(place) == 0
    taken = carry_out(Due(action="roll_back", step=20, reason="why"), place)
    assert taken.back_to == 0 and not list(tmp_path.glob("checkpoints/*"))
    assert sorted(f.name for f in tmp_path.glob("evals/*")) == ["step-0"]
