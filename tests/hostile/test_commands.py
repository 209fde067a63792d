"""What is started, or printed to be copied, runs nothing but itself: Slurm's file, host names, printed commands."""

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from eval_hooks.report.screen import sync_command
from launch.commands import Command, Shape
from launch.hosts import host_and_port, hostfile_problems, is_host
from launch.load import load
from launch.problems import RecipeError
from launch.slurm import option_problem, sbatch_file
from launch.start import Options, check_for_pdsh, shape_of
from trainers.recipe import LaunchSection
from trainers.screen import show_end

BREAKS = ["x\ntouch hit", "x\r\ntouch hit", "x\rtouch hit", "a\x00b", "\x1b[2J", "a\u2028b", "a\x85b", "\ud800"]
AWKWARD = ["two words", 'a "b" c', "it's", "a # b", "back\\slash", "$(touch hit)", "`touch hit`", "; touch hit", "grün", "",
           "-x", "a=b", '"', "\\", "&& touch hit", "<>|", "tab\u00a0here"]  # fmt: skip


def read_by_sbatch(line: str) -> list[str]:
    """The words of a line of options, by the rules of sbatch's own reader (get_argument in its opt.c)."""
    words, at = [], 0
    while at < len(line):
        while at < len(line) and line[at].isspace():
            at += 1
        word, quoted, began = "", "", at
        while at < len(line) and (quoted or not line[at].isspace()):
            one = line[at]
            if one == "\\":
                at += 1
                word += line[at]
            elif quoted and one == quoted:
                quoted = ""
            elif not quoted and one in "\"'":
                quoted = one
            elif not quoted and one == "#":
                return words + [word] * (at > began)
            else:
                word += one
            at += 1
        assert not quoted, f"an open quote: {line}"
        words.append(word)
    return words


@pytest.mark.parametrize("value", BREAKS)
def test_no_option_of_sbatch_is_more_than_a_line(value: str, recipe: Callable[..., str]) -> None:
    with pytest.raises(RecipeError, match=r"launch\.sbatch\.comment: .*control character"):
        sbatch_file("n", "r", (), Shape(nproc=1), {"comment": value}, None)
    with pytest.raises(RecipeError, match="job-name"):
        sbatch_file(value, "r", (), Shape(nproc=1), {}, None)
    assert option_problem("comment", value)


def test_a_recipes_options_are_refused_together_with_their_lines(recipe: Callable[..., str]) -> None:
    text = """\
stage: sft
model: {path: some/model}
data: {train: [{source: curriculum, n: 4}]}
launch:
  sbatch:
    comment: "x\\ncurl evil"
    "x\\ny": 1
    Partition: gpu
    nodelist: [a, b]
    wrap: ls
    mem: 4G
"""
    with pytest.raises(RecipeError) as caught:
        load(recipe(text))
    assert [problem.place.rpartition(":")[2] for problem in caught.value.problems] == ["6", "7", "8", "9", "10"]
    with pytest.raises(RecipeError, match=r"launch\.sbatch\.comment"):
        load(recipe(text.partition("launch:")[0]), ['launch.sbatch={comment: "a\\nb"}'])


@pytest.mark.parametrize("value", AWKWARD)
def test_sbatch_reads_an_option_as_it_was_written(value: str) -> None:
    made = sbatch_file("n", "r", (), Shape(nproc=1), {"comment": value}, None)
    lines = [line for line in made.splitlines() if line.startswith("#SBATCH")]
    assert [f"--comment={value}"] in [read_by_sbatch(line.removeprefix("#SBATCH ")) for line in lines]


@pytest.mark.parametrize("value", [*AWKWARD, "new\nline", "%n"])
def test_slurms_file_runs_nothing_that_a_value_holds(value: str, tmp_path: Path) -> None:
    """The name, the recipe's path, its words and the run folder; srun and scontrol are stand-ins."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name, body in (
        ("srun", 'while [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"'),
        ("scontrol", "printf 'node-0;touch hit\\nnode-1\\n'"),
        ("python", 'printf "%s\\0" "$@" > got'),
    ):
        (bin_ / name).write_text(f"#!/bin/bash\n{body}\n")
        (bin_ / name).chmod(0o755)
    options = {} if "\n" in value else {"comment": value, "job-name": value}
    words = (f"data.path={value}", value)
    name = value.replace("\n", " ")
    made = sbatch_file(name, f"{value}.yaml", words, Shape(nproc=1, nnodes=2), options, f"runs/{value}")
    import sys

    made = made.replace(shlex.quote(sys.executable), str(bin_ / "python"))
    assert subprocess.run(["bash", "-n"], input=made, text=True, capture_output=True, check=False).stderr == ""
    env = {"PATH": f"{bin_}:{os.environ['PATH']}", "SLURM_JOB_NODELIST": "x", "SLURM_JOB_ID": "7", "SLURM_NNODES": "2",
           "SLURM_NODEID": "0"}  # fmt: skip
    done = subprocess.run(["bash"], input=made, text=True, cwd=tmp_path, env=env, timeout=60, check=False)
    got = (tmp_path / "got").read_text("utf-8").split("\0")
    assert done.returncode == 0 and not (tmp_path / "hit").exists()
    assert {f"{value}.yaml", *words, f"runs/{value}"} <= set(got)
    assert got[got.index("--master") + 1] == "node-0;touch hit:20007"  # one word, which temper launch then refuses


HOSTS = ["node-0", "10.0.0.1", "a.b.example", "gpu_1", "::1", "fe80::1", "2001:db8::1"]
NO_HOSTS = ["-oProxyCommand=touch", "a;b", "a b", "$(x)", "", "a/b", "user@h", "a\n", "a\x00", "`x`", "h%0", "fe80::1%eth0;x",
            "é", "a" * 300]  # fmt: skip


def test_only_a_machines_name_is_a_host() -> None:
    assert all(map(is_host, HOSTS)) and not any(map(is_host, NO_HOSTS))
    assert host_and_port("node-0:29500") == ("node-0", 29500) and host_and_port("[::1]:80") == ("::1", 80)
    assert host_and_port("::1:80") == ("::1", 80)
    for wrong in ("node-0", "node-0:0", "node-0:70000", "-x:1", "a;b:1", ":1", "a:1\n", "a:٣", f"a:{'9' * 5000}"):
        assert host_and_port(wrong) is None


@pytest.mark.parametrize("host", [host for host in NO_HOSTS if host.strip()])
def test_a_hosts_file_names_machines_only_else_the_line_is_told(host: str, tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text(f"# ours\nnode-0 slots=8\n\n{host} slots=8\n", "utf-8")
    problems = list(hostfile_problems(file))
    assert problems and all(f"{file}:{4}" in text or f"{file}:5" in text for text in problems)
    with pytest.raises(RecipeError, match="hosts:"):
        shape_of_cpu(Options(nproc="1", nnodes=2, hostfile=file))


def shape_of_cpu(options: Options) -> Shape:
    from types import SimpleNamespace

    recipe = SimpleNamespace(train={"use_cpu": True})
    return shape_of(recipe, LaunchSection(), options, "deepspeed")  # type: ignore[arg-type]


def test_hosts_files_that_are_none(tmp_path: Path) -> None:
    for content in (b"", b"# nothing\n", b"\xff\xfe", b"a slots=1\na slots=2\n", b"x" * (2 << 20), b"a slots=x\n"):
        (tmp_path / "hosts").write_bytes(content)
        assert list(hostfile_problems(tmp_path / "hosts"))
    os.mkfifo(tmp_path / "fifo")
    assert list(hostfile_problems(tmp_path / "fifo")) and list(hostfile_problems(tmp_path))
    (tmp_path / "hosts").write_text("node-0 slots=8\n::1 slots=2  # spare\n")
    assert not list(hostfile_problems(tmp_path / "hosts"))


@pytest.mark.parametrize("master", ["-oProxyCommand=x:1", "a;b:1", "node", "a:1\ncurl", "node:99999"])
def test_the_first_machine_is_a_machine(master: str) -> None:
    with pytest.raises(RecipeError, match="write HOST:PORT"):
        shape_of_cpu(Options(nproc="1", nnodes=2, node_rank=0, master=master))


def test_words_that_another_machines_shell_would_read_are_refused() -> None:
    check_for_pdsh(["quickstart", "train.max_steps=2", "data.train=[{source: sql, n: 4}]", "--run-dir", "runs/a b"])
    for word in (
        "a=$(touch hit)",
        "a=`x`",
        "a=b;c",
        "a=b c $HOME",
        "a={b,c}",
        "a=%h",
        "a=x\ny",
        "a='b'",
        "a=\\x y",
        "a>b",
    ):
        with pytest.raises(RecipeError, match="another machine's shell would read it"):
            check_for_pdsh(["quickstart", word])


def test_a_printed_command_is_one_to_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for value in (*AWKWARD, "new\nline"):
        assert shlex.split(str(Command(argv=("temper", value), env={"A": value}))) == [f"A={value}", "temper", value]
    assert shlex.split(sync_command("a; touch hit"))[:2] == ["wandb", "sync"] and "'a;'" in sync_command("a; touch hit")
    assert sync_command("'a b' c") == "wandb sync 'a b' c" and sync_command("it's") == "wandb sync 'it'\"'\"'s'"
    folder = tmp_path / "a; touch hit"
    folder.mkdir()
    show_end(folder, None)
    said = capsys.readouterr().err
    assert shlex.split(said.partition("watcher: ")[2].strip()) == ["temper", "watch", str(folder)]
