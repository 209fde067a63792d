"""The table of commands and inputs: `python -m tests.hostile [PART OF A NAME ...]`; code 1 where one is wrong."""

import sys
import tempfile
from pathlib import Path

from tests.hostile.cases import Case, cases
from tests.hostile.seed import seed
from tests.hostile.stage import Outcome, Stage, table


def main() -> int:
    """Run all, or those whose command and input have all the words."""
    from trainers.fetch import fetch

    found: list[tuple[Case, Outcome]] = []
    with tempfile.TemporaryDirectory() as scratch:
        stage = Stage(Path(scratch))
        made = seed(stage, fetch("smollm2-135m-instruct"))
        for case in cases():
            if all(word in case.name for word in sys.argv[1:]):
                found.append((case, outcome := case.run(made)))
                said = "; ".join(outcome.wrong).upper() or outcome.said
                print(case.name, outcome.code, f"{outcome.seconds:.1f} s", said[:160], sep=" | ", flush=True)
        stage.close()
    for kind in dict.fromkeys(case.kind for case, _ in found):
        print(f"\n{matrix(kind, [one for one in found if one[0].kind == kind])}")
    wrong = [case.name for case, outcome in found if outcome.wrong]
    slowest = max(outcome.seconds for _, outcome in found)
    print(f"\n{len(found)} commands, the slowest {slowest:.0f} s; wrong: {len(wrong)}", *wrong, sep="\n")
    return int(bool(wrong))


def matrix(kind: str, found: list[tuple[Case, Outcome]]) -> str:
    """A row an input, a column a command, in each cell the exit code, with a ! where something was wrong."""
    commands = list(dict.fromkeys(case.command for case, _ in found))
    cells = {(case.input, case.command): f"{outcome.code}{'!' * bool(outcome.wrong)}" for case, outcome in found}
    inputs = dict.fromkeys(case.input for case, _ in found)
    return table([(kind, *commands), *((name, *(cells.get((name, one), "") for one in commands)) for name in inputs)])


if __name__ == "__main__":
    sys.exit(main())
