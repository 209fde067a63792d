"""Amounts of memory as a person writes them."""

import re

from launch.problems import Problem, RecipeError

UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


def asked(gpus: int, gpu_memory: str) -> int:
    """Bytes of each GPU. Raises RecipeError with both problems where both options are wrong."""
    problems: list[Problem] = []
    if gpus < 1:
        text = f"--gpus {gpus}: 1 or more are due; where there is none, plan for one: --gpus 1 --gpu-memory 80GiB"
        problems.append(Problem(text=text))
    try:
        size = memory(gpu_memory, "--gpu-memory")
    except RecipeError as error:
        problems += error.problems
    if problems:
        raise RecipeError(problems)
    return size


def memory(text: str, option: str) -> int:
    """Bytes of `80GiB`, `80 GiB`, `141GB`, `24.5GiB`. Raises RecipeError for anything else, naming what to write."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)", text.strip())
    if found is None:
        raise RecipeError(f"{option} {text!r}: a number and a unit are due, as {option} 80GiB")
    number, unit = found.groups()
    if not unit:
        raise RecipeError(f"{option} {text!r}: the unit is missing; write {option} {number}GiB")
    if unit.lower() not in UNITS:
        raise RecipeError(f"{option} {text!r}: no unit {unit!r}; there is: {', '.join(sorted(_written()))}")
    size = int(float(number) * UNITS[unit.lower()])
    if size <= 0:
        raise RecipeError(f"{option} {text!r}: must be above 0")
    return size


def _written() -> list[str]:
    return [unit.upper().replace("I", "i") for unit in UNITS]
