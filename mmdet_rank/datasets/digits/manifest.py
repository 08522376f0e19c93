"""The manifest: options, recipe version and content of a digits data set."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from mmdet_rank.datasets.digits.options import DigitsOptions

FILE_NAME = "manifest.json"
#: Raised whenever the same options would give other images or annotations than before.
RECIPE_VERSION = 1


def content_hash(folder: Path) -> str:
    """SHA-256 over the names and the bytes of all files below ``folder`` but the manifest."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != FILE_NAME:
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def write_manifest(folder: Path, options: DigitsOptions, counts: dict) -> dict:
    """Describe the finished data set in ``folder``; returns what was written."""
    manifest = {
        "recipe_version": RECIPE_VERSION,
        "options": asdict(options),
        "counts": counts,
        "sha256": content_hash(folder),
    }
    (folder / FILE_NAME).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def read_manifest(folder: Path) -> dict | None:
    """The manifest of ``folder``, or None when there is none that can be read."""
    try:
        manifest = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        complete = {"recipe_version", "options", "counts", "sha256"} <= manifest.keys()
    except (FileNotFoundError, NotADirectoryError, ValueError, AttributeError):
        return None
    return manifest if complete else None


def differences(manifest: dict, options: DigitsOptions) -> list[str]:
    """Changes that are needed for the data set of ``manifest`` to be that of ``options``."""
    found = []
    # Options that are younger than a manifest were at their defaults.
    options_there = asdict(DigitsOptions()) | manifest["options"]
    for name, wanted in asdict(options).items():
        there = options_there[name]
        if there != wanted:
            found.append(f"--{name} {there} is there, --{name} {wanted} is asked for")
    if manifest["recipe_version"] != RECIPE_VERSION:
        found.append(
            f"it was made by version {manifest['recipe_version']} of the recipe, "
            f"this is version {RECIPE_VERSION}"
        )
    return found
