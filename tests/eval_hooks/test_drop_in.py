"""README's lines in somebody's own script: in four trainers, in a repository with our folders' names, on two ranks."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import TrainerCallback

from eval_hooks.table import read_table
from tests.conftest import SMALL_VOCABULARY, tiny_llama
from tests.eval_hooks.offline import offline_runs

pytestmark = pytest.mark.usefixtures("few_resamples")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "README.md").read_text("utf-8")
PAGE = PAGE[PAGE.index("## In your own trainer") : PAGE.index("## A method of your own")]
SETTINGS: dict[str, Any] = {
    "max_steps": 2,
    "report_to": "none",
    "use_cpu": True,
    "save_strategy": "no",
    "eval_strategy": "no",
    "disable_tqdm": True,
    "per_device_train_batch_size": 2,
    "gradient_checkpointing": True,
    "logging_steps": 1,
    "learning_rate": 1e-2,
}


@pytest.fixture
def tokenizer(small_tokenizer: Any) -> Any:
    """The small one: what is measured here is no matter of words."""
    return small_tokenizer


def lines() -> str:
    """The page's code, with fewer items and steps, so that a tiny model's run takes seconds."""
    found = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1].replace('"shots": 0', '"shots": 0, "limit": 6').replace("every=100", "every=1")


def plain(tokenizer: Any) -> Any:
    from transformers import Trainer, TrainingArguments

    ids = torch.randint(0, len(tokenizer), (8, 12), generator=torch.Generator().manual_seed(0)).tolist()
    rows = Dataset.from_dict({"input_ids": ids, "labels": ids})
    return Trainer(dropping(), TrainingArguments("out", **SETTINGS), train_dataset=rows, processing_class=tokenizer)


def sft(tokenizer: Any, **more: Any) -> Any:
    from trl import SFTConfig, SFTTrainer

    rows = Dataset.from_dict({"prompt": ["a", "b"] * 4, "completion": ["c", "d"] * 4})
    return SFTTrainer(dropping(), SFTConfig("out", **SETTINGS), train_dataset=rows, processing_class=tokenizer, **more)


def sft_lora(tokenizer: Any) -> Any:
    from peft import LoraConfig

    return sft(tokenizer, peft_config=LoraConfig(r=2, lora_dropout=0.1, target_modules="all-linear"))


def dpo(tokenizer: Any) -> Any:
    from trl import DPOConfig, DPOTrainer

    rows = Dataset.from_dict({"prompt": ["a", "b"] * 4, "chosen": ["c", "d"] * 4, "rejected": ["e", "f"] * 4})
    arguments, start = DPOConfig("out", **SETTINGS), tiny_llama(SMALL_VOCABULARY)
    return DPOTrainer(dropping(), start, arguments, train_dataset=rows, processing_class=tokenizer)


def grpo(tokenizer: Any) -> Any:
    """Answers are drawn with torch's own random numbers: one that is used up in between, and they are others."""
    from trl import GRPOConfig, GRPOTrainer

    rows = Dataset.from_dict({"prompt": ["a", "b"] * 4})
    arguments = GRPOConfig("out", num_generations=2, max_completion_length=6, **SETTINGS)
    reward = lambda completions, **columns: [float(sum(map(ord, text)) % 7) for text in completions]  # noqa: E731
    return GRPOTrainer(dropping(), reward, arguments, train_dataset=rows, processing_class=tokenizer)


def dropping() -> Any:
    """A tiny model with dropout, in training mode."""
    return tiny_llama(SMALL_VOCABULARY, attention_dropout=0.1).train()


class InTraining(TrainerCallback):
    """Notes the mode in which each step finds the model."""

    def __init__(self) -> None:
        self.modes: list[bool] = []

    def on_step_begin(self, *args: Any, model: Any = None, **kwargs: Any) -> None:
        self.modes.append(model.training)


@pytest.mark.parametrize("make", [plain, sft, sft_lora, dpo, grpo])
def test_in_this_trainer(
    make: Callable[[Any], Any], tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured at 0, 1 and 2 though eval_strategy is `no`; all that training logs, and its weights, are as without."""
    monkeypatch.chdir(tmp_path)
    ends = []
    for code in (lines(), "trainer.train()"):
        trainer, mode = make(tokenizer), InTraining()
        trainer.add_callback(mode)
        exec(code, {"trainer": trainer})
        logged = [
            {key: value for key, value in line.items() if not re.search("time|second|runtime", key)}
            for line in trainer.state.log_history
        ]
        ends.append((logged, {name: p.detach().clone() for name, p in trainer.model.named_parameters()}))
        assert mode.modes == [True, True]
    assert ends[0][0] == ends[1][0] and "loss" in ends[0][0][0]
    assert all(torch.equal(p, ends[1][1][name]) for name, p in ends[0][1].items())
    files = sorted(Path("runs/mine").glob("evals/step-*/summary.json"))
    found = [json.loads(file.read_text()) for file in files]
    assert [summary["step"] for summary in found] == [0, 1, 2]
    assert {name: task["role"] for name, task in found[2]["tasks"].items()} == {"law": "target", "pocket": "retain"}
    assert all(task["retention"]["baseline_step"] == 0 for task in found[2]["tasks"].values())


SCRIPT = """\
import launch
import trainers.mine

assert trainers.mine.OURS and launch.OURS, "the repository's own"

import torch
from datasets import Dataset
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import SFTConfig, SFTTrainer

torch.manual_seed(0)
config = LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                     num_key_value_heads=2, vocab_size={vocabulary}, bos_token_id=1, eos_token_id=2, pad_token_id=2)
rows = Dataset.from_dict({{"prompt": ["a", "b"] * 4, "completion": ["c", "d"] * 4}})
args = SFTConfig("out", max_steps=2, use_cpu=True, save_strategy="no", eval_strategy="no", logging_steps=1,
                 report_to="wandb", per_device_train_batch_size={batch}, disable_tqdm=True)
trainer = SFTTrainer(LlamaForCausalLM(config), args, train_dataset=rows,
                     processing_class=AutoTokenizer.from_pretrained({tokenizer!r}))
{lines}
"""


def run(folder: Path, tokenizer: Path, ranks: int) -> Path:
    """Somebody's script, started in their repository; its folder, with runs/mine and wandb in it."""
    for package in ("trainers", "launch"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text("OURS = True\n")
    (folder / "trainers" / "mine.py").write_text("OURS = True\n")
    script = SCRIPT.format(batch=2 // ranks, tokenizer=str(tokenizer), vocabulary=SMALL_VOCABULARY, lines=lines())
    (folder / "tune.py").write_text(script)
    several = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"] if ranks > 1 else []
    done = subprocess.run(
        [sys.executable, *several, "tune.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, small_vocabulary: Path) -> Path:
    """The script, run by one process."""
    return run(tmp_path_factory.mktemp("alone") / "theirs", small_vocabulary, 1)


def test_the_wandb_run_of_the_script_gets_exactly_our_keys(alone: Path) -> None:
    """The Trainer's own W&B callback, which started that run, would write train/eval/...; W&B's own count of calls rises."""
    (found,) = offline_runs(alone)
    rows = [row for row in found.history if "eval/pocket/accuracy" in row]
    assert [row["train/global_step"] for row in rows] == [0, 1, 2]
    assert "eval/pocket/retention/delta" in rows[1] and "eval/law/accuracy" in rows[1]
    assert [row["train/global_step"] for row in found.history if "train/loss" in row] == [1, 2]
    assert not [key for row in found.history for key in row if key.startswith("train/eval")]
    assert [row["_step"] for row in found.history] == list(range(len(found.history)))
    assert all(row["train/global_step"] is not None for row in found.history)
    assert found.axes["eval/*"] == "train/global_step"
    assert found.summary["eval/pocket/role"] == "retain"
    assert found.summary["eval/pocket/retention/verdict"] in {"kept", "undecided", "dropped", "gained"}


@pytest.mark.soak
def test_two_ranks_give_the_tables_of_one(alone: Path, tmp_path: Path, small_vocabulary: Path) -> None:
    """The base's table row by row: nothing twice, nothing lost; one W&B run, of rank 0."""
    both = run(tmp_path / "theirs", small_vocabulary, 2)
    one, two = (read_table(folder / "runs/mine/evals/step-0/pocket.parquet") for folder in (alone, both))
    for name in ("item_id", "gold", "pred", "correct"):
        assert one.column(name).equals(two.column(name)), name
    steps = [file.parent.name for file in sorted(both.glob("runs/mine/evals/*/summary.json"))]
    assert steps == ["step-0", "step-1", "step-2"]
    assert len(offline_runs(both)) == 1
    written = [json.loads(line)["step"] for line in (both / "runs/mine/metrics.jsonl").read_text().splitlines()]
    assert written == [0, 1, 2]
