"""The table of commands and inputs: `python -m tests.hostile [PART OF A NAME ...]`; code 1 where one is wrong."""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.hostile.cases import cases
from tests.hostile.seed import seed
from tests.hostile.stage import Stage, table


def main() -> int:
    """Run all, or those whose command and input have all the words."""
    from trainers.fetch import fetch

    with tempfile.TemporaryDirectory() as scratch:
        stage = Stage(Path(scratch))
        made = seed(stage, fetch("smollm2-135m-instruct"))
        rows, wrong = [("command", "input", "code", "s", "what it says")], Counter[bool]()
        for case in cases():
            if all(word in case.name for word in sys.argv[1:]):
                found = case.run(made)
                wrong[bool(found.wrong)] += 1
                said = "; ".join(found.wrong).upper() or found.said
                rows.append((case.command, case.input, str(found.code), f"{found.seconds:.1f}", said[:160]))
                print(*rows[-1], sep="  |  ", flush=True)
        stage.close()
    print(table(rows))
    print(f"{wrong.total()} commands; wrong: {wrong[True]}")
    return int(bool(wrong[True]))


if __name__ == "__main__":
    sys.exit(main())
