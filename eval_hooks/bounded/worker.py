"""The worker's side: started as a file, so that it imports nothing but what it is asked for.

It imports, and forks a child for the items of each request: one that is killed costs a fork, not the imports. One line
of JSON a request, {path, call: [module, factory, setup], cpu_s, memory, items}; one line a reply: {ready}, for each
item {value}, {error} or {killed}, then {ended: the child's status}. The kernel kills at the limit of CPU time
(ITIMER_PROF, whose signal nobody here handles), and then the replies are fewer than the items.
"""

import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from eval_hooks.json_text import json_text

OUT_OF_MEMORY = 77
"""Exit status."""
LONGEST = 1 << 16
"""Characters of a reply."""


def serve(server: socket.socket) -> None:
    """Answer requests until the other side is gone."""
    functions: dict[str, Callable[..., Any]] = {}
    for line in server.makefile("rb"):
        request = json.loads(line)
        key = json_text(request["call"])
        if key not in functions:
            sys.path[:] = request["path"]
            try:
                functions[key] = _made(*request["call"])
            except BaseException as error:  # the other side says it; a SystemExit of a plugin is a failure too
                _send(server, {"failed": _where(error)})
                continue
        _send(server, {"ready": True})
        gc.freeze()  # a collection in the child would copy what it only looks at
        child = os.fork()
        if child == 0:
            _judge(server, functions[key], request)
        _send(server, {"ended": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])})


def _judge(server: socket.socket, function: Callable[..., Any], request: dict[str, Any]) -> NoReturn:
    """In the child."""
    try:
        _watch(server)
        _limit_memory(request["memory"])
        for arguments in request["items"]:
            server.sendall(_answer(function, arguments, request["cpu_s"]))
        os._exit(0)
    finally:  # no way back into the parent's loop
        os._exit(1)


def _made(module: str, factory: str, setup: list[str]) -> Callable[..., Any]:
    return getattr(importlib.import_module(module), factory)(*setup)


def _answer(function: Callable[..., Any], arguments: list[Any], cpu_s: float) -> bytes:
    """The reply's line. Only ASCII, and without line breaks, whatever was written: JSON escapes them."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        reply = json_text({"value": function(*arguments)})
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # what is left of it is not to be relied on
    except RecursionError:
        reply = json_text({"killed": "is nested too deeply"})
    except Exception as error:
        reply = json_text({"error": f"{type(error).__name__}: {error}"[:1000]})
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if len(reply) > LONGEST:
        reply = json_text({"killed": f"gave {len(reply):,} characters where {LONGEST:,} are allowed"})
    return reply.encode() + b"\n"


def _send(server: socket.socket, reply: dict[str, Any]) -> None:
    server.sendall(json_text(reply).encode() + b"\n")


def _where(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"


def _limit_memory(more: int) -> None:
    """So many bytes above what the imports have taken; torch alone reserves gigabytes of addresses."""
    import psutil

    soft = psutil.Process().memory_info().vms + more
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _watch(server: socket.socket) -> None:
    threading.Thread(target=_end_with, args=(server,), daemon=True).start()


def _end_with(server: socket.socket) -> None:
    """End when the other side does, in the middle of a judgement too: only its end is waited for."""
    watched = select.poll()
    watched.register(server, 0)
    watched.poll()
    os._exit(0)


def main() -> None:
    """Signals are for the process that judges, which may have a checkpoint to save first; this one outlives them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, lambda number, frame: None)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    server = socket.socket(fileno=int(sys.argv[1]))
    _watch(server)
    serve(server)


if __name__ == "__main__":
    main()
