"""Our MMLU scores against lm-evaluation-harness's hf backend: the same rows, SmolLM2 in fp32, variant `lm_eval`.

Run in an environment with `pip install -e '.[eval]'`, with MMLU in $TEMPER_DATA/mmlu; takes half an hour on 2 cores:
    python -m tests.benchmarks.lm_eval_equality [items a subject, default 25] [a case ...]
    python -m tests.benchmarks.lm_eval_equality store
The second writes tests/eval_hooks/lm_eval_mmlu_scores.json, lm-eval's scores of 10 items a subject for the test suite:
ids and numbers, no text.
"""

import csv
import gzip
import json
import logging
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from eval_hooks.config import TaskSpec
from eval_hooks.encode import Encoded, encode
from eval_hooks.scoring.options import score
from eval_hooks.tasks.mmlu import load
from tests.benchmarks.machine import machine
from trainers.fetch import fetch

SUBJECTS = ("abstract_algebra", "miscellaneous", "moral_disputes", "world_religions")
"""Questions of the last two carry stray white space; examples of three of them are short."""
CASES: dict[str, dict[str, Any]] = {
    "0 shots": {"shots": 0},
    "5 shots": {"shots": 5},
    "0 shots, chat template": {"shots": 0, "chat_template": True},
    "5 shots, chat template, one turn": {"shots": 5, "chat_template": True, "fewshot_as_multiturn": False},
    "5 shots, chat template, turns": {"shots": 5, "chat_template": True, "fewshot_as_multiturn": True},
}
BATCHES = (1, 8)
FORM = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{question.strip()}}\nA. {{A}}\nB. {{B}}\nC. {{C}}\nD. {{D}}\nAnswer:",
    "doc_to_choice": ["A", "B", "C", "D"],
    "doc_to_target": "{{'ABCD'.index(answer)}}",
    "test_split": "test",
    "fewshot_split": "dev",
    "fewshot_config": {"sampler": "first_n"},
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
"""As in lm-eval's own mmlu/default, but for the columns' names."""
STORED = 10
"""Items a subject in the stored file."""
OUT = Path(__file__).parents[1] / "eval_hooks" / "lm_eval_mmlu_scores.json"
Scores = dict[str, list[float]]
"""item id -> log-probability per option."""


def main() -> None:
    """Score every case with both, and print how far they are apart, and lm-eval from itself; or store its scores."""
    logging.disable(logging.WARNING)  # lm-eval says of each task that its number of shots was set
    data = Path(os.environ.get("TEMPER_DATA") or Path(__file__).parents[3] / "shared" / "data") / "mmlu"
    folder = fetch("smollm2-135m-instruct")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if sys.argv[1:] == ["store"]:
        kept = {name: by_lm_eval(model, tokenizer, data, STORED, CASES[name], 1) for name in ("0 shots", "5 shots")}
        OUT.write_text(json.dumps({"lm_eval": version("lm_eval"), "each": STORED, "logp": kept}, indent=0) + "\n")
        return
    each = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    print(f"{len(SUBJECTS)} subjects x {each} items, SmolLM2-135M fp32, lm-eval {version('lm_eval')}, {machine()}")
    print(f"{'':34}  {'batch':>5}  {'max |d logp|':>12}  {'of itself at 1':>14}  predictions alike", flush=True)
    for name, case in ((name, CASES[name]) for name in sys.argv[2:] or CASES):
        ours, alone = by_us(model, tokenizer, data, each, case), None
        for batch in BATCHES:
            theirs = by_lm_eval(model, tokenizer, data, each, case, batch)
            far, alike = compared(ours, theirs)
            own, _ = compared(alone, theirs) if alone else (0.0, 0)
            alone = alone or theirs
            print(f"{name:34}  {batch:>5}  {far:>12.1e}  {own:>14.1e}  {alike} of {len(ours)}", flush=True)


def by_us(model: Any, tokenizer: Any, data: Path, each: int, case: Mapping[str, Any]) -> Scores:
    """Our scores of a case."""
    spec = TaskSpec(task="mmlu", path=str(data), subjects=SUBJECTS, limit=each * len(SUBJECTS), **case)
    items = encode(load(spec), spec, tokenizer, 8192)
    if spec.chat_template:
        items = [with_line_end(item) for item in items]
    return {item.item.item_id: list(one.logp) for item, one in zip(items, score(model, items), strict=True)}


def with_line_end(item: Encoded) -> Encoded:
    """With the prompt's last token scored too: lm-eval counts white space that ends a prompt among the option's tokens.

    A chat template's prompt ends in a line's end, so lm-eval adds its log-probability to that of every option.
    """
    *shared, last = item.shared
    branches = tuple((last, *branch) for branch in item.branches)
    return replace(item, shared=tuple(shared), branches=branches, scored=tuple(n + 1 for n in item.scored))


def by_lm_eval(model: Any, tokenizer: Any, data: Path, each: int, case: Mapping[str, Any], batch: int) -> Scores:
    """lm-eval's scores of a case, by a task of its own on each subject's rows of the same files."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch, max_length=8192)
    with tempfile.TemporaryDirectory() as scratch:
        tasks = [configured(subject, data, Path(scratch)) for subject in SUBJECTS]
        found = lm_eval.simple_evaluate(
            model=harness,
            tasks=tasks,
            num_fewshot=case["shots"],
            limit=each,
            bootstrap_iters=0,
            apply_chat_template=case.get("chat_template", False),
            fewshot_as_multiturn=case.get("fewshot_as_multiturn", False),
        )
    return {
        f"{subject}/{sample['doc']['idx']}": [round(response[0][0], 5) for response in sample["resps"]]
        for subject in SUBJECTS
        for sample in found["samples"][f"equality_{subject}"]
    }


def configured(subject: str, data: Path, scratch: Path) -> dict[str, Any]:
    """A task of lm-eval on the rows of a subject."""
    files = {}
    for split, name in (("dev", "dev.csv"), ("test", "test.csv.gz")):
        files[split] = str(scratch / f"{subject}.{split}.jsonl")
        rows = [row for row in read(data / name) if row["subject"] == subject]
        Path(files[split]).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return {
        "task": f"equality_{subject}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files, "cache_dir": str(scratch / "cache")},
        "description": "The following are multiple choice questions (with answers) about "
        f"{subject.replace('_', ' ')}.\n\n",
        **FORM,
    }


def read(file: Path) -> Sequence[Mapping[str, str]]:
    """The rows of a CSV file, plain or gzipped."""
    opener: Any = gzip.open if file.suffix == ".gz" else open
    with opener(file, "rt", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def compared(ours: Scores, theirs: Scores) -> tuple[float, int]:
    """(largest difference of a log-probability, number of items with the same best option)."""
    assert ours.keys() == theirs.keys()
    far = max(abs(a - b) for item in ours for a, b in zip(ours[item], theirs[item], strict=True))
    return far, sum(best(ours[item]) == best(theirs[item]) for item in ours)


def best(logp: Sequence[float]) -> int:
    """Number of the likeliest option."""
    return max(range(len(logp)), key=logp.__getitem__)


if __name__ == "__main__":
    main()
