"""Each launcher's command: what a person would type, read back by the launcher's own parser."""

import sys
from pathlib import Path

import pytest

from launch import RecipeError
from launch.commands import LAUNCHERS, Command, Shape, command, environment
from launch.itself import ITSELF
from launch.network import route
from trainers.world import free_port

WORDS = ["quickstart", "train.max_steps=2", "--run-dir", "r"]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_launcher_starts_this_package_with_the_words(launcher: str) -> None:
    made = command(launcher, Shape(nproc=2), WORDS)
    assert made.argv[-9:] == (*ITSELF, "train", *WORDS)
    assert {"--no-python", "--no_python"} & set(made.argv)
    assert made.argv[:3] == (sys.executable, "-P", "-m")


def test_torchrun_on_one_machine_takes_a_free_port_of_its_own() -> None:
    from torch.distributed.run import parse_args

    args = parse_args(LAUNCHERS["torchrun"](Shape(nproc=3), WORDS)[1:])
    assert (args.nproc_per_node, args.standalone, args.training_script) == ("3", True, sys.executable)
    assert args.no_python and args.training_script_args == [*ITSELF[1:], "train", *WORDS]


def test_torchrun_is_static_where_each_machine_has_its_number() -> None:
    from torch.distributed.run import parse_args

    shape = Shape(nproc=2, nnodes=3, node_rank=2, master="127.0.0.1:29511")
    args = parse_args(LAUNCHERS["torchrun"](shape, WORDS)[1:])
    assert (args.nnodes, args.node_rank, args.master_addr, args.master_port) == ("3", 2, "127.0.0.1", 29511)
    assert args.rdzv_backend == "static"


def test_without_a_number_torchruns_rendezvous_is_told_who_its_host_is() -> None:
    """By the machine's own addresses: host names may all mean 127.0.0.1, and then nobody or everybody is it."""
    from torch.distributed.run import parse_args

    args = parse_args(LAUNCHERS["torchrun"](Shape(nproc=2, nnodes=2, master="127.0.0.1:29511"), WORDS)[1:])
    assert (args.rdzv_backend, args.rdzv_endpoint) == ("c10d", "127.0.0.1:29511")
    assert (args.rdzv_conf, args.local_addr) == ("is_host=1", "127.0.0.1")


def test_deepspeed_takes_the_visible_cards_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """--num_gpus 2 would take cards 0 and 1, which on a shared machine are somebody else's."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,5")
    assert "--include=localhost:2,3" in LAUNCHERS["deepspeed"](Shape(nproc=2, on_gpu=True), WORDS)
    assert "--num_gpus=2" in LAUNCHERS["deepspeed"](Shape(nproc=2), WORDS)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8c1d,GPU-77aa")
    with pytest.raises(RecipeError, match="GPU-8c1d.*use --with torchrun"):
        LAUNCHERS["deepspeed"](Shape(nproc=2, on_gpu=True), WORDS)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert "--num_gpus=2" in LAUNCHERS["deepspeed"](Shape(nproc=2, on_gpu=True), WORDS)


def test_deepspeeds_own_reader_finds_the_machines_of_its_hostfile(tmp_path: Path) -> None:
    from deepspeed.launcher.runner import (
        apply_num_nodes_and_gpus,
        fetch_hostfile,
        parse_args,
        parse_inclusion_exclusion,
    )

    hosts = tmp_path / "hosts"
    hosts.write_text("node-0 slots=8\nnode-1 slots=8\nnode-2 slots=8\n")
    over_ssh = Shape(nproc=4, nnodes=2, hostfile=hosts, master="10.0.0.1:29511")
    args = parse_args(LAUNCHERS["deepspeed"](over_ssh, WORDS)[1:])
    assert args.no_python and args.no_local_rank
    assert args.user_script == "env" and args.user_args[-8:] == [*ITSELF, "train", *WORDS][1:]
    assert (args.master_addr, args.master_port, args.no_ssh) == ("10.0.0.1", 29511, False)
    pool = parse_inclusion_exclusion(fetch_hostfile(args.hostfile), args.include, args.exclude)
    taken = apply_num_nodes_and_gpus(pool, args.num_nodes, args.num_gpus)
    assert dict(taken) == {"node-0": [0, 1, 2, 3], "node-1": [0, 1, 2, 3]}
    by_hand = Shape(nproc=4, nnodes=2, hostfile=hosts, master="10.0.0.1:29511", node_rank=1)
    args = parse_args(LAUNCHERS["deepspeed"](by_hand, WORDS)[1:])
    assert (args.no_ssh, args.node_rank) == (True, 1)
    with pytest.raises(RecipeError, match="--hostfile FILE"):
        LAUNCHERS["deepspeed"](Shape(nproc=4, nnodes=2, master="10.0.0.1:29511"), WORDS)


def test_accelerate_is_told_everything_that_its_own_config_file_could_change() -> None:
    from accelerate.commands.launch import launch_command_parser

    parser = launch_command_parser()
    args = parser.parse_args(LAUNCHERS["accelerate"](Shape(nproc=2), WORDS)[1:])
    assert (args.num_processes, args.num_machines, args.multi_gpu, args.no_python) == (2, 1, True, True)
    assert args.training_script_args == [*ITSELF[1:], "train", *WORDS] and args.main_process_port
    shape = Shape(nproc=2, nnodes=2, node_rank=1, master="127.0.0.1:29511")
    args = parser.parse_args(LAUNCHERS["accelerate"](shape, WORDS)[1:])
    assert (args.num_processes, args.machine_rank, args.main_process_ip, args.main_process_port) == (
        4,
        1,
        "127.0.0.1",
        29511,
    )
    with pytest.raises(RecipeError, match="--node-rank"):
        LAUNCHERS["accelerate"](Shape(nproc=2, nnodes=2, master="127.0.0.1:29511"), WORDS)


def test_threads_and_interface_are_set_where_nobody_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    assert environment(Shape(nproc=2)) == {"OMP_NUM_THREADS": "4"}
    assert environment(Shape(nproc=16))["OMP_NUM_THREADS"] == "1"
    two = Shape(nproc=2, nnodes=2, node_rank=0, master="127.0.0.1:29511")
    assert environment(two)["GLOO_SOCKET_IFNAME"] == "lo"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "ib0")
    assert environment(two) == {}


def test_a_way_that_is_not_there_is_a_persons_error() -> None:
    with pytest.raises(RecipeError, match="--master nowhere.invalid:1: no way there"):
        route("nowhere.invalid", 1)


def test_a_free_port_can_be_listened_on() -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port()))


def test_a_command_is_printed_so_that_a_shell_reads_it() -> None:
    import shlex

    made = Command(argv=("python", "data.train=[{source: sql}]"), env={"A": "b c"})
    assert shlex.split(str(made)) == ["A=b c", *made.argv]
