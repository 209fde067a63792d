"""RLVR on a tiny model: every method runs, rewards reach TRL, what breaks stops the run, rows that cannot be are named."""

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import trl

from data_mix import DataError
from eval_hooks.table import read_table
from launch import RecipeError
from tests.trainers.conftest import resumed_is_unbroken, weights
from tests.trainers.test_sft import logged, trained
from trainers import TrainError
from trainers.recipe import Recipe
from trainers.rlvr import selftest
from trainers.run import train

Load = Callable[..., Recipe]


@pytest.fixture
def rlvr(recipe: Load) -> Load:
    """The tiny recipe as RLVR: two prompts, four answers each, of at most four tokens."""
    words = ("stage=rlvr", "method.name=grpo", "data.train=[{source: curriculum, n: 8, kinds: [sum]}]",
             "eval.retain=[]", "train.max_steps=2", "train.global_batch_size=8", "train.num_generations=4",
             "train.max_completion_length=4", "train.learning_rate=1e-3")  # fmt: skip
    return lambda *more: recipe(*words, *more)


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "dapo", "rloo"])
def test_every_method_trains_and_logs_what_rewards_did(rlvr: Load, name: str) -> None:
    run = trained(rlvr(f"method.name={name}"), name)
    for key in ("reward", "rewards/number/mean", "rewards/exact/mean", "frac_reward_zero_std", "completions/mean_length",
                "entropy", "verifiers/broken", "verifiers/killed", "verifiers/right", "verifiers/form_only"):  # fmt: skip
        assert len(logged(run, f"train/{key}")) >= 1, key
    due = {"grpo": "grpo", "dr_grpo": "dr_grpo", "dapo": "dapo"}.get(name)
    assert json.loads((run / "recipe.resolved.json").read_text())["arguments"].get("loss_type") == due


def test_sampler_and_trainer_agree_before_the_first_step(rlvr: Load) -> None:
    """In fp32 the same tokens get the same log-probabilities, to rounding; it is measured, and once."""
    run = trained(rlvr(), "run")
    far = logged(run, "train/sampler/logp_difference_max")
    assert len(far) == 1 and 0 <= far[0] < 1e-3


LETTERS = '''
"""A reward that even a random model gets: the share of letters of the alphabet's half that the gold names."""
from trainers.rlvr.verdict import Verdict, Verifier


def letters(row, completion):
    found = [c for c in completion.lower() if c.isalpha()]
    share = sum((c <= "m") == (row["answer"] == "first") for c in found) / len(found) if found else 0.0
    return Verdict(reward=share, ok=share > 0.5)


def breaks(row, completion):
    raise KeyError("no such thing")


VERIFIERS = {"letters": Verifier(verify=letters, about=""), "breaks": Verifier(verify=breaks, about="")}
'''


@pytest.fixture
def easy(rlvr: Load, tmp_path: Path) -> Iterator[Load]:
    """The recipe with that reward."""
    from trainers.rlvr.judge import VERIFIERS

    (tmp_path / "letters.py").write_text(LETTERS)
    rows = [{"prompt": f"Say {i}", "verifier": "letters", "answer": "first"} for i in range(8)]
    (tmp_path / "easy.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    yield lambda *more: rlvr("plugins=[./letters.py]", "data.train=[{source: jsonl, path: easy.jsonl}]", *more)
    for name in ("letters", "breaks"):
        VERIFIERS.pop(name, None)


def test_rewards_move_the_weights_and_equal_rewards_do_not(easy: Load, rlvr: Load) -> None:
    """A sum that a random model never gets: all advantages are 0, no KL, so nothing moves. Another reward moves it."""
    words = ("train.optim=sgd", "train.learning_rate=1.0", "train.save_strategy=steps", "train.save_steps=1",
             "train.beta=0")  # fmt: skip
    still, moved = trained(rlvr(*words), "still"), trained(easy(*words), "moved")
    assert logged(still, "train/frac_reward_zero_std") == [1.0, 1.0]
    assert 0 < logged(moved, "train/reward")[0] < 1 and logged(moved, "train/frac_reward_zero_std")[0] < 1
    for run, same in ((still, True), (moved, False)):
        a, b = (weights(run / "checkpoints" / f"checkpoint-{step}") for step in (1, 2))
        assert all(torch.equal(a[key], b[key]) for key in a) == same


def test_the_first_loss_is_minus_the_mean_advantage_by_hand(easy: Load) -> None:
    """At the first step the ratio is 1, so a sequence's loss is minus its advantage, which sum to 0 in every group."""
    run = trained(easy("method.name=grpo", "train.max_steps=1"), "run")
    assert logged(run, "train/loss")[0] == pytest.approx(0, abs=1e-5)
    assert logged(run, "train/grad_norm")[0] > 0


def test_resumed_is_unbroken(easy: Load) -> None:
    """The answers of the second step are drawn from the same random state, so they are the same."""
    resumed_is_unbroken(easy, "train.learning_rate=1e-2", steps=3)


@pytest.mark.soak
def test_true_golds_teach_and_shuffled_ones_stay_flat(easy: Load, tmp_path: Path) -> None:
    """Every gold the alphabet's first half: the reward rises. As many of either half, shuffled: it stays at a half.

    Few tokens are drawn from (top_k), so that a few answers say something of all.
    """
    words = ("train.max_steps=8", "train.learning_rate=2e-2", "train.max_completion_length=4", "train.num_generations=8",
             "train.global_batch_size=32", "train.per_device_train_batch_size=32", "train.logging_steps=2",
             "train.top_k=16")  # fmt: skip
    golds = {"true": ["first"] * 16, "shuffled": ["first", "second"] * 8}
    found = {}
    for name, halves in golds.items():
        rows = [{"prompt": f"Say {i}", "verifier": "letters", "answer": half} for i, half in enumerate(halves)]
        (tmp_path / "easy.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        found[name] = logged(trained(easy(*words), name), "train/reward")
    assert found["true"][-1] > found["true"][0] + 0.2, found
    assert abs(found["shuffled"][-1] - 0.5) < 0.1, found


def test_a_reference_is_used_where_beta_asks_for_one(easy: Load, recipe: Load) -> None:
    """KL to the start is 0 at the first step, on an SFT adapter too, where the raw base would be far."""
    far = ("adapter.kind=lora", "adapter.r=4", "adapter.target_modules=all-linear", "adapter.lora_alpha=64")
    sft = trained(recipe("eval.retain=[]", *far, "train.learning_rate=0.1"), "sft")
    for words in ((), ("adapter.kind=lora", "adapter.r=4")):
        run = trained(easy(f"model.path={sft}:4", "train.beta=0.1", *words), f"kl{len(words)}")
        kl = logged(run, "train/kl")
        assert kl[0] == pytest.approx(0, abs=1e-6) and math.isfinite(kl[1])


def test_a_verifier_that_breaks_too_often_ends_the_run(easy: Load, tmp_path: Path) -> None:
    rows = [{"prompt": f"Say {i}", "verifier": "breaks", "answer": "first"} for i in range(8)]
    (tmp_path / "bad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("data.train=[{source: jsonl, path: bad.jsonl}]", "train.max_steps=8")
    assert train(easy(*words), run_dir=Path("broken")) == 4
    assert "breaks broke in 3 of its last 3 judgements" in json.loads(Path("broken/status.json").read_text())["error"]


def test_held_out_answers_are_judged_by_the_rows_own_verifiers(easy: Load, tmp_path: Path) -> None:
    words = ("eval.target=[{task: verified, source: jsonl, path: easy.jsonl, max_new_tokens: 4}]", "train.max_steps=1")
    run = trained(easy(*words), "run")
    task = json.loads((run / "evals/step-1/summary.json").read_text())["tasks"]["verified"]
    assert task["status"] == "ok" and task["n"] == 8 and task["accuracy"]["value"] is not None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.num_generations=3"], "3"),
        (["data.train=[{source: jsonl, path: empty.jsonl, verifier: number}]"], "empty.jsonl:1: answer is empty"),
        (
            ["data.train=[{source: jsonl, path: gold.jsonl, verifier: numbre}]"],
            "'numbre': no such verifier; did you mean",
        ),
        (["data.train=[{source: jsonl, path: gold.jsonl}]"], "this stage trains on prompt+verifier+answer"),
        (["data.validation=[{source: curriculum, n: 2}]"], "name them in eval.target"),
        (
            ["data.train=[{source: jsonl, path: gold.jsonl, verifier: choice}]"],
            "gold.jsonl:1: verifier choice: the gold answer '7' is none of the options",
        ),
        (
            ["data.train=[{source: jsonl, path: form.jsonl, verifier: format}]"],
            "verifier format: format '(a+' is no regular expression: missing ), unterminated subpattern at position 0",
        ),
        (
            ["eval.target=[{task: verified, source: jsonl, path: form.jsonl, verifier: format}]"],
            "form.jsonl:1 ('What is 3 + 4?'): verifier format",
        ),
    ],
)
def test_rows_and_settings_that_cannot_be_are_named_before_training(
    rlvr: Load, tmp_path: Path, words: list[str], message: str
) -> None:
    for name, answer in (("empty", " "), ("gold", "7"), ("form", "7")):
        row = {"prompt": "What is 3 + 4?", "completion": "7", "answer": answer, "format": "(a+"}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        train(rlvr(*words))
    assert isinstance(caught.value, TrainError | DataError | RecipeError)
    assert not list(Path("runs").glob("*"))


TOOL = {"type": "function", "function": {"name": "add", "description": "Add.", "parameters": {"type": "object"}}}
TEMPLATE = (
    "{% if tools %}<tools>{{ tools | map(attribute='function') | map(attribute='name') | join(' ') }}</tools>{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant:"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}{% endif %}"
)


@pytest.mark.parametrize("name", ["grpo", "rloo"])
def test_rollouts_read_the_prompts_that_evaluations_read(
    rlvr: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The recipe switches thinking off; one row has a tool, one switches it on again. By hand, of the template above.

    The recipe's setting is also in force for the self-test before the first step.
    """
    (tmp_path / "t.jinja").write_text(TEMPLATE)
    rows: list[dict[str, Any]] = [{"prompt": f"Say {i}", "verifier": "exact", "answer": "1"} for i in range(3)]
    rows[1]["tools"], rows[2]["chat_template_kwargs"] = [TOOL], {"enable_thinking": True}
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    read: dict[str, set[str]] = {"rollouts": set(), "evaluations": set(), "self-test": set()}
    owner = {"grpo": trl.GRPOTrainer, "rloo": trl.RLOOTrainer}[name]
    rollout, padded = owner._generate_single_turn, selftest._prompts

    def spied(self: Any, ids: list[list[int]], *rest: Any) -> Any:
        read["rollouts"].update(self.processing_class.batch_decode(ids))
        return rollout(self, ids, *rest)

    def spied_test(trainer: Any) -> Any:
        found = padded(trainer)
        texts = trainer.processing_class.batch_decode(found["input_ids"])
        read["self-test"].update(
            text[text.index("<tools>" if "<tools>" in text else "<|im_start|>") :] for text in texts
        )
        return found

    monkeypatch.setattr(owner, "_generate_single_turn", spied)
    monkeypatch.setattr(selftest, "_prompts", spied_test)
    run = trained(
        rlvr(f"method.name={name}", "model.chat_template=t.jinja", "model.chat_template_kwargs={enable_thinking: false}",
             "data.train=[{source: jsonl, path: t.jsonl}]", "train.max_steps=1", "train.global_batch_size=12",
             "eval.target=[{task: verified, source: jsonl, path: t.jsonl, max_new_tokens: 2}]"), name)  # fmt: skip
    read["evaluations"] = set(read_table(run / "evals/step-0/verified.parquet")["prompt"].to_pylist())
    turns = [f"<|im_start|>user: Say {i}<|im_end|><|im_start|>assistant:" for i in range(3)]
    due = {f"{turns[0]}<think></think>", f"<tools>add</tools>{turns[1]}<think></think>", turns[2]}
    assert read["rollouts"] == read["evaluations"] == due and len(read["self-test"] & due) == 2


def test_the_templates_settings_have_one_place(rlvr: Load) -> None:
    with pytest.raises(
        RecipeError, match=r"train.chat_template_kwargs: not set here; write model.chat_template_kwargs"
    ):
        rlvr("train.chat_template_kwargs={enable_thinking: false}")
