"""Ranks are counted alike by launch, check and plan: those of all machines, those that share rows once."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app
from launch.findings import Finding
from launch.foresight.show import machines_of
from launch.preflight import preflight
from launch.preflight.catalog import CHECKS
from launch.preflight.schedule import length
from launch.preflight.subject import Subject
from launch.start import ranks_of
from tests.trainers.conftest import recipe, recipe_file, tiny_folder  # noqa: F401 - fixtures
from trainers import TrainError
from trainers.arguments import batch_on
from trainers.machine import Machine
from trainers.memory.foresee import Foresight
from trainers.memory.states import Machines
from trainers.models import load_tokenizer
from trainers.recipe import Recipe

Load = Callable[..., Recipe]
SHARED = ("train.parallelism_config={sp_size: 2}", "deepspeed=zero2", "train.max_length=64")


def checked(recipe: Recipe) -> Finding:  # noqa: F811
    (finding,) = preflight(recipe, checks={"global batch": CHECKS["global batch"]})
    return finding


def test_a_global_batch_is_divided_by_ranks_that_have_rows_of_their_own(recipe: Load) -> None:  # noqa: F811
    """4 ranks in pairs are 2 shares: 4 rows are 2 x 1 on each, 3 do not divide, and on 2 ranks 1 row does."""
    assert batch_on(recipe(*SHARED), 4) == {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 1}
    assert batch_on(recipe(*SHARED, "train.global_batch_size=1"), 2)["per_device_train_batch_size"] == 1
    with pytest.raises(TrainError, match="3: does not divide over 4 ranks, of which 2 share a row; nearest: 2 or 4"):
        batch_on(recipe(*SHARED, "train.global_batch_size=3"), 4)


@pytest.mark.parametrize(
    ("words", "ranks", "said"),
    [
        (("train.global_batch_size=1",), "2", None),
        (("train.global_batch_size=3",), "4", "over 4 ranks, of which 2 share a row; nearest: 2 or 4"),
        ((), "3", "train.parallelism_config: sp_size 2: does not divide 3 ranks; start a multiple of 2"),
        (("train.packing=true",), "2", "packed documents would see each other"),
        (("train.parallelism_config={cp_size: 2}",), "2", "cp_size 2: untested here"),
    ],
)
def test_the_launcher_starts_what_the_ranks_would_take(
    recipe_file: Path,  # noqa: F811
    words: tuple[str, ...],
    ranks: str,
    said: str | None,
) -> None:
    done = CliRunner().invoke(app, ["launch", str(recipe_file), *SHARED, *words, "--nproc", ranks, "--print"])
    assert done.exit_code == (2 if said else 0), done.output
    assert said is None or said in done.stderr


def test_check_counts_the_ranks_of_all_machines(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """16 rows on 2 machines of 4: 2 rows a rank. A launcher's own count wins."""
    words = ("launch={nproc: 4, nnodes: 2}", "train.global_batch_size=16")
    assert ranks_of(recipe(*words)) == 8
    finding = checked(recipe(*words))
    assert finding.found.startswith("16 = 2 a micro-batch x 1 accumulated x 8 ranks; 16 in the mix, seen 4 times")
    assert "does not divide over 8 ranks" in checked(recipe(*words, "train.global_batch_size=4")).found
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert ranks_of(recipe(*words)) == 2


def test_check_counts_ranks_that_share_rows_once(recipe: Load) -> None:  # noqa: F811
    found = checked(recipe(*SHARED, "launch.nproc=4")).found
    assert found.startswith("4 = 2 a micro-batch x 1 accumulated x 2 groups of 2 ranks; ")
    assert "sp_size 2: does not divide 1 ranks" in checked(recipe(*SHARED)).found


def test_nproc_auto_is_the_gpus_that_are_there_unless_the_cpu_is_asked_for(
    recipe: Load,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert ranks_of(recipe("launch={nproc: auto, nnodes: 2}")) == 2
    assert ranks_of(recipe("launch={nproc: auto, nnodes: 2}", "train.use_cpu=false")) == 6


def test_a_run_in_epochs_is_as_long_as_its_ranks_make_it(recipe: Load) -> None:  # noqa: F811
    """16 rows, 2 a rank: 8 steps an epoch alone, 2 on 4 ranks; with 2 accumulated, 1."""
    words = ("train.max_steps=-1", "train.num_train_epochs=3", "train.global_batch_size=null",
             "train.per_device_train_batch_size=2")  # fmt: skip
    for ranks, more, due in ((1, (), 24), (4, (), 6), (4, ("train.gradient_accumulation_steps=2",), 3)):
        subject = Subject(recipe(*words, *more), ranks=ranks)
        assert subject.mix and (found := length(subject)) and found.steps == due
        subject.close()


def test_what_a_rank_runs_at_once_is_checked_at_its_own_size(recipe: Load) -> None:  # noqa: F811
    """8 rows on 4 ranks are 2 a rank; one process does as many in four micro-batches."""
    arguments = Subject(recipe("train.global_batch_size=8"), ranks=4).arguments()
    assert (arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps) == (2, 4)


def test_plan_gives_each_rank_its_part_of_a_shared_row(recipe: Load) -> None:  # noqa: F811
    made = recipe(*SHARED, "train.global_batch_size=1")
    found = Foresight(made, Machines(ranks=2), load_tokenizer(made.model), 0.0, Machine(gpu="a card", bf16=True))
    assert (found.steps, found.batch().length, found.length) == ((1, 1), 32, 64)
    plain, *others = islice(found.rows(), 3)
    assert plain.refused and not any(row.refused for row in others)


def test_plan_is_for_the_machines_of_the_launch_section_unless_told(recipe: Load) -> None:  # noqa: F811
    two = recipe("launch={nproc: 4, nnodes: 2}")
    assert machines_of(two, None, None) == Machines(ranks=8, per_node=4)
    assert machines_of(two, None, 2) == Machines(ranks=8, per_node=2)
    assert machines_of(two, 16, None) == Machines(ranks=16, per_node=8)
    assert machines_of(recipe(), None, None) == Machines(ranks=1, per_node=1)


def test_plan_refuses_ranks_that_cannot_share_rows(recipe_file: Path) -> None:  # noqa: F811
    done = CliRunner().invoke(app, ["plan", str(recipe_file), *SHARED, "--gpus", "3"])
    assert done.exit_code == 2 and "sp_size 2: does not divide 3 ranks" in done.stderr
