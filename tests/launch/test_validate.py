"""Bad recipes: each problem with its path, its place, its value, a remedy; all at once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from launch import RecipeError
from launch.habits import HABITS, OWNED_ADAPTER, OWNED_TRAIN
from launch.load import load
from launch.tables import Tables
from launch.validate import SECTIONS
from tests.launch.conftest import WHOLE, Margin, Numbers

Write = Callable[..., str]


def problems(file: str, tables: Tables, *words: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(file, words, tables)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return [str(problem) for problem in caught.value.problems]


def test_a_whole_recipe_is_typed(recipe: Write, tables: Tables) -> None:
    made = load(recipe(), ["train.learning_rate=1e-4", "data.seed=7"], tables)
    assert made.name == "run"
    assert made.text == WHOLE
    assert made.overrides == ("train.learning_rate=1e-4", "data.seed=7")
    assert made.method.config == Margin(gamma=0.5)
    assert type(made.method.config) is Margin
    assert made.data.train[0].config == Numbers(n=10, seed=7)
    assert made.data.train[0].name == "numbers"
    assert made.train == {"max_steps": 60, "learning_rate": 1e-4}
    assert made.eval.every == 30
    assert made.eval.target[0].rows.config == Numbers(n=5, split="test")
    assert made.eval.target[0].split == "test"
    assert made.eval.retain[0].name == "quiz"
    assert made.wandb is None and made.tensorboard is False


def test_a_recipe_without_a_method_takes_the_stages_own(recipe: Write, tables: Tables) -> None:
    assert load(recipe(), ["method="], tables).method.name == "plain"


ONE_WRONG_WORD = [
    ("stge=sft", ["stge", "no such key", "did you mean 'stage'?"]),
    ("stage=sftt", ["stage: 'sftt'", "did you mean 'sft'?"]),
    ("stage=unlearn", ["stage: 'unlearn'", "there is: dpo, sft"]),
    ("stage=", ["run.yaml:1", "stage: missing", "sft"]),
    ("stage=dpo", ["method.name", "'margin' is a method of stage sft", "stage is dpo", "there is: pairs"]),
    ("plugins=[./mine.py]", ["plugins: '", "mine.py': no such file"]),
    ("eval.target.0.weight=1", ["eval.target.0.weight", "only read in data.train"]),
    ("eval.target.0.source=numbrs", ["eval.target.0.source: 'numbrs'", "did you mean 'numbers'"]),
    ("model.path=", ["run.yaml:2", "model.path: missing", "Hub id, folder"]),
    ("model=", ["model.path: missing"]),
    ("model=name", ["model: 'name'", "a map is due"]),
    ("model.path=3", ["model.path: 3", "text is due", '"3" in quotes']),
    ("model.revision=1.0", ["model.revision: 1.0", '"1.0" in quotes']),
    ("model.dtype=float23", ["model.dtype: 'float23'", "one of auto, float32", "did you mean 'float32'?"]),
    ("model.trust_remote_code=no", ["model.trust_remote_code: 'no'", "true or false is due", "write false"]),
    ("model.trust_remote_code=1", ["model.trust_remote_code: 1", "true or false"]),
    ("model.add_tokens=<x>", ["model.add_tokens: '<x>'", "a list of text", "write ['<x>']"]),
    ("model.add_tokens=[<x>, 3]", ["model.add_tokens.1: 3", "text is due"]),
    ("method.gama=1", ["method.gama", "(value 1)", "did you mean 'gamma'?"]),
    ("method.beta=high", ["method.beta: 'high'", "a number is due"]),
    ("method.beta=0", ["run.yaml:3", "method", "beta must be above 0, got 0"]),
    ("method.name=mragin", ["method.name: 'mragin'", "did you mean 'margin'?"]),
    ("method=margin", ["method: 'margin'", "write {name: NAME}"]),
    ("data=rows", ["data: 'rows'", "a map is due"]),
    ("train=[]", ["train: []", "a map is due"]),
    ("data=", ["data.train: no sources", "numbers"]),
    ("data.train=[]", ["data.train: no sources", "{source: NAME}"]),
    ("data.train={source: numbers}", ["data.train", "a list of entries is due"]),
    ("data.train.0.source=nmbers", ["data.train.0.source: 'nmbers'", "did you mean 'numbers'?"]),
    ("data.train=[{n: 3}]", ["data.train.0.source: missing", "there is: numbers"]),
    ("data.train=[numbers]", ["data.train.0: 'numbers'", "write {source: NAME}"]),
    ("data.train.0.weigth=1", ["data.train.0.weigth", "did you mean 'weight'?"]),
    ("data.train.0.dtype=x", ["data.train.0.dtype", "there is: columns", "n, name, path"]),
    ("data.train.0.weight=0", ["data.train.0.weight: 0", "above 0"]),
    ("data.train.0.weight=-1", ["data.train.0.weight: -1", "above 0"]),
    ("data.train.0.n=0", ["run.yaml:6", "data.train.0", "n must be above 0, got 0"]),
    ("data.train.0.n=2.5", ["data.train.0.n: 2.5", "a whole number is due"]),
    ("data.train.0.split=tran", ["data.train.0.split: 'tran'", "train or test", "did you mean 'train'?"]),
    ("data.train.0.fraction=0.1", ["data.train.0.fraction", "from: train"]),
    ("data.train=[{source: numbers}, {source: numbers}]", ["data.train.1.name", "'numbers'", "of its own"]),
    ("data.train=[{from: train, fraction: 0.1}]", ["data.train.0.from", "only validation"]),
    ("data.validation=[{from: train, fraction: 1.5}]", ["data.validation.0.fraction: 1.5", "between 0 and 1"]),
    ("data.validation=[{from: train}]", ["data.validation.0.fraction: missing", "fraction: 0.02"]),
    ("data.validation=[{from: test, fraction: 0.1}]", ["data.validation.0.from: 'test'", "write from: train"]),
    ("data.validation=[{from: train, fraction: 0.1, n: 3}]", ["data.validation.0.n", "not read with from: train"]),
    ("data.train.0.verifier=numbr", ["data.train.0.verifier: 'numbr'", "no such verifier", "did you mean 'number'?"]),
    ("data.train.0.verifier={number: 0.5, form: 0.5}", ["data.train.0.verifier: 'form'", "no such verifier"]),
    ("data.thinking=some", ["data.thinking: 'some'", "keep, last, drop or null"]),
    ("data.weight_by=row", ["data.weight_by: 'row'", "rows or tokens", "did you mean 'rows'?"]),
    ("train.max_step=3", ["train.max_step", "(value 3)", "did you mean 'max_steps'?"]),
    ("train.max_steps=sixty", ["train.max_steps: 'sixty'", "a whole number is due"]),
    ("train.max_steps='60'", ["train.max_steps: '60'", "write 60 without quotes"]),
    ("train.max_steps=1_000", ["train.max_steps: '1_000'", "write 1000 without quotes"]),
    ("train.max_steps=true", ["train.max_steps: True", "a whole number is due"]),
    ("train.max_steps=[3]", ["train.max_steps: [3]", "a whole number is due"]),
    ("train.learning_rate=fast", ["train.learning_rate: 'fast'", "a number is due"]),
    ("train.packing=yes", ["train.packing: 'yes'", "true or false is due", "write true"]),
    ("train.max_length=long", ["train.max_length: 'long'", "a whole number or null is due"]),
    ("train.output_dir=x", ["train.output_dir", "not set here", "--run-dir"]),
    ("train.report_to=wandb", ["train.report_to", "track.wandb"]),
    ("train.deepspeed=x.json", ["train.deepspeed", "`deepspeed: zero2`"]),
    ("train.run_name=x", ["train.run_name", "track.wandb.name"]),
    ("train.eval_strategy=steps", ["train.eval_strategy", "eval.every"]),
    ("train.global_batch_size=0", ["train.global_batch_size: 0", "1 or more"]),
    ("train.global_batch_size=8.5", ["train.global_batch_size: 8.5", "a whole number"]),
    ("train.global_batchsize=8", ["train.global_batchsize", "did you mean 'global_batch_size'?"]),
    ("deepspeed=zeor2", ["deepspeed: 'zeor2'", "did you mean 'zero2'?"]),
    ("deepspeed=./none.json", ["deepspeed", "none.json", "no such file"]),
    ("deepspeed={stage: 2}", ["deepspeed", "no such file"]),
    ("eval.evry=3", ["eval.evry", "did you mean 'every'?"]),
    ("eval.every=0", ["eval.every: 0", "whole number of steps"]),
    ("eval.every=-5", ["eval.every: -5", "fraction of the run"]),
    ("eval.every=1.5", ["eval.every: 1.5", "epoch"]),
    ("eval.every=.nan", ["eval.every: nan"]),
    ("eval.every=epochs", ["eval.every: 'epochs'", "a number, a whole number, epoch or null is due"]),
    ("eval.margin=1", ["eval.margin: 1", "below 1"]),
    ("eval.budget.accuracy_drop=2", ["eval.budget.accuracy_drop: 2", "at least 0 and below 1"]),
    ("eval.budget.ece_rise=-0.1", ["eval.budget.ece_rise: -0.1", "at least 0 and below 1"]),
    ("eval.budget.action=halt", ["eval.budget.action: 'halt'", "report, stop, roll_back"]),
    ("eval.budget={action: replay}", ["eval.budget.action: replay: of what?"]),
    ("eval.budget={action: replay, replay: {source: sqll}}", ["eval.budget.replay.source: 'sqll'", "numbers"]),
    ("eval.budget={action: replay, replay: {source: numbers, n: 4, share: 1}}", ["eval.budget.replay.share: 1", "between"]),
    ("eval.budget={lr: {factor: 2}}", ["eval.budget.lr.factor: 2", "between 0 and 1"]),
    ("eval.budget={patience: 0}", ["eval.budget.patience: 0", "1 or more"]),
    ("eval.budget=0.02", ["eval.budget: 0.02", "a map is due"]),
    ("eval={live: false, budget: {action: stop}}", ["eval.budget.action: stop", "a watcher can only report"]),
    ("eval={certify: true, live: false, retain: [{task: quiz, shots: 0}]}", ["eval.certify: true: compares"]),
    ("eval.cost_limit=0.1", ["eval.cost_limit: only an evaluation in waves", "eval.order: waves"]),
    ("eval.order=wave", ["eval.order", "waves"]),
    ("eval.over=subject", ["eval.over: 'subject'", "subjects"]),
    ("eval={over: subjects, order: waves}", ["eval.over: subjects: an evaluation in waves", "eval.order: full"]),
    ("eval.retain.0.task=quizz", ["eval.retain.0.task: 'quizz'", "did you mean 'quiz'?"]),
    ("eval.retain.0.shots=-1", ["eval.retain.0.shots: -1", "0 or more"]),
    ("eval.retain.0.limit=0", ["eval.retain.0.limit: 0", "1 or more"]),
    ("eval.retain.0.variant=olmes", ["eval.retain.0.variant: 'olmes'", "one of hendrycks"]),
    ("eval.retain.0.shot=1", ["eval.retain.0.shot", "did you mean 'shots'?"]),
    ("eval.retain.0.max_new_tokens=3", ["eval.retain.0.max_new_tokens", "scores options", "remove it"]),
    ("eval.target.0.shots=3", ["eval.target.0.shots", "no such key"]),
    ("eval.target.0.n=0", ["eval.target.0", "n must be above 0, got 0"]),
    ("eval.retain=[{task: quiz}, {task: quiz}]", ["eval.retain.1.name", "'quiz'", "eval.retain.0"]),
    ("eval.retain=[{task: quiz, name: sums}]", ["eval.retain.0.name", "'sums'", "eval.target.0"]),
    ("eval.retain=[quiz]", ["eval.retain.0: 'quiz'", "write {task: NAME}"]),
    ("track.wnadb={}", ["track.wnadb", "did you mean 'wandb'?"]),
    ("track.tensorbord=true", ["track.tensorbord", "did you mean 'tensorboard'?"]),
    ("track.tensorboard=soon", ["track.tensorboard: 'soon'"]),
    ("track.wandb.mode=ofline", ["track.wandb.mode: 'ofline'", "did you mean 'offline'?"]),
    ("launch.nproc=0", ["launch.nproc: 0", "1 or more"]),
    ("launch.nproc=all", ["launch.nproc: 'all'", "a whole number or auto is due"]),
    ("adapter.kind=lroa", ["adapter.kind: 'lroa'", "did you mean 'lora'?"]),
    ("adapter.r=16", ["adapter.r", "adapter.kind: lora"]),
    ("adapter={kind: lora, rank: 3}", ["adapter.rank", "(value 3)"]),
    ("adapter={kind: lora, lora_alhpa: 3}", ["adapter.lora_alhpa", "did you mean 'lora_alpha'?"]),
    ("adapter={kind: lora, r: 1.5}", ["adapter.r: 1.5", "a whole number"]),
    ("adapter={kind: lora, r: 0, use_dora: 1}", ["adapter.use_dora: 1", "true or false"]),
    ("adapter={kind: lora, bias: some}", ["adapter.bias: 'some'", "one of none, all, lora_only"]),
    ("adapter={kind: lora, task_type: CAUSAL_LM}", ["adapter.task_type", "leave it out"]),
    ("adapter={kind: lora, layers_pattern: h}", ["adapter", "layers_to_transform"]),
    ("lora_alpha=16", ["lora_alpha", "write adapter.lora_alpha"]),
    ("max_steps=3", ["max_steps", "write train.max_steps"]),
    ("model.learning_rate=3", ["model.learning_rate", "write train.learning_rate"]),
    ("train.accuracy_drop=3", ["train.accuracy_drop", "write eval.budget.accuracy_drop"]),
    ("output_dir=x", ["output_dir", "--run-dir"]),
]  # fmt: skip


@pytest.mark.parametrize(("word", "parts"), ONE_WRONG_WORD, ids=lambda case: case if isinstance(case, str) else "")
def test_one_wrong_value_is_one_problem_with_path_value_and_remedy(
    recipe: Write, tables: Tables, word: str, parts: list[str]
) -> None:
    (problem,) = problems(recipe(), tables, word)
    for part in parts:
        assert part in problem
    assert problem.startswith("command line") or "run.yaml:" in problem


def test_a_batch_is_set_once(recipe: Write, tables: Tables) -> None:
    (problem,) = problems(recipe(), tables, "train.global_batch_size=8", "train.gradient_accumulation_steps=2")
    assert "train.gradient_accumulation_steps" in problem
    assert "global_batch_size" in problem


def test_all_problems_come_at_once_in_the_order_of_the_file(recipe: Write, tables: Tables) -> None:
    text = WHOLE.replace("gamma", "gama").replace("n: 10", "n: ten").replace("every: 30", "every: 0")
    found = problems(recipe(text.replace("quiz", "quizz")), tables)
    assert [problem.split(": ")[0].rpartition(":")[2] for problem in found] == ["3", "6", "9", "11"]


def test_a_problem_in_a_base_names_the_bases_line(recipe: Write, tables: Tables) -> None:
    recipe(WHOLE.replace("max_steps", "max_step"), "base.yaml")
    (problem,) = problems(recipe("extends: base.yaml"), tables)
    assert "base.yaml:7: train.max_step" in problem


@pytest.mark.parametrize("key", [key for key in HABITS if key not in ("steps", "do_train", "do_eval")])
@pytest.mark.parametrize("block", ["", "train."])
def test_a_neighbours_key_is_answered_with_ours(recipe: Write, key: str, block: str) -> None:
    text = "stage: sft\nmodel: {path: x}\ndata: {train: [{source: sql}]}\n"
    with pytest.raises(RecipeError) as caught:
        load(recipe(text), [f"{block}{key}=1"])
    (problem,) = caught.value.problems
    assert problem.path == block + key
    assert HABITS[key] in problem.text


def test_what_a_habit_is_answered_with_exists() -> None:
    """Every `section.key` in the advice is a key of the schema; `n` of a list entry is not written so."""
    import re

    from launch.schema import recipe_schema

    schema = recipe_schema()
    known = {"train": schema["$defs"]["train_sft"]["properties"]}
    for name in ("model", "adapter", "data", "eval", "launch"):
        known[name] = next(part for part in schema["properties"][name]["anyOf"] if "properties" in part)["properties"]
    for advice in [*HABITS.values(), *OWNED_TRAIN.values(), *OWNED_ADAPTER.values()]:
        for section, key in re.findall(r"\b(model|adapter|data|train|eval|launch)\.([a-z_0-9]+)", advice):
            assert key in known[section], advice


def test_owned_keys_exist_in_the_classes_they_are_refused_for() -> None:
    """A row for a key that the class no longer has would never be shown."""
    from launch.fields import fields_of
    from trainers.catalog import STAGES

    known = set().union(*(fields_of(stage.arguments()) for stage in STAGES.values()))
    assert set(OWNED_TRAIN) <= known


def test_the_real_stage_is_checked_by_its_own_config_class(recipe: Write) -> None:
    file = recipe("stage: sft\nmodel: {path: x}\ndata: {train: [{source: sql}]}\n")
    made = load(
        file,
        ["train.lr_scheduler_type=cosine", "train.optim=adamw_torch", "train.warmup_steps=0.1", "train.packing=true"],
    )
    assert made.train["lr_scheduler_type"] == "cosine"
    with pytest.raises(RecipeError) as caught:
        load(
            file,
            ["train.lr_scheduler_type=cosin", "train.packing=yes", "train.max_seq_length=3", "train.loss_type=dft"],
        )
    text = str(caught.value)
    assert "did you mean 'cosine'?" in text
    assert "write train.max_length" in text
    assert "write method.name" in text
    assert len(caught.value.problems) == 4


def test_a_lora_takes_pefts_own_names(recipe: Write, tables: Tables) -> None:
    words = ["kind=lora", "r=16", "lora_alpha=32", "target_modules=all-linear", "use_dora=true"]
    made = load(recipe(), [f"adapter.{word}" for word in [*words, "init_lora_weights=pissa_niter_16"]], tables).adapter
    assert made.kind == "lora"
    assert made.options["target_modules"] == "all-linear"
    assert made.options["init_lora_weights"] == "pissa_niter_16"
    assert made.options["use_dora"] is True


@pytest.mark.parametrize(("word", "value"), [("30", 30), ("0.25", 0.25), ("epoch", "epoch"), ("", None)])
def test_every_is_steps_a_fraction_or_epoch(recipe: Write, tables: Tables, word: str, value: object) -> None:
    read = load(recipe(), [f"eval.every={word}"], tables).eval.every
    assert read == value
    assert type(read) is type(value)


def test_a_whole_float_is_a_whole_number(recipe: Write, tables: Tables) -> None:
    read = load(recipe(), ["train.max_steps=1e3"], tables).train["max_steps"]
    assert read == 1000
    assert isinstance(read, int)


def test_null_deletes_in_an_extending_file_but_is_a_value_where_there_is_nothing_to_delete(
    recipe: Write, tables: Tables
) -> None:
    assert load(recipe(), ["train.max_length=null"], tables).train["max_length"] is None
    recipe(WHOLE.replace("max_steps: 60", "max_steps: 60, max_length: 256"), "base.yaml")
    assert "max_length" not in load(recipe("{extends: base.yaml, train: {max_length: null}}"), (), tables).train


def test_deepspeed_is_a_name_or_a_file(recipe: Write, tables: Tables, tmp_path: Path) -> None:
    named = load(recipe(), ["deepspeed=zero2"], tables).deepspeed
    assert named is not None
    assert named.name == "zero2.json"
    own = recipe("{}", "ds/mine.json")
    assert load(recipe(WHOLE + "deepspeed: ds/mine.json"), (), tables).deepspeed == Path(own)
    recipe("{", "ds/mine.json")
    (problem,) = problems(recipe(WHOLE + "deepspeed: ds/mine.json"), tables)
    assert "not JSON" in problem


def test_the_resolved_recipe_is_complete_json_and_loads_as_the_same_recipe(recipe: Write, tables: Tables) -> None:
    import json
    from dataclasses import replace

    words = [
        "data.validation=[{from: train, fraction: 0.1}]",
        "adapter={kind: lora, r: 4}",
        "track.wandb={tags: [a]}",
        "track.tensorboard=true",
        "deepspeed=zero1",
    ]
    first = load(recipe(), [*words, "train.global_batch_size=8"], tables)
    text = json.dumps({key: value for key, value in first.resolved.items() if key not in ("name", "file", "overrides")})
    second = load(recipe(text, "again/run.yaml"), (), tables)
    assert json.loads(text)["method"] == {"name": "margin", "beta": 2.0, "gamma": 0.5}
    same = replace(second, file=first.file, text=first.text, overrides=first.overrides, resolved=first.resolved)
    assert same == first


def test_sections_are_those_the_schema_has() -> None:
    from launch.schema import recipe_schema

    assert set(recipe_schema()["properties"]) == {*SECTIONS, "extends", "pipeline", "plugins"}
