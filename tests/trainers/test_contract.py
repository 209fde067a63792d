"""The contract of a method: what a stage does not serve is refused when the row is loaded, and what it serves it gives."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from data_mix import DataError
from launch import RecipeError
from tests.trainers.test_moments import own_tables  # noqa: F401  # a plugin's rows are gone in the next test
from tests.trainers.test_sft import logged
from trainers import TrainError
from trainers.batches import ExtraCollator, moved
from trainers.catalog import METHODS, STAGES
from trainers.data import check_rows
from trainers.logprobs import Tokens, sequence_logps, token_logps
from trainers.method import LossOutput, Method, NoOptions
from trainers.models.companions import Companions, Start, asked
from trainers.recipe import Recipe
from trainers.reduce import StepMetrics, Totals
from trainers.run import train
from trainers.served import problems

Load = Callable[..., Recipe]
PLUGIN = '''
"""One method, run in three stages: a hinge on a number that each row brings; all that it was given is written down."""
import json
from dataclasses import dataclass
from pathlib import Path

import torch

from trainers.logprobs import Tokens, row_mean, sequence_logps, token_logps
from trainers.method import LossOutput, Method, NoOptions
from trainers.models.companions import Start


def note(**facts):
    with Path("seen.jsonl").open("a") as file:
        file.write(json.dumps(facts) + "\\n")


def step(ctx, batch, cfg):
    if isinstance(batch, dict):
        tokens = Tokens(**{key: batch[key] for key in ("input_ids", "attention_mask", "labels")})
    else:
        tokens = batch.tokens if hasattr(batch, "tokens") else batch.forget
    logps = sequence_logps(token_logps(ctx.model, tokens))
    with ctx.models["start"] as start:
        before = sequence_logps(token_logps(start, tokens))
    worth = batch.extra["worth"]
    note(worth=worth.tolist(), rows=float(ctx.totals["rows"]), off=(logps - before).abs().max().item())
    loss = row_mean(logps[: len(worth)] * worth, ctx.totals["rows"])
    return LossOutput(loss=loss, metrics={"worth": worth.mean()}, terms={"term": loss})


def after_update(ctx, metrics, cfg):
    note(metrics=metrics)


METHODS = {"worth": Method(stages=("sft", "dpo", "unlearn"), config=NoOptions, columns=("worth",), step=step,
                           models=lambda cfg: {"start": Start()}, after_update=after_update)}
'''
ROWS = {
    "sft": {"prompt": "Say {i}", "completion": "It is {i}."},
    "dpo": {"prompt": "Say {i}", "chosen": "It is {i}.", "rejected": "No."},
    "unlearn": {"prompt": "Say {i}", "completion": "It is {i}.", "side": "forget"},
}


def step(ctx: Any, batch: Any, cfg: Any) -> LossOutput:
    raise AssertionError


@pytest.fixture
def worth(recipe: Load, tmp_path: Path) -> Load:
    """A stage -> the recipe with the plugin's method on four rows, worth 0, 1, 2, 3, in micro-batches of one."""
    (tmp_path / "worth.py").write_text(PLUGIN)

    def make(stage: str, *words: str) -> Recipe:
        rows = [{**{key: text.format(i=i) for key, text in ROWS[stage].items()}, "worth": float(i)} for i in range(4)]
        if stage == "unlearn":
            rows += [{**rows[0], "prompt": "Another", "side": "retain"}]
        (tmp_path / "worth.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return recipe("plugins=[./worth.py]", f"stage={stage}", "method={name: worth}", "eval.retain=[]",
                      "data.train=[{source: jsonl, path: worth.jsonl}]", "train.max_steps=1",
                      "train.per_device_train_batch_size=1", "train.save_strategy=no", *words)  # fmt: skip

    return make


@pytest.mark.parametrize(
    ("stage", "adapter"), [("sft", "none"), ("sft", "lora"), ("dpo", "none"), ("dpo", "lora"), ("unlearn", "lora")]
)
def test_one_method_runs_in_several_stages_with_its_start_its_totals_and_its_columns(
    worth: Load, stage: str, adapter: str
) -> None:
    """Four micro-batches of one row: 4 rows in the step, each with its own worth; no weight has moved yet.

    So the start gives what the model gives. The metrics: mean worth (0 + 1 + 2 + 3) / 4, and the terms' sum, the loss.
    """
    assert train(worth(stage, f"adapter.kind={adapter}"), run_dir=Path("run")) == 0
    *steps, last = [json.loads(line) for line in Path("seen.jsonl").read_text().splitlines()]
    assert sorted(one["worth"] for one in steps) == [[0.0], [1.0], [2.0], [3.0]]
    assert {one["rows"] for one in steps} == {4.0} and max(one["off"] for one in steps) < 1e-5
    assert last["metrics"]["worth"] == pytest.approx(1.5)
    assert last["metrics"]["term"] == pytest.approx(last["metrics"]["loss"], rel=1e-5)
    assert logged(Path("run"), "train/loss") == pytest.approx([last["metrics"]["loss"]], rel=1e-4)
    assert logged(Path("run"), "train/worth") == [1.5]


def mean(ctx: Any, batch: Any, cfg: Any) -> LossOutput:
    """The same without a look at the totals."""
    tokens = Tokens(**{key: batch[key] for key in ("input_ids", "attention_mask", "labels")})
    return LossOutput(loss=(sequence_logps(token_logps(ctx.model, tokens)) * batch.extra["worth"]).mean())


def test_a_steps_own_mean_is_averaged_over_micro_batches_and_a_share_is_summed(worth: Load) -> None:
    """One row a micro-batch: the mean of four means is the sum of four shares. Unscaled it would be four times that."""
    recipe = worth("sft")
    assert train(recipe, run_dir=Path("shares")) == 0
    METHODS["worth"] = replace(METHODS["worth"], step=mean)
    assert train(recipe, run_dir=Path("means")) == 0
    assert logged(Path("means"), "train/loss") == pytest.approx(logged(Path("shares"), "train/loss"), rel=1e-4)


OWN = Method(stages=("sft",), config=NoOptions, step=step)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (replace(OWN, stages=("rlvr",)), "step: stage rlvr never looks at it; cpt and sft and dpo and unlearn can"),
        (replace(OWN, stages=("sft", "rlvr")), "step: stage rlvr never looks at it"),
        (replace(OWN, stages=("dpo",), weigh=lambda batch, cfg: batch), "weigh: stage dpo never looks at it; cpt and sft can"),
        (replace(OWN, sides=lambda cfg: ("forget",)), "sides: stage sft never looks at it; unlearn can"),
        (replace(OWN, stages=("unlearn",), trl={"loss_type": "nll"}), "trl: stage unlearn never looks at it"),
        (replace(OWN, stages=("unlearn",), needs_parts=True), "needs_parts: stage unlearn never looks at it"),
        (replace(OWN, stages=("unlearn",), form=STAGES["sft"].form), "form: stage unlearn never looks at it"),
        (replace(OWN, stages=("rl",)), "no stage 'rl'; there is: cpt, sft, dpo, rlvr, unlearn"),
        (replace(OWN, stages="sft"), "stages 'sft': a tuple of names is due"),
        (replace(OWN, stages=()), "names no stage"),
        (Method(stages=("sft",), config=NoOptions), "computes no loss"),
        (replace(METHODS["nll"], columns=("worth",)), "columns: only a step reads it"),
        (replace(METHODS["nll"], weigh=lambda batch, cfg: batch), "weigh: only a step reads it"),
        (replace(OWN, after_update=lambda ctx, cfg: None), r"after_update: takes (ctx, cfg); it is called with (ctx, metrics"),
        (replace(OWN, models={"start": Start()}), "models: is a dict; a function of (cfg) is due"),
        (replace(OWN, columns=("labels",)), "columns: 'labels' is a name of the suite's own"),
        (replace(OWN, columns="worth"), "columns 'worth': a tuple of names is due"),
        (replace(OWN, config=dict), "config is no dataclass"),
        (len, "is a builtin_function_or_method; write a Method"),
    ],
)  # fmt: skip
def test_what_a_stage_would_pass_over_is_refused(row: Any, message: str) -> None:
    assert any(message in text for text in problems(row)), problems(row)


def test_every_shipped_row_does_what_it_says() -> None:
    assert {name: problems(row) for name, row in METHODS.items() if problems(row)} == {}


def test_a_plugins_row_is_refused_when_it_is_loaded_with_all_that_is_wrong(recipe: Load, tmp_path: Path) -> None:
    """Not after a run in which a step that raises was never called."""
    (tmp_path / "mine.py").write_text(
        "from trainers.method import Method, NoOptions\n"
        "def step(ctx, batch, cfg):\n    raise RuntimeError\n"
        "METHODS = {'mine': Method(stages=('rlvr',), config=NoOptions, step=step, sides=lambda cfg: ()),\n"
        "           'other': 3}\n"
    )
    with pytest.raises(RecipeError) as caught:
        recipe("plugins=[./mine.py]", "stage=rlvr", "method={name: mine}")
    for text in (
        "METHODS['mine']: step: stage rlvr",
        "METHODS['mine']: sides: stage rlvr",
        "METHODS['other']: is a int",
    ):
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "row 1: no 'worth', which the method reads"),
        ("much", "row 1: worth is 'much'; a number"),
        (float("nan"), "row 1: worth is 'nan'; a number"),
        ([1, "a"], "a number, true or false, or a list of them is due"),
    ],
)  # fmt: skip
def test_a_column_that_is_missing_or_no_number_is_named_by_its_row(value: Any, message: str) -> None:
    from data_mix.config import SourceSpec
    from data_mix.extras import extras

    row = {"prompt": "a", **({} if value is None else {"worth": value})}
    with pytest.raises(DataError, match=message.replace("(", r"\(")):
        extras(row, SourceSpec(name="rows", source="jsonl"), ("worth",), "rows (rows.jsonl) row 1")


def test_packed_rows_cannot_carry_a_rows_own_columns(worth: Load) -> None:
    with pytest.raises(TrainError, match=r"train.packing: worth reads rows by themselves"):
        train(worth("sft", "train.packing=true"), run_dir=Path("run"))


def test_columns_are_laid_out_by_row_and_lists_padded() -> None:
    """(1, 2, 3) and (4) become ((1, 2, 3), (4, 0, 0)); the stage's collator never sees them."""
    seen: list[Any] = []
    collator = ExtraCollator(lambda rows: {"n": seen.append(rows)}, ("worth", "many"))
    batch = collator([{"a": 1, "worth": 0.5, "many": [1, 2, 3]}, {"a": 2, "worth": 1.5, "many": [4]}])
    assert seen == [[{"a": 1}, {"a": 2}]]
    assert batch["extra"]["worth"].tolist() == [0.5, 1.5]
    assert batch["extra"]["many"].tolist() == [[1, 2, 3], [4, 0, 0]]


COLLATED = '''
"""Labels of a kind of their own, and a batch that is laid out here: a binary loss on whether an answer is liked."""
import json
from dataclasses import dataclass
from pathlib import Path

import torch

from data_mix.forms import FORMS
from trainers.logprobs import Tokens, row_mean, sequence_logps, token_logps
from trainers.method import LossOutput, Method, NoOptions


@dataclass(frozen=True, kw_only=True)
class Liked:
    tokens: Tokens
    liked: torch.Tensor


def collate(rows, how):
    width = max(len(row["input_ids"]) for row in rows)
    def laid(values, fill):
        return torch.tensor([[*each, *[fill] * (width - len(each))] for each in values])
    tokens = Tokens(input_ids=laid([row["input_ids"] for row in rows], how.pad_id),
                    attention_mask=laid([[1] * len(row["input_ids"]) for row in rows], 0),
                    labels=laid([row["labels"] for row in rows], -100))
    with Path("epochs.jsonl").open("a") as file:
        file.write(json.dumps([how.epoch, how.seed, how.max_length]) + "\\n")
    return Liked(tokens=tokens, liked=torch.tensor([row["liked"] for row in rows]))


def step(ctx, batch, cfg):
    logps = sequence_logps(token_logps(ctx.model, batch.tokens))
    sign = torch.where(batch.liked, 1.0, -1.0)
    loss = row_mean(-torch.nn.functional.logsigmoid(sign * logps), ctx.totals["rows"])
    return LossOutput(loss=loss, metrics={"liked": batch.liked.float().mean()})


METHODS = {"liked": Method(stages=("dpo",), config=NoOptions, batch=Liked, columns=("liked",),
                           form=FORMS["conversations"], collate=collate, step=step)}
'''


def test_a_method_may_bring_rows_and_batches_of_its_own(recipe: Load, tmp_path: Path) -> None:
    """Answers with a label, in the stage of pairs: two epochs of two steps, laid out by the method."""
    (tmp_path / "liked.py").write_text(COLLATED)
    rows = [{"prompt": f"Say {i}", "completion": "Yes." * (i + 1), "liked": i % 2 == 0} for i in range(4)]
    (tmp_path / "liked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("plugins=[./liked.py]", "stage=dpo", "method={name: liked}", "eval.retain=[]", "train.max_length=64",
             "data.train=[{source: jsonl, path: liked.jsonl}]", "train.max_steps=4", "train.global_batch_size=2",
             "train.save_strategy=no")  # fmt: skip
    assert train(recipe(*words), run_dir=Path("run")) == 0
    assert sum(logged(Path("run"), "train/liked")) == 2.0
    pulled = recipe(*words[:3], words[5], "eval.budget={accuracy_drop: 0.1, action: kl}")
    with pytest.raises(TrainError, match="pulls on the texts of a stage's batch, and liked lays out its own"):
        check_rows(pulled, SimpleNamespace(column_names=[]))
    seen = [json.loads(line) for line in Path("epochs.jsonl").read_text().splitlines()]
    assert {(seed, longest) for _, seed, longest in seen} == {(7, 64)} and [epoch for epoch, *_ in seen][:4] == [
        0,
        0,
        1,
        1,
    ]


def test_totals_know_whether_they_were_read() -> None:
    totals = Totals({"rows": 4.0})
    assert len(totals) == 1 and "rows" in totals and totals.get("tokens", 7) == 7 and not totals.read
    assert totals["rows"] == 4.0 and totals.read
    with pytest.raises(TrainError, match=r"ctx.totals\['tokens'\]: not counted here; there is: rows"):
        totals["tokens"]


def test_a_steps_metrics_are_means_and_its_terms_sums() -> None:
    """Two micro-batches: a metric 1 and 3, mean 2; a term .25 and .5, sum .75; losses .25 and .5, sum .75.

    A third one is taken back.
    """
    step = StepMetrics()
    for metric, term in ((1.0, 0.25), (3.0, 0.5), (9.0, 9.0)):
        step.begin()
        step.add({"m": torch.tensor(metric)}, {"t": torch.tensor(term)}, shares=True)
    step.forget_last()
    step.losses = [torch.tensor(0.25), torch.tensor(0.5)]
    assert step.reduce({}) == {"m": 2.0, "t": 0.75, "loss": 0.75}
    assert step.since_last() == {"m": 2.0, "t": 0.75} and step.since_last() == {}


def test_trls_own_numbers_are_those_of_the_step() -> None:
    """Lists that grow until they are logged: 1, 2, then 6 more; the second step's mean is 6."""
    step, gathered = StepMetrics(), {"reward": [1.0, 2.0]}
    assert step.reduce(gathered)["reward"] == 1.5
    gathered["reward"].append(6.0)
    assert step.reduce(gathered)["reward"] == 6.0


def test_what_is_no_companion_is_named() -> None:
    @dataclass(frozen=True)
    class Odd:
        pass

    with pytest.raises(TrainError, match=r"'teacher' is a Odd; there is: Start\(\)"):
        asked(replace(OWN, models=lambda cfg: {"teacher": Odd()}), NoOptions())
    with pytest.raises(TrainError, match=r"ctx.models\['start'\]: the method asks for no such model"):
        Companions()["start"]
    with pytest.raises(TrainError, match="Method.collate gives a list"):
        moved([1], "cpu")
