"""What one GPU does: training steps, MMLU's size of scoring, attention, vLLM, and whether the defaults fit it.

    python -m tests.benchmarks.gpu [PART ...]

Models have Llama 3's shapes (1B, all weights trained; 8B, LoRA or scored) and random weights, so no hub is needed; they
want 25 GB of disk in the temporary folder (TMPDIR). Run alone on the card; each part takes at most 8 minutes on an H100
or H200:

    mfu        share of the card's peak in a packed bf16 step of `temper train`, with and without activation checkpointing
    mmlu       14,042 items of MMLU's size, 5 shots, by `batch_tokens` from 512 to 65,536; the aim is 8B in 60 s
    attention  flash attention against sdpa, in training and scoring
    vllm       greedy answers by vLLM against transformers
    choices    what is chosen where a recipe says nothing, against its neighbours

Each row is printed as a line of JSON when it is there, and a part's rows as a table when all are: `python -m
tests.benchmarks.gpu > gpu.txt` keeps both, what is said meanwhile goes to stderr. What does not fit, or is not installed,
says so in its row. Without a GPU a tiny model goes through every part, which shows that they work and nothing else.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.gpu_parts import attention, choices, mfu, mmlu, vllm
from tests.benchmarks.gpu_parts.row import FAILED, Row, failure, table
from tests.benchmarks.gpu_parts.shapes import CARD, TINY, Models, Scale
from tests.benchmarks.machine import machine

PARTS: dict[str, Callable[[Scale, Models], Iterator[Row]]] = {
    "mfu": mfu.rows,
    "mmlu": mmlu.rows,
    "attention": attention.rows,
    "vllm": vllm.rows,
    "choices": choices.rows,
}


def main(words: Sequence[str] | None = None) -> int:
    """The parts asked for, all by default; 1 where a row failed."""
    import torch

    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument(
        "--tiny", action="store_true", help="the tiny model, also where there is a GPU: a trial in seconds"
    )
    asked = parser.parse_args(words)
    if unknown := [part for part in asked.part if part not in PARTS]:
        parser.error(f"{', '.join(unknown)}: no such part; there are {', '.join(PARTS)}")
    on_gpu = torch.cuda.is_available()
    scale = CARD if on_gpu and not asked.tiny else TINY
    tiny = "" if scale is CARD else ", a tiny model: its figures say nothing of a GPU"
    print(f"{machine()}{'' if on_gpu else '; no GPU'}{tiny}", flush=True)
    with TemporaryDirectory() as folder:
        models = Models(root=Path(folder))
        rows = [row for part in asked.part or PARTS for row in shown(part, PARTS[part](scale, models))]
    return int(any(FAILED in row.numbers for row in rows))


def shown(part: str, rows: Iterator[Row]) -> list[Row]:
    """A part's rows, each printed as it comes, and all together at its end; what ends the part is its last row."""
    found = []
    for row in carried_on(part, rows):
        print(row.line, flush=True)
        found.append(row)
    print(f"\n{table(found)}\n", flush=True)
    return found


def carried_on(part: str, rows: Iterator[Row]) -> Iterator[Row]:
    """The rows; a part that raises between them ends with a row that says so, and the next part is had."""
    try:
        yield from rows
    except Exception as error:
        yield Row(part=part, case="all that was to follow", numbers=failure(error))


if __name__ == "__main__":
    sys.exit(main())
