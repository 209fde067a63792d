"""What is started is this very package, in a folder that has others of the same names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch import plugins
from launch.commands import Shape, command
from launch.foresight.child import START
from launch.itself import ITSELF, ROOT
from launch.nodes import Node
from launch.slurm import sbatch_file
from tests.launch.starting import ENV

OURS = ("launch", "trainers", "data_mix", "eval_hooks")
OTHERS = ("datasets", "torch", "deepspeed", "random", "tokenizers", "tempfile")


def folder_of_somebody(folder: Path, *names: str) -> Path:
    """Modules and packages that end whoever imports them."""
    for number, name in enumerate(names):
        file = folder / name / "__init__.py" if number % 2 else folder / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"raise SystemExit('somebody else\\'s {name}')\n")
    return folder


def ended(words: list[str], folder: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words, cwd=folder, env={**ENV, **env}, capture_output=True, text=True, check=False, timeout=240
    )


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed", pytest.param("accelerate", marks=pytest.mark.soak)])
def test_two_ranks_are_ours_in_a_folder_that_has_all_names(tmp_path: Path, launcher: str) -> None:
    made = command(launcher, Shape(nproc=2), ["--help"])
    done = ended(list(made.argv), folder_of_somebody(tmp_path, *OURS, *OTHERS), **made.env)
    assert done.returncode == 0 and "Train, measuring at checkpoints." in done.stdout, done.stdout + done.stderr


def test_a_slurm_job_and_a_drill_start_it_by_its_file(tmp_path: Path) -> None:
    text = sbatch_file("n", "quickstart", [], Shape(nproc=2), {}, None)
    assert (
        f"{sys.executable} -u -P {ROOT}/launch/__main__.py launch quickstart --nproc 2" in text and " -m " not in text
    )
    done = ended([*ITSELF, "launch", "--help"], folder_of_somebody(tmp_path, *OURS, *OTHERS))
    assert done.returncode == 0 and "Train on several processes" in done.stdout, done.stderr


def test_it_needs_no_path_to_itself(tmp_path: Path) -> None:
    """A copy of the suite that is not installed, and is not on PYTHONPATH."""
    done = ended([*ITSELF, "list", "--help"], tmp_path, PYTHONPATH="")
    assert done.returncode == 0, done.stderr


def test_dash_m_leaves_the_folder_out_where_it_was_typed(tmp_path: Path) -> None:
    folder = folder_of_somebody(tmp_path, *OURS[1:], *OTHERS)
    done = ended([sys.executable, "-m", "launch", "list", "recipes"], folder)
    assert done.returncode == 0 and "sft/forgetful" in done.stdout, done.stderr
    safe = ended([sys.executable, "-m", "launch", "--help"], folder, PYTHONSAFEPATH="1")
    assert safe.returncode == 0, safe.stderr
    checkout = ended([sys.executable, "-m", "launch", "--help"], Path(ROOT), PYTHONPATH="")
    assert checkout.returncode == 0, checkout.stderr


def test_the_process_of_a_measured_plan_has_this_ones_path(tmp_path: Path) -> None:
    start = START.format(path=sys.path).replace("main()", "print(main.__module__)")
    done = ended([sys.executable, "-P", "-c", start], folder_of_somebody(tmp_path, *OURS, *OTHERS))
    assert done.stdout == "launch.foresight.child\n", done.stderr


def test_another_package_of_ours_on_the_path_is_named_with_the_remedy(tmp_path: Path) -> None:
    folder_of_somebody(tmp_path, "launcher", "trainers")
    done = ended([sys.executable, "-P", "-m", "launch", "--help"], Path("/"), PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert done.returncode and f"{tmp_path}/trainers: found before {ROOT}" in done.stderr
    assert "take the folder off PYTHONPATH" in done.stderr and "somebody else" not in done.stderr


def test_deepspeeds_ranks_have_the_environment_that_launch_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own launcher needs PYTHONSAFEPATH; a program that a plugin starts would find nothing beside itself by it."""
    monkeypatch.setenv("PYTHONPATH", "/a b")
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    made = command("deepspeed", Shape(nproc=2), [])
    program = list(made.argv[made.argv.index("--no_python") + 1 : -len(ITSELF) - 1])
    assert made.env["PYTHONSAFEPATH"] == "1" and "--no_local_rank" in made.argv
    told = {"PATH": os.environ["PATH"], "PYTHONPATH": "/here:/a b", **made.env}
    shown = subprocess.run([*program, "env"], env=told, capture_output=True, text=True, check=True).stdout
    assert "PYTHONPATH=/a b\n" in shown and "PYTHONSAFEPATH" not in shown


def test_a_plugin_imports_what_stands_beside_it_and_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside_the_plugin.py").write_text("ANSWER = 42\n")
    folder_of_somebody(tmp_path, "trainers", "json")
    plugin = tmp_path / "mine.py"
    plugin.write_text("import json\nimport trainers\nfrom beside_the_plugin import ANSWER\n")
    assert plugins._load(Node(value=str(plugin), place=None)).ANSWER == 42  # type: ignore[arg-type]
    assert sys.path[-1] == str(tmp_path)
