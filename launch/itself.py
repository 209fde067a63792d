"""This very package, as a process has it that is started in somebody's folder.

Python puts the folder it is started in on the path for `-m`, before everything else: a `trainers/`, `datasets/` or
`random.py` of the user's would be imported in place of what is meant. Nothing of the suite is imported here, so that
this can come first.
"""

import sys
from importlib.machinery import PathFinder
from pathlib import Path

HERE = Path(__file__).absolute().parent
ROOT = str(HERE.parent)
PACKAGES = ("launch", "trainers", "data_mix", "eval_hooks")
ITSELF = (sys.executable, "-u", "-P", str(HERE / "__main__.py"))
"""What starts `temper` of this package, whichever `temper` or `launch` another path would find."""


def keep_to_itself() -> None:
    """Leave out the folder in which `python -m launch` was typed.

    Raises ImportError where the path names another package of the suite's names all the same, as PYTHONPATH can.
    """
    if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and sys.path[0] != ROOT:  # so it is until launch is found
        del sys.path[0]
    others = [found for name in PACKAGES if (found := _found(name)) is not None and found != str(HERE.parent / name)]
    if others:
        raise ImportError(
            f"{', '.join(others)}: found before {ROOT}, to which the suite's own belong; take the folder off "
            "PYTHONPATH, or give it another name"
        )


def _found(name: str) -> str | None:
    """The folder or file that `import name` would take."""
    spec = PathFinder.find_spec(name)
    if spec is None or not spec.origin:
        return None
    file = Path(spec.origin)
    return str(file.parent if file.name == "__init__.py" else file)
