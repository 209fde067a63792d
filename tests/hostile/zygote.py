"""A process that has imported everything, and forks for each command: a start of `temper` in a tenth of a second.

Reads a line of JSON a command ({words, cwd, env, log, limit_s}) and answers with one ({code, seconds, hung}).
"""

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any


def warm() -> None:
    """What commands import; no number is computed here, so that no thread is there to be lost in a fork."""
    import datasets  # noqa: F401
    import deepspeed  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import peft  # noqa: F401
    import trl  # noqa: F401
    import wandb  # noqa: F401

    import trainers.catalog
    import trainers.run
    import trainers.watch  # noqa: F401


def forked(asked: dict[str, Any]) -> dict[str, Any]:
    """Run one command in a process of its own, killed with its children when its time is over."""
    begin = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _become(asked)
    hung = False
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() - begin > asked["limit_s"]:
            hung = True
            os.killpg(pid, signal.SIGKILL)
            ended = os.waitpid(pid, 0)
            break
        time.sleep(0.01)
    code = os.waitstatus_to_exitcode(ended[1])
    return {"code": code, "seconds": round(time.monotonic() - begin, 1), "hung": hung}


def _become(asked: dict[str, Any]) -> None:
    """Never returns: this process is the command now."""
    code = 70
    try:
        os.setsid()
        os.environ.update(asked["env"])
        os.chdir(asked["cwd"])
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for of, to in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(of, to)
        sys.argv = ["temper", *asked["words"]]
        from launch.cli import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1 if end.code else 0
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                code = code or 70
        os._exit(code)


def main() -> None:
    """Serve until the pipe is closed."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what imports print is no answer
    import torch

    torch.set_num_threads(1)
    warm()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(forked(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
