"""How ranks share an evaluation out: every job once, about alike in cost; two processes give the numbers of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from eval_hooks.ranks import Job, calls, share, shared_out

ROOT = Path(__file__).parents[2]


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 9))
def test_every_job_is_somebodys_and_nobody_has_much_more(costs: list[int], ranks: int) -> None:
    """Contiguous shares, none over the even share by more than the largest job."""
    shares = [share([Job(cost=cost, members=[]) for cost in costs], rank, ranks) for rank in range(ranks)]
    assert [i for one in shares for i in one] == list(range(len(costs)))
    assert all(sum(costs[i] for i in one) <= sum(costs) / ranks + max(costs) for one in shares if one)


def test_calls_by_hand() -> None:
    """Two jobs after one prefix, one after another, one after none; a share may begin inside; one prefix may be ready."""
    a, b = [1, 2], [1, 2]
    jobs = [Job(cost=1, members=[], prefix=prefix) for prefix in (a, a, b, ())]
    shares = (range(4), range(2), range(1, 3), range(3, 4), range(0))
    assert [calls(jobs, mine) for mine in shares] == [[2, 1, 2, 1], [2, 1], [2, 2], [1], []]
    assert [calls(jobs, mine, ready=lambda prefix: prefix is a) for mine in shares[:2]] == [[1, 1, 2, 1], [1, 1]]


def test_alone_one_does_everything_in_order_and_hears_of_every_item() -> None:
    jobs, heard = [Job(cost=3, members=[2, 0]), Job(cost=1, members=[1])], []
    found = shared_out(jobs, lambda i: [f"{i}{m}" for m in jobs[i].members], lambda: None, heard.append)
    assert found == ["00", "11", "02"] and sum(heard) == 3


def processes(folder: Path, script: str, n: int, *words: str) -> None:
    """Run a script in one process, or by torchrun in several."""
    (folder / "script.py").write_text(script)
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(n)] if n > 1 else []
    command = [sys.executable, *start, str(folder / "script.py"), *words]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


SCRIPT = """
import json, sys
import torch, torch.distributed as dist
from transformers import AutoTokenizer
from eval_hooks.config import TaskSpec
from eval_hooks.encode import encode
from eval_hooks.forward import Prefixes
from eval_hooks.generate import continuations
from eval_hooks.items import LossItem
from eval_hooks.losses import token_losses
from eval_hooks.scoring.options import score
from tests.conftest import tiny_llama
from tests.eval_hooks.test_scoring import MANY

tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])
if int(sys.argv[3]) > 1:
    dist.init_process_group("gloo")
model, calls = tiny_llama(), []
model.register_forward_pre_hook(lambda *_: calls.append(1))
encoded = encode(MANY, TaskSpec(task="mmlu", variant="olmes_cf", shots=2), tokenizer, 2048)
found = {"choice": [list(s.logp) for s in score(model, encoded, 60)]}
found["calls"] = len(calls)
kept, waves = Prefixes(10**9), (range(0, len(encoded), 2), range(1, len(encoded), 2))
found["waves"] = [[list(s.logp) for s in score(model, encoded, 60, only=wave, prefixes=kept)] for wave in waves]
found["calls of waves"] = len(calls)
rows = [LossItem(item_id=str(i), input_ids=range(5, 9 + i), labels=(-100, *range(6, 9 + i))) for i in range(7)]
found["loss"] = token_losses(model, rows, 20)
prompts = [[5, 6, 7 + i] for i in range(5)]
for sample in (False, True):
    found[f"written {sample}"] = continuations(model, tokenizer, prompts, 4, sample=sample, batch_tokens=16)
rank = dist.get_rank() if dist.is_initialized() else 0
open(f"{sys.argv[1]}/{sys.argv[3]}-{rank}.json", "w").write(json.dumps(found))
if dist.is_initialized():
    dist.barrier()
    dist.destroy_process_group()
"""


def test_two_processes_give_the_numbers_of_one_to_the_last_digit(tmp_path: Path, smollm2: Path) -> None:
    """The layout of batches does not depend on the ranks; both ranks know everything, and call the model as often."""
    for n in (1, 2):
        processes(tmp_path, SCRIPT, n, str(tmp_path), str(smollm2), str(n))
    one, first, second = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("1-0", "2-0", "2-1"))
    assert first == second
    assert all(one.pop(name) > first.pop(name) for name in ("calls", "calls of waves"))
    assert first == one and set(one) == {"choice", "waves", "loss", "written False", "written True"}


FAILS = """
import sys
import torch.distributed as dist
from eval_hooks import EvalError
from eval_hooks.ranks import Job, shared_out

dist.init_process_group("gloo")
rank, called = dist.get_rank(), []

def work(number):
    called.append(number)
    if number == 2:
        raise RuntimeError("no memory")
    return [number]

jobs = [Job(cost=1, members=[i]) for i in range(4)]
try:
    shared_out(jobs, work, lambda: called.append("idle"), lambda done: None)
except RuntimeError as error:
    assert rank == 1 and str(error) == "no memory" and called == [2, "idle"], called
except EvalError as error:
    assert rank == 0 and str(error) == "rank 1 failed: RuntimeError: no memory" and called == [0, 1], called
else:
    raise SystemExit("nothing was raised")
dist.barrier()
dist.destroy_process_group()
"""


def test_what_fails_on_one_rank_is_raised_on_all_and_nobody_waits(tmp_path: Path) -> None:
    """The rank that failed still calls the model as often as the others, which ZeRO-3 needs."""
    processes(tmp_path, FAILS, 2)
