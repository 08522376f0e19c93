"""A folder or file in which no reader finds its form: what lies there instead, and what to do."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from .pictures import SUFFIXES, list_files
from .yolo import CLASS_LISTS, find_yolo, is_label_file

__all__ = ["describe_unrecognised"]

_ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"})
_YAML = (".yaml", ".yml")
_SHOWN = 3
_TAKEN = (
    "annotation files of COCO (.json with images, annotations and categories), of YOLO (data.yaml "
    "with names, labels/*.txt), of Pascal VOC (.xml), of LabelMe (.json "
    "with shapes), or masks of pictures (for images/NAME.jpg masks/NAME.png or "
    "masks/CLASS/NAME.png, or beside it NAME_mask.png)"
)
_NAME_CLASSES = (
    "add data.yaml with names: [FIRST, SECOND, ...], or classes.txt with a name on each line, in "
    "the order of the numbers in the labels"
)


def describe_unrecognised(root: Path) -> str:
    """Say what a folder or file is, where it is not a data set in a form that is read.

    Args:
        root: It exists.

    Returns:
        A message for the user, one sentence.
    """
    found, advice = _of_file(root) if root.is_file() else _of_folder(root)
    return f"Expected a data set in {root}, but {found}; {advice}."


def _of_file(file: Path) -> tuple[str, str]:
    suffix = file.suffix.lower()
    if suffix in _ARCHIVES:
        return "it is an archive", "unpack it, and give the folder"
    if suffix in _YAML:
        return "it names no classes", "give it names: [FIRST, SECOND, ...] or {0: FIRST, ...}"
    what = "a picture" if suffix in SUFFIXES else "neither a .json nor a data.yaml"
    return f"it is {what}", "give the folder that holds the pictures and their annotations"


def _of_folder(folder: Path) -> tuple[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    if not files:
        return "it is empty", "give the folder that holds the pictures and their annotations"
    heads = {path.parent for path in files if path.name in CLASS_LISTS or path.suffix in _YAML}
    inner = sorted(
        str(head) for head in heads if head != folder and list_files(head) and find_yolo(head)
    )
    if inner:
        more = f" and {len(inner) - _SHOWN} more" if len(inner) > _SHOWN else ""
        return "there are some below", f"give one of {', '.join(inner[:_SHOWN])}{more}"
    labels = [path for path in sorted(files) if is_label_file(path)]
    if labels:
        heads_here = [p.name for p in sorted(folder.iterdir()) if p.suffix in _YAML]
        without = f" ({', '.join(heads_here)} has no names that can be read)" if heads_here else ""
        return f"nothing names the classes of labels such as {labels[0]}{without}", _NAME_CLASSES
    pictures = list_files(folder)
    if len(pictures) == len(files):
        return (
            f"there are {len(pictures)} pictures and no annotations",
            f"give the folder that holds both; taken are {_TAKEN}",
        )
    suffixes = Counter(path.suffix.lower() or "without suffix" for path in files)
    listed = ", ".join(f"{n} {suffix}" for suffix, n in suffixes.most_common(_SHOWN))
    return (
        f"there is none ({listed})",
        f"give the folder that holds both pictures and annotations; taken are {_TAKEN}",
    )
