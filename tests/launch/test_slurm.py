"""Slurm's file: its options, and its body run with stand-ins for srun and scontrol."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from launch.commands import Shape
from launch.itself import ITSELF
from launch.problems import RecipeError
from launch.slurm import DEFAULTS, sbatch_file

SRUN = """\
#!/bin/bash
# srun starts its command on every machine and passes signals on; this one starts it once for each of $SLURM_NNODES.
while [ "${1#--}" != "$1" ]; do shift; done
pids=()
for ((node = 0; node < SLURM_NNODES; node++)); do SLURM_NODEID=$node "$@" & pids+=($!); done
trap 'kill -USR1 "${pids[@]}"' USR1
trap 'kill -TERM "${pids[@]}"' TERM
worst=0
for pid in "${pids[@]}"; do
  while :; do wait "$pid"; code=$?; kill -0 "$pid" 2>/dev/null || break; done
  [ "$code" -gt "$worst" ] && worst=$code
done
exit "$worst"
"""
SCONTROL = """\
#!/bin/bash
echo "scontrol $*" >> "$CALLS"
[ "$1" = show ] && printf 'node-0\\nnode-1\\n'
exit 0
"""


def text(shape: Shape, words: tuple[str, ...] = (), run_dir: str | None = None, **options: object) -> str:
    return sbatch_file("quick", "quickstart", words, shape, options, run_dir)


def test_the_options_are_sbatchs_and_the_recipe_overrides_them() -> None:
    made = text(Shape(nproc=8, nnodes=2, on_gpu=True), time="12:00:00", partition="gpu", requeue=False)
    options = [line.removeprefix("#SBATCH --") for line in made.splitlines() if line.startswith("#SBATCH")]
    assert {"nodes=2", "ntasks-per-node=1", "gpus-per-node=8", "time=12:00:00", "partition=gpu"} <= set(options)
    assert "requeue" not in options and f"signal={DEFAULTS['signal']}" in options
    assert "requeue" in text(Shape(nproc=1)) and "cpus-per-task=1" in text(Shape(nproc=1))
    assert made.splitlines()[0] == "#!/bin/bash"


def options_of(shape: Shape, **options: object) -> set[str]:
    made = sbatch_file("quick", "quickstart", (), shape, {k.replace("_", "-"): v for k, v in options.items()}, None, 2)
    return {line.removeprefix("#SBATCH --") for line in made.splitlines() if line.startswith("#SBATCH")}


def test_ranks_have_cores() -> None:
    """8 ranks with a GPU, 4 cores and 2 data loaders each: 48. Slurm's default is one core for all of them."""
    eight = Shape(nproc=8, on_gpu=True)
    assert {"cpus-per-task=48", "gpus-per-node=8"} <= options_of(eight)
    assert "cpus-per-task=6" in options_of(Shape(nproc=2))
    assert "cpus-per-task=96" in options_of(eight, cpus_per_task=96) and "cpus-per-task=48" not in options_of(
        eight, cpus_per_task=96
    )


@pytest.mark.parametrize(
    ("option", "value", "left_out"),
    [("cpus_per_gpu", 12, "cpus-per-task"), ("gres", "gpu:h100:8", "gpus-per-node"), ("gpus", 8, "gpus-per-node"),
     ("gpus_per_task", "a100:8", "gpus-per-node")],
)  # fmt: skip
def test_what_is_asked_for_in_another_way_is_not_asked_for_twice(option: str, value: object, left_out: str) -> None:
    found = options_of(Shape(nproc=8, on_gpu=True), **{option: value})
    assert any(line.startswith(option.replace("_", "-")) for line in found)
    assert not any(line.startswith(left_out) for line in found)
    assert "gpus-per-node=8" in options_of(Shape(nproc=8, on_gpu=True), gres="nvme:1")


def test_steps_take_the_cores_over(cluster: Path) -> None:
    """Alone srun would give each task one core (Slurm 22.05 and later)."""
    (cluster / "bin" / "srun").write_text('#!/bin/bash\necho "cores $SRUN_CPUS_PER_TASK"\n')
    (cluster / "run.sbatch").write_text(text(Shape(nproc=2)))
    for given, due in (({"SLURM_CPUS_PER_TASK": "6"}, "cores 6"), ({}, "cores")):
        done = subprocess.run(
            ["bash", "run.sbatch"], env={**os.environ, **given}, text=True, capture_output=True, check=True
        )
        assert done.stdout.strip() == due, done.stderr


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("nodes", 4, "launch.sbatch.nodes: 4: not set here; write launch.nnodes"),
        ("ntasks_per_node", 8, "ntasks-per-node: 8: not set here; write launch.nproc; one task a machine"),
        ("gpus_per_node", "a100:4", "gpus-per-node: a100:4: 4 for 8 ranks; write 8, or --nproc 4"),
        ("gres", "gpu:2", "gres: gpu:2: 2 for 8 ranks"),
        ("gres", "gpu", "gres: gpu: 1 for 8 ranks"),
        ("gres", "gpu:h100:4", "gres: gpu:h100:4: 4 for 8 ranks"),
    ],
)
def test_options_that_start_other_ranks_are_refused(option: str, value: object, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        options_of(Shape(nproc=8, on_gpu=True), **{option: value})


@pytest.mark.parametrize("words", [(), ("data.train=[{source: sql, n: 4}]", "model.eos_token='<|im end|>'")])
def test_bash_reads_the_file(words: tuple[str, ...]) -> None:
    for shape in (Shape(nproc=1), Shape(nproc=8, nnodes=4, on_gpu=True)):
        done = subprocess.run(["bash", "-n"], input=text(shape, words), text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with stand-ins on PATH and what Slurm sets."""
    for name, body in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(body)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    for key, value in {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "SLURM_JOB_NODELIST": "node-[0-1]",
        "SLURM_JOB_ID": "4711",
        "SLURM_NNODES": "2",
    }.items():
        monkeypatch.setenv(key, value)
    return tmp_path


def started(cluster: Path, program: str) -> "subprocess.Popen[str]":
    """The file's body, with another program in place of Python."""
    (cluster / "python").write_text(f"#!/bin/bash\n{program}\n")
    (cluster / "python").chmod(0o755)
    import sys

    made = text(Shape(nproc=2, nnodes=2, on_gpu=True), ("a.b=[1, 2]",)).replace(sys.executable, str(cluster / "python"))
    (cluster / "run.sbatch").write_text(made)
    return subprocess.Popen(["bash", "run.sbatch"], text=True, stdout=subprocess.PIPE)


def test_each_machine_starts_its_ranks_with_its_own_number_and_the_first_ones_address(cluster: Path) -> None:
    process = started(cluster, 'line=$(printf "%s|" "$@"); echo "$line"')  # in one piece: both machines write here
    lines = sorted(process.communicate(timeout=60)[0].splitlines())
    words = [line.rstrip("|").split("|") for line in lines]
    assert process.returncode == 0
    assert [word[word.index("--node-rank") + 1] for word in words] == ["0", "1"]
    for word in words:
        assert word[:6] == [*ITSELF[1:], "launch", "quickstart", "a.b=[1, 2]"]
        assert word[word.index("--master") + 1] == "node-0:24711"
        assert word[word.index("--nnodes") + 1] == "2"
        assert word[word.index("--run-dir") + 1] == "runs/quick-4711" and word[-1] == "--resume"


@pytest.mark.parametrize("code", [0, 2, 3, 4])
def test_the_files_exit_code_is_the_runs_and_nothing_is_requeued(cluster: Path, code: int) -> None:
    assert started(cluster, f"exit {code}").wait(timeout=60) == code
    assert "requeue" not in (cluster / "calls").read_text()


def test_the_notice_before_the_time_limit_reaches_the_run_and_the_job_is_requeued(cluster: Path) -> None:
    saves = 'trap "touch saved-$SLURM_NODEID; sleep 0.3; exit 143" USR1; touch "up-$SLURM_NODEID"\nwhile :; do sleep 0.1; done'
    process = started(cluster, saves)
    deadline = time.monotonic() + 60
    while len(list(cluster.glob("up-*"))) < 2:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=60) == 143
    assert len(list(cluster.glob("saved-*"))) == 2
    assert "scontrol requeue 4711" in (cluster / "calls").read_text()


def test_a_cancelled_job_stays_cancelled(cluster: Path) -> None:
    process = started(cluster, 'trap "exit 143" TERM; touch "up-$SLURM_NODEID"\nwhile :; do sleep 0.1; done')
    deadline = time.monotonic() + 60
    while len(list(cluster.glob("up-*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert "requeue" not in (cluster / "calls").read_text()
