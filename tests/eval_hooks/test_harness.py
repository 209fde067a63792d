"""lm-eval's tasks through the bridge: its own hf backend's numbers on the same model, as our tables."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import yaml

from eval_hooks import EvalError
from eval_hooks.config import TaskSpec
from eval_hooks.evaluate import Pass, evaluate
from eval_hooks.forward import no_progress
from eval_hooks.harness import load
from eval_hooks.harness.judging import judge_call, results
from eval_hooks.harness.load import in_turn
from eval_hooks.harness.measure import Judged, metrics, stretched
from eval_hooks.harness.requests import Prompt, answers
from eval_hooks.measure import measure
from eval_hooks.ready import Ready, load_items, reader_of, ready
from eval_hooks.summary import summarise_task
from eval_hooks.table import read_table
from tests.conftest import tiny_llama
from tests.eval_hooks.test_shares import processes

pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install 'tempering[eval]'")

ACC = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")]
EXACT = [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}]
PERPLEXITY = {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False}
TASKS: dict[str, dict[str, Any]] = {
    "rivers": {
        "output_type": "multiple_choice",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_target": "{{choices.index(answer)}}",
        "doc_to_choice": "{{choices}}",
        "metric_list": ACC,
    },
    "letters": {
        "output_type": "multiple_choice",
        "description": "Choose.\n\n",
        "doc_to_text": "{{question}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nAnswer:",
        "doc_to_target": "{{choices.index(answer)}}",
        "doc_to_choice": ["A", "B", "C"],
        "metric_list": ACC[:1],
    },
    "blanks": {  # as winogrande: the options stand before what is scored
        "output_type": "multiple_choice",
        "doc_to_text": "{{choices.index(answer)}}",
        "doc_to_target": "is in the north",
        "doc_to_choice": "{{choices}}",
        "metric_list": ACC[:1],
    },
    "sums": {
        "output_type": "generate_until",
        "doc_to_text": "Q: {{question}}\nA:",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["\n", "o", " e"], "max_gen_toks": 12, "do_sample": False},
        "filter_list": [
            {"name": "first", "filter": [{"function": "regex", "regex_pattern": "(\\w)"}, {"function": "take_first"}]},
            {"name": "whole", "filter": [{"function": "take_first"}]},
        ],
        "metric_list": EXACT,
        "fewshot_config": {"sampler": "first_n"},
    },
    "endings": {
        "output_type": "loglikelihood",
        "doc_to_text": "{{question}} It is",
        "doc_to_target": " {{answer}}",
        "metric_list": [PERPLEXITY, ACC[0]],
    },
    "prose": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{question * 3}}",
        "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
    },
    "halves": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_target": 0,
        "doc_to_choice": "{{choices}}",
        "process_results": "!function judge.halves",
        "metric_list": ACC[:1],
    },
}
JUDGE = """
def halves(doc, results):
    return {"acc": 0.25 + 0.5 * (results[0][0] > results[1][0])}
"""
ROWS = [
    {
        "question": f"Which of these is {word}, and where does it run {'on and ' * (i % 3)}on?",
        "choices": [f"the {word} Rhine", "Po", f"a longer river {i}"],
        "answer": ("Po", f"a longer river {i}", f"the {word} Rhine")[i % 3],
    }
    for i, word in enumerate(("old", "new", "long", "short", "wide", "deep", "cold"))
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """YAML tasks with their data, as a user's own."""
    path = tmp_path_factory.mktemp("tasks")
    (path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (path / "judge.py").write_text(JUDGE)
    for name, form in TASKS.items():
        whole = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(path / "rows.jsonl")}, "cache_dir": str(path / "cache")},
            "test_split": "test",
            "fewshot_split": "test",
            **form,
        }
        text = yaml.safe_dump(whole, sort_keys=False).replace("'!function judge.halves'", "!function judge.halves")
        (path / f"{name}.yaml").write_text(text)
    group = {"group": "geography", "task": ["rivers", "letters"], "aggregate_metric_list": [{"metric": "acc"}]}
    (path / "geography.yaml").write_text(yaml.safe_dump(group))
    (path / "all.yaml").write_text(yaml.safe_dump({"group": "everything", "task": ["rivers", "sums"]}))
    (path / "unlike.yaml").write_text(yaml.safe_dump({"group": "unlike", "task": ["rivers", "halves"]}))
    return path


def spec(folder: Path, name: str, **more: Any) -> TaskSpec:
    return TaskSpec(task=f"lm_eval:{name}", include_path=str(folder), **more)


def asked(one: TaskSpec, model: Any, tokenizer: Any) -> Ready:
    return ready(one, "retain", reader_of(model, tokenizer, {}), load_items(one))


def reference(folder: Path, name: str, model: Any, tokenizer: Any, **more: Any) -> Any:
    """The same by lm-eval alone."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    return lm_eval.simple_evaluate(
        model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=2),
        tasks=[name],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
        **more,
    )


CASES: list[tuple[str, dict[str, Any]]] = [
    ("rivers", {}),
    ("rivers", {"shots": 2}),
    ("letters", {"shots": 1}),
    ("letters", {"shots": 2, "chat_template": True}),
    ("letters", {"shots": 2, "chat_template": True, "fewshot_as_multiturn": False}),
    ("blanks", {"shots": 1}),
    ("endings", {}),
    ("endings", {"shots": 1}),
    ("prose", {}),
    ("halves", {}),
    ("sums", {"shots": 1}),
    ("sums", {"shots": 1, "chat_template": True, "metric": "exact_match,whole"}),
]


@pytest.mark.parametrize(("name", "how"), CASES)
def test_lm_eval_alone_gives_the_same(folder: Path, tokenizer: Any, name: str, how: dict[str, Any]) -> None:
    """Prompts, log-probabilities, answers, the metric of every item, and the metrics of all."""
    model = tiny_llama(tie_word_embeddings=False)
    one = asked(spec(folder, name, **how), model, tokenizer)
    table = measure(one, model, reader_of(model, tokenizer, {}))
    entry = summarise_task(table, role="retain")
    turns = how.get("fewshot_as_multiturn", True)
    due = reference(folder, name, model, tokenizer, num_fewshot=how.get("shots"),
                    apply_chat_template=how.get("chat_template", False), fewshot_as_multiturn=turns)  # fmt: skip
    metric, _, chosen = entry["metric"].partition(",")
    samples = [s for s in due["samples"][name] if s["filter"] == (chosen or "none")]
    assert one.first_prompt == samples[0]["arguments"][0][0]
    rows = table.to_pylist()
    assert [row["item_id"] for row in rows] == [f"{name}/{s['doc_id']}" for s in samples]
    for row, sample in zip(rows, samples, strict=True):
        if "logp" in row:
            theirs = [response[0][0] for response in sample["resps"]]
            assert row["logp"] == pytest.approx(theirs, abs=1e-4)
            assert row["correct"] == (sample[metric] == 1)
            assert row["gold"] == ["the", "Po", "a"].index(ROWS[sample["doc_id"]]["answer"].split()[0])
        elif "output" in row:
            assert row["output"] == sample["resps"][0][0]
            assert (row["score"], row["correct"]) == (sample[metric], sample[metric] == 1)
        else:
            assert row["score"] == due_score(sample[metric], metric)
    found = due["results"][name]
    assert len(entry["metrics"]) >= 1
    for key, value in entry["metrics"].items():
        assert value["value"] == pytest.approx(found[key if "," in key else f"{key},none"], rel=1e-5)
    if (theirs := found[entry["metric"] if "," in entry["metric"] else f"{metric},none"]) <= 1 and name != "prose":
        assert entry["accuracy"]["value"] == pytest.approx(theirs)


def due_score(found: Any, metric: str) -> float:
    """Of (log p, how many words) the nats a word."""
    return -found[0] / found[1] if metric == "word_perplexity" else float(found)


def test_answers_end_at_their_texts(tokenizer: Any) -> None:
    """What is written without them, cut at the first; the rows of a batch end apart, and only then is no limit hit."""
    model = tiny_llama(tie_word_embeddings=False)
    free = Prompt(ids=(5, 6), until=(), max_new_tokens=12, cut=False)
    asked = [replace(free, ids=(5, 6, 40 * i)) for i in range(4)]
    whole = [one.text for one in answers(model, tokenizer, asked, no_progress)]
    until = tuple(
        tokenizer.decode(tokenizer(text)["input_ids"][place]) for text, place in zip(whole, (2, 6), strict=False)
    )
    ended = answers(model, tokenizer, [replace(one, until=until) for one in asked], no_progress)
    for before, after in zip(whole, ended, strict=True):
        assert after.text == before.split(until[0])[0].split(until[1])[0]
        assert after.hit_limit == (after.text == before)
        assert after.n_tokens <= 12 and (after.n_tokens == 12 or not after.hit_limit)
    assert {one.hit_limit for one in ended} == {True, False}


def test_kinds_of_tables(folder: Path, tokenizer: Any) -> None:
    model = tiny_llama()
    kinds, entries = {}, {}
    for name in TASKS:
        table = measure(asked(spec(folder, name), model, tokenizer), model, reader_of(model, tokenizer, {}))
        entries[name] = summarise_task(table, role="retain", baseline=table, margin=0.02)
        kinds[name] = entries[name]["kind"]
    assert kinds == {"rivers": "choice", "letters": "choice", "blanks": "choice", "sums": "generate",
                     "endings": "score", "prose": "score", "halves": "score"}  # fmt: skip
    assert entries["letters"]["letter_mass"] < 1 and entries["rivers"]["letter_mass"] is None
    assert entries["rivers"]["calibration"]["ece"]["value"] is not None
    prose = entries["prose"]
    assert prose["accuracy"]["value"] is None and (prose["unit"], prose["better"]) == ("nats a word", "down")
    assert prose["score"]["value"] == pytest.approx(math.log(prose["metrics"]["word_perplexity"]["value"]))
    assert prose["directions"] == {"word_perplexity": "down", "bits_per_byte": "down"}
    assert {entry["retention"]["lost"] for entry in entries.values()} == {0}
    assert entries["halves"]["accuracy"]["method"].startswith("paired bootstrap")


def test_the_metric_decides_how_options_are_compared(folder: Path, tokenizer: Any) -> None:
    """acc: softmax of the sums; acc_norm: per character; each predicts what lm-eval's metric counts."""
    model, reader = tiny_llama(), None
    for metric in ("acc", "acc_norm"):
        reader = reader_of(model, tokenizer, {})
        table = measure(asked(spec(folder, "rivers", metric=metric), model, tokenizer), model, reader)
        for row in table.to_pylist():
            divided = [p / (c if metric == "acc_norm" else 1) for p, c in zip(row["logp"], row["chars"], strict=True)]
            assert row["pred"] == divided.index(max(divided))
        entry = summarise_task(table, role="target")
        assert entry["accuracy"]["value"] == pytest.approx(entry["metrics"][metric]["value"])


def test_a_group_is_one_table_with_a_subject_for_each_task(folder: Path, tokenizer: Any) -> None:
    model = tiny_llama()
    one = asked(spec(folder, "geography", limit=5), model, tokenizer)
    assert len(one) == 5
    table = measure(one, model, reader_of(model, tokenizer, {}))
    assert table.column("item_id").to_pylist() == [*(f"rivers/{i}" for i in range(3)), "letters/0", "letters/1"]
    whole = measure(asked(spec(folder, "geography"), model, tokenizer), model, reader_of(model, tokenizer, {}))
    due = reference(folder, "geography", model, tokenizer)["results"]["geography"]["acc,none"]
    assert summarise_task(whole, role="retain")["metrics"]["acc"]["value"] == pytest.approx(due)
    with pytest.raises(EvalError, match="'acc' is none of sums.*name its tasks one by one: rivers, sums"):
        asked(spec(folder, "everything"), model, tokenizer)
    with pytest.raises(EvalError, match=r"not all are of one kind \(choice, score\); name its tasks one by one"):
        asked(spec(folder, "unlike"), model, tokenizer)


def test_the_same_requests_again_after_training_and_the_pair_in_the_summary(
    folder: Path, tokenizer: Any, tmp_path: Path
) -> None:
    """Random examples are drawn once; the second evaluation is paired with the first, and flips are counted."""
    before, after = tiny_llama(), tiny_llama(seed=5)
    shots = {"rivers": 2, "endings": 2, "sums": 2, "prose": None}
    tasks = [asked(spec(folder, name, shots=n), before, tokenizer) for name, n in shots.items()]
    for step, model in ((0, before), (7, after)):
        run = Pass(tasks=tasks, folder=tmp_path / f"step-{step}", keep_going=False,
                   baselines={task.name: tmp_path / "step-0" for task in tasks} if step else {})  # fmt: skip
        summary = evaluate(run, model, reader_of(model, tokenizer, {}), step, None, lambda n, text: bar())
    prose = summary["tasks"]["prose"]["retention"]
    assert prose["lost"] + prose["gained"] == len(ROWS) and prose["delta"]["low"] < prose["delta"]["high"]
    for task in tasks[:3]:
        a, b = (read_table(tmp_path / f"step-{step}" / f"{task.name}.parquet") for step in (0, 7))
        flips = [x != y for x, y in zip(a.column("correct").to_pylist(), b.column("correct").to_pylist(), strict=True)]
        kept = summary["tasks"][task.name]["retention"]
        assert kept["lost"] + kept["gained"] == sum(flips)
    rise = summary["tasks"]["rivers"]["retention"]["ece_rise"]
    assert rise["value"] is None and "items are too few for a change of calibration" in rise["reason"]
    again = asked(spec(folder, "rivers", shots=2), after, tokenizer)
    assert again.prompt_hash == tasks[0].prompt_hash
    assert again.prompt_hash != asked(spec(folder, "rivers", shots=1), after, tokenizer).prompt_hash


class bar:  # noqa: N801
    """A progress bar that nobody sees."""

    def __enter__(self) -> Any:
        return no_progress

    def __exit__(self, *error: Any) -> None: ...


def test_a_long_context_is_cut_from_the_left_and_counted(folder: Path, tokenizer: Any) -> None:
    model = tiny_llama(max_position_embeddings=24)
    table = measure(asked(spec(folder, "letters", shots=2), model, tokenizer), model, reader_of(model, tokenizer, {}))
    entry = summarise_task(table, role="target")
    assert entry["cut"] == 3 * len(ROWS)
    samples = reference(folder, "letters", model, tokenizer, num_fewshot=2)["samples"]["letters"]
    for row, sample in zip(table.to_pylist(), samples, strict=True):
        assert row["logp"] == pytest.approx([response[0][0] for response in sample["resps"]], abs=1e-4)


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("river", {}, "lm-eval knows no task 'river'; near are .*rivers"),
    ("rivers", {"include_path": "/no/such"}, "include_path /no/such: no such folder"),
    ("rivers", {"metric": "f1"}, "metric 'f1' is none of rivers; it has acc, acc_norm, with the filters none"),
    ("sums", {"metric": "exact_match,last"}, "it has exact_match, with the filters first, whole"),
    ("drawn", {}, "draws its answers"),
    ("fixed", {"shots": 1}, "fixed is fixed at 0 shots, shots is 1"),
    ("remote", {}, "its data set nobody/nothing cannot be had.*include_path"),
    ("unsafe", {}, "runs code that the model wrote"),
    ("broken", {}, "lm-eval cannot load it"),
]


@pytest.mark.parametrize(("name", "more", "message"), BAD)
def test_what_cannot_be_asked_is_said_before_a_model_is_there(
    folder: Path, tmp_path: Path, name: str, more: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "_manager", lambda path, defaults, own=load._manager: own(path, False))  # all takes 15 s
    base = yaml.safe_load((folder / "sums.yaml").read_text())
    changed: dict[str, dict[str, Any]] = {
        "drawn": {"generation_kwargs": {"until": ["\n"], "do_sample": True, "temperature": 0.7}},
        "fixed": {"num_fewshot": 0},
        "remote": {"dataset_path": "nobody/nothing", "dataset_kwargs": None},
        "unsafe": {"unsafe_code": True},
        "broken": {"test_split": "tset"},
        "sums": {},
        "rivers": {},
    }
    for key, values in changed.items():
        (tmp_path / f"{key}.yaml").write_text(yaml.safe_dump({**base, **values, "task": key}))
    if name == "rivers":
        (tmp_path / "rivers.yaml").write_text((folder / "rivers.yaml").read_text())
    with pytest.raises(EvalError, match=message):
        load_items(TaskSpec(task=f"lm_eval:{name}", **{"include_path": str(tmp_path), **more}))


ENDLESS = """
def judge(doc, results):
    while results[0] == "bomb" or doc["question"] == "bomb":
        pass
    return {"exact_match": float(results[0] == doc["answer"]), METRIC: float(len(results[0]))}
"""


@pytest.mark.parametrize(
    ("metric", "question", "message"),
    [
        ("exact_match", "q", None),
        ("ter", "q", "endless/1: judging the answer took over 0.3 s of CPU, and no score means that"),
        ("exact_match", "bomb", "endless/0: judging even an empty answer took over 0.3 s of CPU"),
    ],
)
def test_an_answer_that_a_task_would_never_finish_is_wrong(
    tmp_path: Path, metric: str, question: str, message: str | None
) -> None:
    """Killed and the others judged; an error where no number means wrong, or where the answer is not to blame."""
    rows = [{"question": question, "answer": word} for word in ("yes", "bomb")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "endless.py").write_text(ENDLESS.replace("METRIC: float(len(results[0]))", f"'{metric}': 0.5"))
    metrics = [
        {"metric": name, "aggregation": "mean", "higher_is_better": name != "ter"} for name in {"exact_match", metric}
    ]
    form = {**TASKS["sums"], "task": "endless", "dataset_path": "json", "test_split": "test", "metric_list": metrics,
            "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}, "cache_dir": str(tmp_path / "c")},
            "process_results": "!function endless.judge"}  # fmt: skip
    del form["filter_list"], form["fewshot_config"]
    (tmp_path / "endless.yaml").write_text(
        yaml.safe_dump(form).replace("'!function endless.judge'", "!function endless.judge")
    )
    one = spec(tmp_path, "endless")
    task = load.load(one).tasks[0]
    texts = {i: [SimpleNamespace(resps=[text])] for i, text in enumerate(("yes", "bomb"))}
    asked = replace(judge_call(one), cpu_s=0.3)
    if message:
        with pytest.raises(EvalError, match=message):
            results(asked, 0, task, texts)
        return
    first, second = results(asked, 0, task, texts)
    assert dict(second["none"].metrics) == {"exact_match": 0.0}
    assert (first["none"].filtered, second["none"].filtered) == ("yes", "judging it took over 0.3 s of CPU")


def test_too_few_examples_for_the_shots_is_an_error_and_so_is_a_missing_template(folder: Path, tokenizer: Any) -> None:
    model = tiny_llama()
    with pytest.raises(EvalError, match="sums cannot be rendered .*exceeds the 6"):
        asked(spec(folder, "sums", shots=9), model, tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(EvalError, match="the tokenizer has no chat template"):
        asked(spec(folder, "rivers", chat_template=True), model, tokenizer)


def test_without_lm_eval_the_next_step_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EvalError, match=r"pip install 'tempering\[eval\]'"):
        load_items(TaskSpec(task="lm_eval:arc_easy"))


def test_a_name_is_due_and_only_there() -> None:
    for task in ("lm_eval", "lm_eval:", "mmlu:abc"):
        with pytest.raises(EvalError, match="there are: mmlu, .*lm_eval:NAME"):
            load_items(TaskSpec(task=task))


def test_in_turn_by_hand() -> None:
    assert in_turn([3, 1, 5], None) == [3, 1, 5]
    assert in_turn([3, 1, 5], 6) == [3, 1, 2]
    assert in_turn([3, 1, 5], 1) == [1, 0, 0]


def test_a_metric_beside_the_deciding_one_that_fails_is_missing_with_its_reason() -> None:
    """Two items, .5 and 1, under four metrics: a mean of .75; no numbers; an aggregation that raises; one that is nan."""

    def raises(values: list[float]) -> float:
        raise LookupError("punkt is not downloaded")

    of = {"acc": None, "words": None, "bleu": raises, "none": lambda values: math.nan}
    task = Mock(task_name="t", aggregation=lambda: {name: how for name, how in of.items() if how})
    found = metrics([
        Judged(task=task, doc_id=doc_id, document={}, filter="none", requests=(), filtered="",
               metrics={"acc": value, "words": ["a"], "bleu": value, "none": value})
        for doc_id, value in enumerate((0.5, 1.0))
    ], {})  # fmt: skip
    assert found["acc"].value == 0.75 and found["acc"].low is not None
    assert found["words"].value is None and "no number" in str(found["words"].reason)
    assert found["bleu"].value is None and "LookupError: punkt is not downloaded" in str(found["bleu"].reason)
    assert found["none"].value is None


def test_progress_adds_up_whatever_it_is_told_of() -> None:
    heard: list[int] = []
    tell = stretched(heard.append, parts=7, whole=3)
    for more in (1, 2, 1, 3):
        tell(more)
    assert sum(heard) == 3


SCRIPT = """
import json, sys
import torch.distributed as dist
from transformers import AutoTokenizer
from eval_hooks.config import TaskSpec
from eval_hooks.measure import measure
from eval_hooks.ready import load_items, reader_of, ready
from eval_hooks.table import facts_of
from tests.conftest import tiny_llama

folder, tokenizer, ranks = sys.argv[1], AutoTokenizer.from_pretrained(sys.argv[2]), int(sys.argv[3])
if ranks > 1:
    dist.init_process_group("gloo")
model, found = tiny_llama(tie_word_embeddings=False), {}
reader = reader_of(model, tokenizer, {})
for name in ("rivers", "endings", "prose", "sums"):
    calls = []
    hook = model.register_forward_pre_hook(lambda *_: calls.append(1))
    spec = TaskSpec(task=f"lm_eval:{name}", include_path=sys.argv[4], batch_tokens=60)
    table = measure(ready(spec, "retain", reader, load_items(spec)), model, reader)
    hook.remove()
    found[name] = [table.to_pylist(), facts_of(table)]
    if name != "sums":  # generate calls the model as often as its longest answer asks
        found[f"{name} calls"] = len(calls)
rank = dist.get_rank() if ranks > 1 else 0
open(f"{folder}/{ranks}-{rank}.json", "w").write(json.dumps(found))
if ranks > 1:
    dist.barrier()
    dist.destroy_process_group()
"""


def test_two_ranks_give_the_tables_of_one_and_call_the_model_alike(folder: Path, tmp_path: Path, smollm2: Path) -> None:
    for ranks in (1, 2):
        processes(tmp_path, SCRIPT, ranks, str(tmp_path), str(smollm2), str(ranks), str(folder))
    one, first, second = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("1-0", "2-0", "2-1"))
    assert first == second
    for name in ("rivers", "endings", "prose"):
        assert one.pop(f"{name} calls") > first.pop(f"{name} calls")
    assert first == one and set(one) == {"rivers", "endings", "prose", "sums"}
