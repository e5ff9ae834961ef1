"""What is to be scanned: installed distributions with the files they record, or the folders of a source tree."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

IGNORED = frozenset({".git", ".hg", ".svn", ".interlock", "__pycache__"})
ENVIRONMENTS = tuple(  # where the distributions of an environment are, below its own folder
    f"{above}{packages}"
    for above in ("", "lib/python*/", ".venv/lib/python*/")
    for packages in ("site-packages", "dist-packages")
)


def packages(tree: str | list[str] | None) -> list[dict]:
    """Every package found: name, version, declared licence fields, files (absolute paths)."""
    if not tree:
        return _installed(_own_folders())
    found: list[dict] = []
    for name in [tree] if isinstance(tree, str) else tree:
        found += _of_tree(Path(name).resolve())
    return found


def _own_folders() -> list[Path]:
    """Where this Python's distributions are; sys.path would add whatever folder a job happens to run in."""
    paths = sysconfig.get_paths()
    return [Path(paths["purelib"]), Path(paths["platlib"])]


def _of_tree(tree: Path) -> list[dict]:
    if not tree.is_dir():
        raise NotADirectoryError(f"tree: {tree} is not a folder")
    nested = [tree, *(found for pattern in ENVIRONMENTS for found in sorted(tree.glob(pattern)))]
    folders = [folder for folder in nested if _has_metadata(folder)]
    return _installed(folders) if folders else list(_top_folders(tree))


def _has_metadata(folder: Path) -> bool:
    return any(folder.glob("*.dist-info")) or any(folder.glob("*.egg-info"))


def _installed(folders: list[Path]) -> list[dict]:
    """Each distribution once: purelib and platlib are often the same folder, or one a link to the other."""
    unique = list(dict.fromkeys(str(folder.resolve()) for folder in folders))
    return [_package(found) for found in distributions(path=unique)]


def _package(found: Distribution) -> dict:
    meta = found.metadata
    return {
        "name": meta.get("Name") or "unknown",
        "version": meta.get("Version") or "",
        "declared": {
            "expression": meta.get("License-Expression"),
            "licence": meta.get("License"),
            "classifiers": [each for each in meta.get_all("Classifier") or () if each.startswith("License")],
        },
        "files": [os.path.normpath(found.locate_file(file)) for file in found.files or ()],
    }


def _top_folders(tree: Path) -> Iterator[dict]:
    """One package for each top-level folder, and one, named like the tree, for the files beside them."""
    here: list[str] = []
    with os.scandir(tree) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.is_dir(follow_symlinks=False) and entry.name not in IGNORED:
                yield _plain(entry.name, list(_walk(entry.path)))
            elif entry.is_file(follow_symlinks=False):
                here.append(entry.path)
    if here:
        yield _plain(tree.name, here)


def _plain(name: str, files: list[str]) -> dict:
    return {"name": name, "version": "", "declared": {}, "files": files}


def _walk(folder: str) -> Iterator[str]:
    """Plain files below a folder; links are not followed, so a tree cannot lead out of itself or in circles."""
    for at, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - IGNORED)
        for name in sorted(files):
            path = Path(at, name)
            if not path.is_symlink():
                yield str(path)
