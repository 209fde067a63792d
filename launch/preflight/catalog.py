"""The checks that exist. A row is a name and a value; nothing registers itself."""

from collections.abc import Callable
from dataclasses import dataclass

from launch.findings import Finding
from launch.preflight import (
    accumulation,
    adapter,
    batch,
    contamination,
    control_tokens,
    date,
    disk,
    evaluation,
    files,
    login,
    longest,
    packing,
    precision,
    run_folder,
    schedule,
    seam,
    special_tokens,
    splits,
    supervised,
    template,
    truncation,
    verdicts,
    vocabulary,
)
from launch.preflight.subject import Subject


@dataclass(frozen=True, kw_only=True)
class Check:
    """A kind of mistake that is looked for."""

    look: Callable[[Subject], list[Finding]]
    """Raises what the packages raise for a person's mistake, which becomes a finding."""
    quick: bool = False
    """Looked at before every training: needs no weights and not all rows, and is nothing that training refuses."""


CHECKS: dict[str, Check] = {
    "keys and files": Check(look=files.check),
    "run folder": Check(look=run_folder.check),
    "W&B login": Check(look=login.check, quick=True),
    "special tokens": Check(look=special_tokens.check, quick=True),
    "vocabulary": Check(look=vocabulary.check, quick=True),
    "template": Check(look=template.check, quick=True),
    "date": Check(look=date.check, quick=True),
    "control tokens": Check(look=control_tokens.check),
    "seam": Check(look=seam.check),
    "adapter": Check(look=adapter.check, quick=True),
    "learning rate": Check(look=schedule.check, quick=True),
    "global batch": Check(look=batch.check),
    "truncation": Check(look=truncation.check),
    "supervised tokens": Check(look=supervised.check),
    "evaluation set": Check(look=evaluation.check),
    "verdicts": Check(look=verdicts.check),
    "splits": Check(look=splits.check),
    "contamination": Check(look=contamination.check),
    "free disk": Check(look=disk.check),
    "precision": Check(look=precision.check),
    "packing": Check(look=packing.check),
    "accumulation": Check(look=accumulation.check),
    "longest rows": Check(look=longest.check),
}
