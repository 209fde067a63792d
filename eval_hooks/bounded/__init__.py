"""Functions that read what a model or a stranger wrote, in a process that can be killed: in time, in memory, in words.

A text can ask for more than there is (`9^{9^{9^{9}}}`, a pattern that backtracks for ever), and neither a thread nor
SIGALRM ends a big integer. So each process that judges has one worker: started fresh when it is first needed, without
torch or CUDA, kept from one batch to the next, replaced when it had to be killed.
"""

from eval_hooks.bounded.client import CPU_S, Call, Outcome, run_bounded

__all__ = ["CPU_S", "Call", "Outcome", "run_bounded"]
