"""`python -m launch` is `temper`. As a file it is what launchers start, in whatever folder (launch/itself.py)."""

import sys
from pathlib import Path

if not __package__ and (root := str(Path(__file__).absolute().parents[1])) not in sys.path:
    sys.path.insert(0, root)

from launch.cli import main

if __name__ == "__main__":
    main()
