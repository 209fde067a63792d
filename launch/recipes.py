"""The shipped recipes: beside the packages in a checkout, inside `launch` in a wheel."""

from pathlib import Path

from launch.paths import absolute
from launch.problems import RecipeError, nearest, shown

NOT_RUNS = ("deepspeed",)
"""Folders under recipes/ that hold no runs."""


def recipes_dir() -> Path:
    """Folder of the shipped recipes. Raises RecipeError for an installation without them."""
    here = Path(__file__).resolve().parent
    for folder in (here / "recipes", here.parent / "recipes"):
        if (folder / "quickstart.yaml").is_file():
            return folder
    raise RecipeError(f"no recipes/ beside {here}; install the package again")


def names() -> list[str]:
    """Bare names of all shipped recipes, as `sft/forgetful`, in order."""
    root = recipes_dir()
    files = sorted(root.rglob("*.yaml"))
    found = [file.relative_to(root).with_suffix("").as_posix() for file in files]
    return [name for name in found if name.split("/")[0] not in NOT_RUNS]


def find_recipe(name: str, folder: Path | None = None) -> Path:
    """The file of a path (relative to `folder`, else the current one), or of a shipped recipe's bare name.

    Raises RecipeError with the nearest shipped name.
    """
    try:
        path = Path(name).expanduser()
        written = folder / path if folder else path
        if written.is_file():
            return absolute(written)
        if written.exists() and not written.is_dir():
            raise RecipeError(f"recipe {name}: no regular file (a pipe, a device); name a file")
    except (OSError, RuntimeError) as error:  # a name too long, `~nobody`
        raise RecipeError(f"recipe {shown(name)}: cannot be looked for: {error}") from error
    shipped = recipes_dir() / path
    for candidate in (shipped, shipped.with_name(shipped.name + ".yaml")):
        if not path.is_absolute() and candidate.is_file() and candidate.resolve().is_relative_to(recipes_dir()):
            return candidate.resolve()
    if written.is_dir():
        raise RecipeError(f"recipe {name}: a folder; name a file in it")
    known = names()
    bare = path.with_suffix("").as_posix()
    ends = [other for other in known if other.rpartition("/")[2] == bare]
    advice = f"; did you mean {ends[0]!r}?" if ends else nearest(bare, known)
    raise RecipeError(f"recipe {name}: no such file, and no shipped recipe of that name{advice}")


def about(file: Path) -> str:
    """A recipe's first comment line that is not for an editor."""
    for line in file.read_text("utf-8").splitlines():
        if line.startswith("#") and "yaml-language-server" not in line:
            return line.lstrip("# ").strip()
        if line and not line.startswith("#"):
            break
    return ""


def list_recipes() -> dict[str, str]:
    """Bare name -> description of every shipped recipe."""
    return {name: about(recipes_dir() / f"{name}.yaml") for name in names()}


def deepspeed_configs() -> dict[str, Path]:
    """Name -> file of the shipped DeepSpeed configurations."""
    return {file.stem: file for file in sorted((recipes_dir() / "deepspeed").glob("*.json"))}
