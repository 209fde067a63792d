"""Writes lm_eval_scores.json: the log-probabilities lm-evaluation-harness gives for pocket items, as a reference.

Run in an environment with `pip install -e '.[eval]'`: python -m tests.eval_hooks.make_lm_eval_scores
"""

import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eval_hooks.tasks.pocket import bank
from trainers.fetch import fetch

SUBJECTS = ("astronomy", "marketing")
SHOTS = 5
LETTERS = {
    "doc_to_text": "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:",
    "doc_to_choice": ["A", "B", "C", "D"],
}
"""As in lm-eval's own mmlu/default."""
CLOZE = {"doc_to_text": "Question: {{question.strip()}}\nAnswer:", "doc_to_choice": "{{choices}}"}
"""As in its mmlu/continuation."""
OUT = Path(__file__).with_name("lm_eval_scores.json")


def main() -> None:
    """Score both forms of both subjects with lm-eval's HFLM in fp32."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=str(fetch("smollm2-135m-instruct")), dtype="float32", device="cpu", batch_size=1)
    scores: dict[str, Any] = {"lm_eval": version("lm_eval"), "shots": SHOTS, "logp": {}}
    with tempfile.TemporaryDirectory() as scratch:
        for variant, form in (("lm_eval", LETTERS), ("olmes_cf", CLOZE)):
            for subject in SUBJECTS:
                task = configured(subject, form, Path(scratch))
                found = lm_eval.simple_evaluate(model=model, tasks=[task], num_fewshot=SHOTS, log_samples=True)
                for sample in found["samples"][task["task"]]:
                    item = f"{variant}/{subject}/{sample['doc_id']}"
                    scores["logp"][item] = [round(response[0][0], 5) for response in sample["resps"]]
    OUT.write_text(json.dumps(scores, indent=1) + "\n")


def configured(subject: str, form: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """lm-eval's task on the pocket bank's rows of a subject."""
    files = {}
    for split in ("dev", "test"):
        rows = [item for item in bank(split) if item.subject == subject]
        files[split] = str(scratch / f"{subject}.{split}.jsonl")
        lines = [{"question": i.question, "choices": list(i.choices), "answer": i.gold} for i in rows]
        Path(files[split]).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {
        "task": f"pocket_{subject}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "test_split": "test",
        "fewshot_split": "dev",
        "fewshot_config": {"sampler": "first_n"},
        "output_type": "multiple_choice",
        "description": f"The following are multiple choice questions (with answers) about {subject}.\n\n",
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        **form,
    }


if __name__ == "__main__":
    main()
