"""What hostile inputs are made from: a tiny model, rows, a recipe and a run folder that is as it should be."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.hostile.stage import Stage

RECIPE = """\
stage: sft
model: {{path: {model}, dtype: float32}}
adapter: {{kind: lora, r: 2, target_modules: [q_proj, v_proj]}}
data:
  train: [{{source: jsonl, path: {rows}}}]
train: {{max_steps: 2, learning_rate: 1e-3, global_batch_size: 2, logging_steps: 1, use_cpu: true, disable_tqdm: true,
        activation_checkpointing: false}}
eval:
  retain: [{{task: pocket, variant: olmes_cf, shots: 0, limit: 8}}]
track: {{wandb: {{mode: offline}}}}
"""
STEP = 2


@dataclass(frozen=True, kw_only=True)
class Seed:
    """Everything of it is right."""

    stage: Stage
    model: Path
    rows: Path
    recipe: Path
    run: Path
    other: Path
    """The same run but for its seed, as it says."""

    def copy(self, to: Path) -> Path:
        """A run folder of one's own to spoil."""
        shutil.copytree(self.run, to, symlinks=True)
        return to

    def recipe_with(self, folder: Path, more: str = "", **changed: str) -> Path:
        """A recipe file: the right one with other values and more lines."""
        file = folder / "recipe.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(RECIPE.format(**{"model": str(self.model), "rows": str(self.rows), **changed}) + more)
        return file


def write_rows(file: Path) -> Path:
    """Eight chats."""
    rows = [{"messages": [{"role": "user", "content": f"Count from {i}."}, {"role": "assistant", "content": f"{i + 1}"}]}
            for i in range(8)]  # fmt: skip
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def seed(stage: Stage, tokenizer: Path) -> Seed:
    """Make all of it: the run is a real one."""
    from transformers import AutoTokenizer

    from tests.conftest import tiny_llama

    model, words = stage.root / "model", AutoTokenizer.from_pretrained(tokenizer)
    tiny_llama(len(words)).save_pretrained(model)
    words.save_pretrained(model)
    rows, recipe = write_rows(stage.root / "rows.jsonl"), stage.root / "tiny.yaml"
    recipe.write_text(RECIPE.format(model=model, rows=rows))
    done = stage.run("train", str(recipe), "--run-dir", str(stage.root / "run"), limit_s=300)
    assert done.code == 0 and not done.wrong, (done.wrong, done.text)
    made = Seed(stage=stage, model=model, rows=rows, recipe=recipe, run=stage.root / "run", other=stage.root / "other")
    whole = json.loads((made.copy(made.other) / "recipe.resolved.json").read_text())
    whole["train"]["seed"] = whole["arguments"]["seed"] = 1
    (made.other / "recipe.resolved.json").write_text(json.dumps(whole))
    return made
