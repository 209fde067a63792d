"""The catalogs a recipe is checked against, together."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data_mix.catalog import Source
    from eval_hooks.catalog import Task
    from trainers.catalog import Stage
    from trainers.method import Method
    from trainers.rlvr.verdict import Verifier


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What exists, by name."""

    stages: "Mapping[str, Stage]"
    methods: "Mapping[str, Method]"
    sources: "Mapping[str, Source]"
    tasks: "Mapping[str, Task]"
    verifiers: "Mapping[str, Verifier]"
    deepspeed: Mapping[str, Path]
    """The shipped DeepSpeed configurations."""


def shipped() -> Tables:
    """The tables of the packages."""
    from data_mix.catalog import SOURCES
    from eval_hooks.catalog import TASKS
    from launch.recipes import deepspeed_configs
    from trainers.catalog import METHODS, STAGES
    from trainers.rlvr.judge import VERIFIERS

    return Tables(
        stages=STAGES, methods=METHODS, sources=SOURCES, tasks=TASKS, verifiers=VERIFIERS,
        deepspeed=deepspeed_configs(),
    )  # fmt: skip
