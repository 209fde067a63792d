"""Where commands are tried: a home that must not change, a folder to work in, and what came of a command."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECRET = "the-content-of-somebodys-secret-file"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a command."""

    words: tuple[str, ...]
    code: int
    seconds: float
    hung: bool
    text: str
    """All that was printed."""
    changed: tuple[str, ...]
    """Files of the home that are new, gone or other than before."""
    leaked: tuple[str, ...]
    """Files of the working folder that hold the secret now."""

    @property
    def wrong(self) -> list[str]:
        """What must not be; empty where all is well."""
        return [
            *(["hangs"] if self.hung else []),
            *([f"a traceback (code {self.code})"] if "Traceback (most recent call last)" in self.text else []),
            *([f"ends with code {self.code}"] if self.code not in (0, 1, 2, 3, 4) else []),
            *([f"changes {', '.join(self.changed)}"] if self.changed else []),
            *(["prints the secret"] if SECRET in self.text else []),
            *([f"copies the secret to {', '.join(self.leaked)}"] if self.leaked else []),
            *(["prints escapes of the terminal"] if "\x1b]" in self.text or "\x1b[2J" in self.text else []),
        ]

    @property
    def said(self) -> str:
        """The last line that says something."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return lines[-1] if lines else ""


@dataclass
class Stage:
    """A home with things to lose, a folder to work in, and the process that runs commands."""

    root: Path
    limit_s: float = 30.0
    _process: "subprocess.Popen[str] | None" = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.root.mkdir(exist_ok=True)
        (self.home / "precious" / "checkpoint-1").mkdir(parents=True)
        for name in (".bashrc", ".ssh_key", "precious/thesis.tex", "precious/checkpoint-1/model.safetensors"):
            (self.home / name).write_text(f"{SECRET}: {name}\n")
        (self.home / "precious" / "checkpoint-1" / "config.json").write_text(json.dumps({"secret": SECRET}))
        self.work.mkdir()

    @property
    def home(self) -> Path:
        """The user's."""
        return self.root / "home"

    @property
    def work(self) -> Path:
        """The folder that the user works in."""
        return self.root / "work"

    @property
    def canary(self) -> Path:
        """Code of a stranger's makes this file, in the home."""
        return self.home / "PWNED"

    def env(self) -> dict[str, str]:
        """Libraries' own caches lie outside of the home, so that nothing at all in it may change."""
        caches = {name: str(self.root / "cache" / name.lower()) for name in
                  ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "HF_HOME", "MPLCONFIGDIR", "WANDB_CACHE_DIR",
                   "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "TRITON_HOME", "TORCH_HOME", "TEMPERING_CACHE")}  # fmt: skip
        return {**caches, "HOME": str(self.home), "WANDB_MODE": "offline", "WANDB_SILENT": "true", "CI": "true",
                "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(ROOT), "CANARY": str(self.canary)}  # fmt: skip

    def run(self, *words: str, cwd: Path | None = None, limit_s: float | None = None) -> Outcome:
        """One command."""
        where = cwd or self.work
        before, log = self.hashes(), self.root / "out.log"
        asked: dict[str, Any] = {"words": words, "cwd": str(where), "env": self.env(), "log": str(log),
                                 "limit_s": limit_s or self.limit_s}  # fmt: skip
        found = self._ask(asked)
        after = self.hashes()
        changed = tuple(sorted(name for name in {**before, **after} if before.get(name) != after.get(name)))
        text = log.read_text("utf-8", errors="replace")
        return Outcome(words=words, text=text, changed=changed, leaked=tuple(self._leaks(where)), **found)

    def hashes(self) -> dict[str, str]:
        """File of the home -> sha256 and permissions."""
        return {
            str(file.relative_to(self.home)): f"{file.lstat().st_mode} {_sha(file)}"
            for file in sorted(self.home.rglob("*"))
        }

    def _leaks(self, where: Path) -> list[str]:
        files = (file for file in where.rglob("*") if file.is_file() and not file.is_symlink())
        return [str(file.relative_to(where)) for file in files if SECRET.encode() in file.read_bytes()]

    def _ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self._process is None:
            command = [sys.executable, "-m", "tests.hostile.zygote"]
            self._process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **self.env()}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=(self.root / "zygote.log").open("w"), text=True,
            )  # fmt: skip
            assert self._line() == {"ready": True}
        assert self._process.stdin is not None
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        return self._line()

    def _line(self) -> dict[str, Any]:
        assert self._process is not None and self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()


def _sha(file: Path) -> str:
    if file.is_symlink():
        return str(file.readlink())
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Markdown."""
    head, *body = rows
    lines = [head, tuple("---" for _ in head), *body]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
