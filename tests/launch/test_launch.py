"""`temper launch` on this machine, for real: losses, logs, exit codes, signals, and ranks that fail."""

import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from launch.cli import app
from tests.launch.starting import FORMS, SHORT, alone, begun, done, printed_losses, ranks_of
from tests.trainers.conftest import recipe_file, tiny_folder  # noqa: F401 - fixtures

LAUNCH = FORMS["temper launch (torchrun)"](2)
BREAKS = '''
"""Rank 1's second step fails."""
import os
from trainers.sft.trainer import Trainer
from trainers.rlvr.verdict import right
from trainers.rlvr.verdict import Verifier

VERIFIERS = {"any": Verifier(verify=lambda row, text: right(), about="a plugin has to add something")}

step = Trainer.training_step


def breaks(self, *args, **kwargs):
    if os.environ.get("RANK") == "1" and self.state.global_step == 1:
        raise ZeroDivisionError("the card fell off the bus")
    return step(self, *args, **kwargs)


Trainer.training_step = breaks
'''
SLOW_REPORT = '''
"""The budget is crossed at step 2, and rank 0 needs a while for its report."""
import time
import eval_hooks.callback
import eval_hooks.report
from trainers.rlvr.verdict import right
from trainers.rlvr.verdict import Verifier

VERIFIERS = {"any": Verifier(verify=lambda row, text: right(), about="a plugin has to add something")}

eval_hooks.callback.crossed = lambda budget, summary: ["pocket: accuracy fell"] if summary["step"] else []
write = eval_hooks.report.write_report


def slowly(folder):
    time.sleep(3)
    return write(folder)


eval_hooks.report.write_report = slowly
'''


def status(run: str = "run") -> dict[str, Any]:
    return json.loads((Path(run) / "status.json").read_text())


@pytest.mark.parametrize("form", ["temper launch (torchrun)", pytest.param("deepspeed", marks=pytest.mark.soak)])
def test_two_ranks_print_the_losses_of_one_and_keep_a_log_each(recipe_file: Path, form: str) -> None:  # noqa: F811
    """ZeRO-2 by one launcher, ZeRO-3 by another; all forms in the soak test below."""
    zero = {"deepspeed": "zero3"}.get(form, "zero2")
    two = done(FORMS[form](2), recipe_file, *SHORT, f"deepspeed={zero}", "--run-dir", "two")
    assert two.returncode == 0, two.stderr
    losses = alone(recipe_file, *SHORT, "--run-dir", "one")
    assert len(losses) == 3 and printed_losses(two.stderr) == losses
    logs = [(Path("two/logs") / f"rank-{rank}.log").read_text() for rank in (0, 1)]
    assert printed_losses(logs[0]) == losses and printed_losses(logs[1]) == []
    assert logs[1].strip() and two.stderr.count("data      mix") == 1
    assert json.loads(Path("two/environment.json").read_text())["world_size"] == 2


@pytest.mark.soak
def test_what_is_wrong_in_every_rank_is_said_once_with_code_2(recipe_file: Path) -> None:  # noqa: F811
    ended = done(LAUNCH, recipe_file, *SHORT, "train.max_length=3")
    assert ended.returncode == 2
    assert ended.stderr.count("none of 16 rows can be trained on") == 1
    assert "Traceback" not in ended.stderr and "ChildFailedError" not in ended.stderr
    assert not list(Path("runs").glob("*"))


def test_a_rank_that_fails_is_named_and_ends_all_within_seconds(recipe_file: Path) -> None:  # noqa: F811
    Path("breaks.py").write_text(BREAKS)
    began = time.monotonic()
    ended = done(LAUNCH, recipe_file, *SHORT, "plugins=[./breaks.py]", "--run-dir", "run")
    where = f"rank 1 on {socket.gethostname()}: ZeroDivisionError: the card fell off the bus"
    assert ended.returncode == 4 and time.monotonic() - began < 120
    assert f"failed    {where}; its log: {Path('run/logs/rank-1.log').resolve()}" in ended.stderr
    assert "ChildFailedError" not in ended.stderr
    assert (status()["state"], status()["code"], status()["error"]) == ("failed", 4, where)
    assert "in breaks" in Path("run/logs/rank-1.log").read_text()
    assert not ranks_of(Path("run"))


@pytest.mark.soak
def test_a_rank_that_is_killed_ends_all_within_seconds(recipe_file: Path) -> None:  # noqa: F811
    process = begun(LAUNCH, recipe_file)
    ranks = ranks_of(Path("run"))
    assert sorted(ranks) == [0, 1]
    os.kill(ranks[1], signal.SIGKILL)
    began = time.monotonic()
    _, screen = process.communicate(timeout=60)
    assert process.returncode == 4 and time.monotonic() - began < 30
    assert f"failed    rank 1 on {socket.gethostname()}: ended without a word" in screen
    assert status()["state"] == "failed" and status()["failed"]["rank"] == 1
    assert not ranks_of(Path("run"))


@pytest.mark.soak
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGUSR1, 143)])
def test_a_signal_saves_a_checkpoint_and_a_launch_goes_on_from_it(recipe_file: Path, number: int, code: int) -> None:  # noqa: F811
    process = begun(LAUNCH, recipe_file)
    if number == signal.SIGUSR1:  # Slurm sends it to every process of the job
        for child in psutil.Process(process.pid).children(recursive=True):
            child.send_signal(number)
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode == code and status()["code"] == code
    (checkpoint,) = Path("run/checkpoints").glob("checkpoint-*")
    step = int(checkpoint.name.rpartition("-")[2])
    words = ("eval.retain=[]", f"train.max_steps={step + 1}", "train.save_strategy=no", "--run-dir", "run", "--resume")
    again = done(LAUNCH, recipe_file, *words)
    assert again.returncode == 0, again.stderr
    assert len(printed_losses(again.stderr)) == 1 and f"step {step + 1}/{step + 1}  " in again.stderr
    assert len(printed_losses(Path("run/logs/rank-0.log").read_text())) == step + 1


@pytest.mark.soak
def test_ranks_end_when_their_launcher_is_killed(recipe_file: Path) -> None:  # noqa: F811
    process = begun(LAUNCH, recipe_file)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while ranks_of(Path("run")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert status()["code"] == 143 and list(Path("run/checkpoints").glob("checkpoint-*"))


@pytest.mark.soak
def test_a_run_that_its_budget_stops_writes_its_report_before_a_launcher_ends_it(recipe_file: Path) -> None:  # noqa: F811
    Path("slow.py").write_text(SLOW_REPORT)
    words = ("train.max_steps=4", "eval.every=2", "eval.budget={accuracy_drop: 0.02, action: stop}")
    ended = done(LAUNCH, recipe_file, *words, "plugins=[./slow.py]", "--run-dir", "run")
    assert ended.returncode == 3, ended.stderr
    assert status()["code"] == 3 and Path("run/report.html").is_file() and "Knowledge kept?" in ended.stdout


@pytest.mark.soak
def test_resuming_where_nothing_is_yet_begins(recipe_file: Path) -> None:  # noqa: F811
    """What a Slurm file does at its first start."""
    ended = done(FORMS["temper train"](1), recipe_file, *SHORT, "--run-dir", "new/run", "--resume")
    assert ended.returncode == 0, ended.stderr
    assert len(printed_losses(ended.stderr)) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nproc", "0"], "--nproc 0: must be a number from 1, or auto"),
        (["--nproc", "3"], "does not divide over 3 ranks; nearest: 6 or 9"),
        (["--nnodes", "2"], "--nnodes 2: add --master HOST:PORT"),
        (["--nnodes", "2", "--master", "node-0"], "--master node-0: write HOST:PORT"),
        (["--nnodes", "2", "--master", "a:1", "--node-rank", "2"], "--node-rank 2: there are 2 machines"),
        (["--with", "deepspeed", "--hostfile", "none"], "--hostfile none: no such file"),
        (["--with", "slurm", "--nproc", "auto"], "--nproc auto: the machine that submits is not the one that runs"),
        (["train.max_step=3"], "did you mean 'max_steps'?"),
        (["launch.nproc=0"], "launch.nproc: 0: must be 1 or more"),
    ],
)
def test_what_cannot_be_launched_is_said_before_anything_starts(words: list[str], said: str) -> None:
    ended = CliRunner().invoke(app, ["launch", "quickstart", "train.global_batch_size=8", *words])
    assert ended.exit_code == 2, ended.output
    assert said in ended.stderr


def test_the_recipes_launch_section_is_the_default_and_options_win(monkeypatch: pytest.MonkeyPatch) -> None:
    section = "launch={nproc: 4, nnodes: 2, launcher: slurm, sbatch: {partition: long, time: '01:00:00'}}"
    shown = CliRunner().invoke(app, ["launch", "quickstart", section, "--print"])
    assert shown.exit_code == 0, shown.output
    for line in ("nodes=2", "partition=long", "time=01:00:00", "gpus-per-node=4"):
        assert f"#SBATCH --{line}\n" in shown.output
    here = ["--with", "torchrun", "--nproc", "2", "--nnodes", "1", "--print"]
    shown = CliRunner().invoke(app, ["launch", "quickstart", section, *here])
    assert "--nproc_per_node=2 --standalone" in shown.output
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    shown = CliRunner().invoke(app, ["launch", "quickstart", "--nproc", "auto", "train.global_batch_size=6", "--print"])
    assert "--nproc_per_node=3" in shown.output
    cpu = ["--nproc", "auto", "train.use_cpu=true", "--print"]
    assert "--nproc_per_node=1" in CliRunner().invoke(app, ["launch", "quickstart", *cpu]).output


@pytest.mark.soak
@pytest.mark.parametrize("form", FORMS)
def test_the_launch_table(recipe_file: Path, form: str) -> None:  # noqa: F811
    """Form x ZeRO x ranks: the losses of plain `temper train`, to the printed digit, at the same global batch."""
    plain = printed_losses(done(FORMS["temper train"](1), recipe_file, *SHORT, "--run-dir", "plain").stderr)
    assert len(plain) == 3
    for zero in ("zero1", "zero2", "zero3"):
        for ranks in (1, 2) if form != "temper train" else (1,):
            words = (*SHORT, f"deepspeed={zero}", "--run-dir", f"{zero}-{ranks}")
            ended = done(FORMS[form](ranks), recipe_file, *words)
            assert ended.returncode == 0, ended.stderr
            losses = printed_losses(ended.stderr)
            print(f"{form:<32} {zero} {ranks}  {' '.join(losses)}", flush=True)
            assert losses == plain, (zero, ranks)
