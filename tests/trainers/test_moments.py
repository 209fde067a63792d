"""A method in a plugin file: every moment is called when it should be, its state survives, on several ranks too."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from launch import RecipeError
from tests.trainers.conftest import weights
from tests.trainers.test_sft import logged
from trainers.recipe import Recipe
from trainers.run import train

Load = Callable[..., Recipe]
ROOT = Path(__file__).parents[2]
PLUGIN = '''
"""Every moment: gradients scaled by `scale`, a count of updates kept, the loss scaled by a number set in prepare."""
from dataclasses import dataclass

import torch

from trainers.logprobs import Tokens, token_logps, token_mean
from trainers.method import LossOutput, Method


@dataclass(frozen=True, kw_only=True)
class Counted:
    scale: float = 1.0
    """What gradients are multiplied by."""


def prepare(ctx, cfg):
    ctx.state.setdefault("updates", torch.zeros(()))


def step(ctx, batch, cfg):
    inputs = {key: value for key, value in batch.items() if key != "labels"}
    logps = ctx.model(**inputs, labels=batch["labels"], use_cache=False, fused_lm_head=True).log_probs
    loss = -logps.sum() / ctx.totals["tokens"]
    return LossOutput(loss=loss, metrics={"updates": ctx.state["updates"].clone()})


def edit_grads(ctx, gradients, cfg):
    for name in gradients.names():
        gradients.put(name, cfg.scale * gradients.get(name))


def after_update(ctx, metrics, cfg):
    ctx.state["updates"] += 1


METHODS = {"counted": Method(stages=("sft",), config=Counted, batch=dict, about="a test", step=step, prepare=prepare,
                             edit_grads=edit_grads, after_update=after_update)}
'''  # fmt: skip


@pytest.fixture(autouse=True)
def own_tables() -> Iterator[None]:
    """What a plugin adds in one test is gone in the next."""
    from data_mix.catalog import SOURCES
    from eval_hooks.catalog import TASKS
    from launch.plugins import KINDS, _shipped
    from trainers.catalog import METHODS
    from trainers.rlvr.judge import VERIFIERS

    before = {kind: _shipped(kind) for kind in KINDS}
    yield
    for kind, table in zip(KINDS, (METHODS, SOURCES, TASKS, VERIFIERS), strict=True):
        for name in set(table) - before[kind]:
            del table[name]  # type: ignore[attr-defined]


@pytest.fixture
def plugged(recipe: Load, tmp_path: Path) -> Load:
    """The tiny recipe with the plugin's method, SGD so that a gradient's scale is a rate's."""
    (tmp_path / "mine.py").write_text(PLUGIN)
    words = ("plugins=[./mine.py]", "eval.retain=[]", "train.optim=sgd", "train.max_grad_norm=1e9",
             "train.save_strategy=steps", "train.save_steps=2", "train.save_total_limit=9")  # fmt: skip
    return lambda *more: recipe(*words, *more)


def ends(run: str, step: int = 4) -> dict[str, torch.Tensor]:
    return weights(Path(run) / "checkpoints" / f"checkpoint-{step}")


def test_a_methods_moments_are_called_around_each_step(plugged: Load) -> None:
    """With scale 1 it is instruction tuning; updates are counted after each step."""
    assert train(plugged("method.name=counted"), run_dir=Path("own")) == 0
    assert train(plugged("method.name=nll"), run_dir=Path("nll")) == 0
    assert logged(Path("own"), "train/loss") == pytest.approx(logged(Path("nll"), "train/loss"), rel=1e-5)
    assert logged(Path("own"), "train/updates") == [0, 1, 2, 3]
    a, b = ends("own"), ends("nll")
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=0, atol=1e-6)


def test_edited_gradients_are_what_the_optimizer_sees(plugged: Load) -> None:
    """Half the gradient at twice the rate is the same step; scale 0 moves nothing."""
    whole, half = ("method={name: counted, scale: 1.0}", "train.learning_rate=0.1"), (
        "method={name: counted, scale: 0.5}", "train.learning_rate=0.2")  # fmt: skip
    assert train(plugged(*whole), run_dir=Path("whole")) == train(plugged(*half), run_dir=Path("half")) == 0
    for key, value in ends("whole").items():
        torch.testing.assert_close(value, ends("half")[key], rtol=0, atol=1e-6)
    assert train(plugged("method={name: counted, scale: 0.0}"), run_dir=Path("none")) == 0
    assert all(torch.equal(value, ends("none")[key]) for key, value in ends("none", 2).items())


def test_accumulated_gradients_are_edited_once(plugged: Load) -> None:
    """4 micro-batches of 1 = 1 of 4: were each micro-batch edited, the first would be halved four times."""
    for per_device in (4, 1):
        words = ("method={name: counted, scale: 0.5}", f"train.per_device_train_batch_size={per_device}")
        assert train(plugged(*words, "train.learning_rate=0.1"), run_dir=Path(f"by{per_device}")) == 0
    for key, value in ends("by4").items():
        torch.testing.assert_close(value, ends("by1")[key], rtol=0, atol=1e-6)


def test_the_state_is_in_the_checkpoint_and_a_resumed_run_has_it(plugged: Load) -> None:
    import shutil

    assert train(plugged("method.name=counted"), run_dir=Path("whole")) == 0
    shutil.copytree("whole", "half")
    shutil.rmtree("half/checkpoints/checkpoint-4")
    assert train(plugged("method.name=counted"), run_dir=Path("half"), resume=True) == 0
    assert logged(Path("half"), "train/updates")[-2:] == [2, 3]
    assert all(torch.equal(value, ends("half")[key]) for key, value in ends("whole").items())


@pytest.mark.soak
def test_two_ranks_edit_the_same_gradients_under_zero_2_and_zero_3(plugged: Load, recipe_file: Path) -> None:
    """Through DeepSpeed's partitions: the same weights as one process, whose gradients are whole."""
    plugged()  # writes the plugin
    words = ["plugins=[./mine.py]", "method={name: counted, scale: 0.5}", "eval.retain=[]", "train.optim=sgd",
             "train.learning_rate=0.5", "train.max_grad_norm=1e9"]  # fmt: skip
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "DS_ACCELERATOR": "cpu"}
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for name, start, more in (
        ("one", [], []),
        ("zero2", two, ["deepspeed=zero2"]),
        ("zero3", two, ["deepspeed=zero3"]),
    ):
        command = [sys.executable, *start, "-m", "launch", "train", str(recipe_file), *words, *more, "--run-dir", name]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=400)
        assert done.returncode == 0, done.stdout + done.stderr
    for name in ("zero2", "zero3"):
        assert logged(Path(name), "train/loss") == pytest.approx(logged(Path("one"), "train/loss"), rel=1e-4)
        for key, value in ends("one").items():
            torch.testing.assert_close(value, ends(name)[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nowhere_at_all\n", r"mine.py fails: ModuleNotFoundError: .*mine.py:1: import nowhere_at_all"),
        ("x = 1\n\ny = x / 0\n", r"mine.py fails: ZeroDivisionError: division by zero .*mine.py:3: y = x / 0"),
        ("def f(:\n", "mine.py fails: SyntaxError"),
        ("x = 1\n", "adds nothing; define one of METHODS, SOURCES, TASKS, VERIFIERS"),
        ("VERIFIERS = {'x': len}\n", r"VERIFIERS\['x'\] is a builtin_function_or_method; write a Task"),
        (PLUGIN.replace('"counted": Method', '"nll": Method'), r"METHODS\['nll'\] is taken"),
    ],
    ids=["import", "error", "syntax", "empty", "no row", "taken"],
)
def test_a_plugin_that_cannot_be_is_named_shortly(recipe: Load, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(RecipeError, match=message) as caught:
        recipe("plugins=[./mine.py]")
    assert len(str(caught.value).splitlines()) <= 2


def test_a_plugin_that_is_not_there_is_named(recipe: Load) -> None:
    with pytest.raises(RecipeError, match=r"none.py': no such file; write the path of a Python file"):
        recipe("plugins=[./none.py]")


def test_a_plugin_can_bring_a_source_a_task_and_a_verifier(recipe: Load, tmp_path: Path) -> None:
    (tmp_path / "kinds.py").write_text(
        "from dataclasses import dataclass\n"
        "from data_mix.catalog import Source\n"
        "from eval_hooks.catalog import Task\n"
        "from trainers.rlvr.verdict import Verdict, Verifier\n\n\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Echo:\n    n: int = 4\n    '''Rows.'''\n\n\n"
        "def rows(cfg, rng):\n"
        "    return ({'prompt': f'Say {i}', 'completion': str(i)} for i in range(cfg.n))\n\n\n"
        "SOURCES = {'echo': Source(config=Echo, rows=rows, about='echo')}\n"
        "TASKS = {'echoed': Task(kind='generate', about='echo', source='echo', judge=lambda out, item: (item.gold in out, ''))}\n"
        "VERIFIERS = {'always': Verifier(verify=lambda row, text: Verdict(reward=1.0, ok=True), about='always')}\n"
    )
    loaded = recipe("plugins=[./kinds.py]", "data.train=[{source: echo}]", "train.max_steps=1",
                    "eval.retain=[]", "eval.target=[{task: echoed, n: 2, max_new_tokens: 2}]")  # fmt: skip
    assert train(loaded, run_dir=Path("run")) == 0
    from trainers.rlvr.judge import judge

    assert judge({"verifier": "always", "answer": "x"}, "y").ok
