"""On a CPU freed memory goes back to the system, in a process of its own each time."""

import os
import subprocess
import sys

import pytest

BLOCKS = """
import sys, psutil
from launch.allocator import give_back_freed
if sys.argv[1] == "set":
    give_back_freed()
for _ in range(2):
    blocks = [bytearray(2**23) for _ in range(20)]
    before = psutil.Process().memory_info().rss
    del blocks[:19]
print((before - psutil.Process().memory_info().rss) // 2**20)
"""


@pytest.mark.parametrize(
    ("word", "more", "given_back"),
    [("set", {}, True), ("unset", {}, False), ("set", {"MALLOC_MMAP_THRESHOLD_": str(2**25)}, False)],
)
def test_freed_blocks_below_one_that_is_kept_are_given_back(word: str, more: dict[str, str], given_back: bool) -> None:
    """Of 20 blocks of 8 MiB the last is kept, so 152 MiB; glibc alone keeps them from the second time on."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", BLOCKS, word], env={**clean, **more}, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 140 if given_back else int(done.stdout) < 30
