"""Paths as a person wrote them, made absolute."""

from pathlib import Path


def absolute(path: Path) -> Path:
    """The path from the root, without `.` and, where that leads to the same place, without `..`.

    Links are not followed: what a link points to, as a content store's `blobs/1f2e`, may lack the ending that says how
    the file is read. `..` after a link stays, since it means the folder above the link's target.
    """
    whole = Path(path.absolute().anchor)
    for part in path.absolute().parts[1:]:
        whole = whole.parent if part == ".." and whole.name != ".." and not whole.is_symlink() else whole / part
    return whole
