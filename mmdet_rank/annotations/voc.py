"""Pascal VOC: an XML file for each picture."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import chain
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from .pictures import (
    SPLITS,
    SUFFIXES,
    PictureIndex,
    fits_its_picture,
    list_files,
    open_picture,
    split_of,
)
from .records import DataSet, Picture, add_object

__all__ = ["find_voc", "read_voc"]

FORM = "Pascal VOC"
_XML = frozenset({".xml"})
_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*encoding=["']([\w.:-]+)["']""")
_NUMBER = re.compile(r"\s+-?[01]$")


def find_voc(root: Path) -> list[Path]:
    """List the XML files of a folder where one of them is an annotation, else none."""
    files = list_files(root, _XML) if root.is_dir() else []
    return files if any(_is_annotation(_tree(file)) for file in files) else []


def read_voc(root: Path) -> DataSet:
    """Read a folder of VOC annotations.

    The boxes are taken as they are written, as corners in pixels (labelling tools write them so;
    the original VOC counts pixels from 1, which moves a box by one pixel). Splits are those of the
    lists in ``ImageSets/Main``, else of folders named after splits. Objects marked as difficult are
    ignored.

    Args:
        root: The folder; the annotations and pictures may lie anywhere in it.

    Raises:
        ValueError: If no annotation has its picture.
    """
    left_out: Counter[str] = Counter()
    notes: list[str] = []
    index = PictureIndex(root)
    pictures = {}
    for file in find_voc(root):
        picture = _read_file(file, index, left_out)
        if picture is not None:
            pictures[file] = picture
    index.count_unused(root, pictures.values(), "XML", left_out)
    names = {labelled.category for picture in pictures.values() for labelled in picture.objects}
    categories = {name: number for number, name in enumerate(sorted(names), start=1)}
    splits = _listed(root, pictures, left_out, notes) or _by_folders(root, pictures)
    return DataSet(FORM, root, categories, splits, left_out, notes)


def _read_file(file: Path, index: PictureIndex, left_out: Counter[str]) -> Picture | None:
    tree = _tree(file)
    if tree is None or not _is_annotation(tree):
        what = "annotation files that are not XML" if tree is None else "XML files of other things"
        left_out[what] += 1
        return None
    path = index.find(file, (tree.findtext("filename") or "").strip())
    if path is None:
        left_out["annotation files without a picture"] += 1
        return None
    picture = open_picture(path, left_out)
    if picture is None:
        return None
    size = _number(tree.findtext("size/width")), _number(tree.findtext("size/height"))
    if not fits_its_picture(picture, size, left_out):
        return None
    for element in tree.iter("object"):
        picture.marked += 1
        name = (element.findtext("name") or "").strip()
        keys = ("xmin", "ymin", "xmax", "ymax")
        numbers = [_number(element.findtext(f"bndbox/{key}")) for key in keys]
        corners = [number for number in numbers if number is not None]
        if not name or len(corners) < len(keys):
            left_out["objects without a name or a box"] += 1
            continue
        difficult = (element.findtext("difficult") or "0").strip() == "1"
        add_object(picture, name, corners, left_out, ignored=difficult)
    return picture


def _listed(
    root: Path, pictures: dict[Path, Picture], left_out: Counter[str], notes: list[str]
) -> dict[str, list[Picture]]:
    """Splits by the lists in ImageSets/Main, none where there are none that can be used."""
    lists: dict[str, list[str]] = defaultdict(list)
    for file in sorted(root.rglob("ImageSets/Main/*.txt")):
        split = "trainval" if file.stem.lower() == "trainval" else SPLITS.get(file.stem.lower())
        if split is not None:
            text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")
            lists[split] += [line.strip() for line in text.splitlines() if line.strip()]
    # It is of use only where it is not divided.
    both = lists.pop("trainval", [])
    if both and "train" not in lists:
        lists["train"] = both
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for file in pictures:
        by_stem[file.stem].append(file)
    members = {split: [_members(line, by_stem) for line in lines] for split, lines in lists.items()}
    chosen = {split: dict.fromkeys(chain(*found)) for split, found in members.items()}
    unlisted = [file for file in pictures if not any(file in files for files in chosen.values())]
    if not any(chosen.values()):
        if lists:
            notes.append(
                "The lists in ImageSets/Main name none of the annotated pictures, and are not used."
            )
        return {}
    unknown = sum(not found for lines in members.values() for found in lines)
    left_out["names in the lists of ImageSets/Main that no annotated picture has"] += unknown
    if chosen.get("train"):
        left_out["pictures in none of the lists of ImageSets/Main"] += len(unlisted)
    else:
        chosen["train"] = dict.fromkeys(unlisted)
    return {split: [pictures[file] for file in files] for split, files in chosen.items()}


def _members(line: str, by_stem: dict[str, list[Path]]) -> list[Path]:
    """The annotations that a line of a list names, by a name with or without folders and suffix."""
    # Behind the name may stand whether the picture has a class: 1, 0 or -1.
    for text in (line, _NUMBER.sub("", line)):
        name = PurePosixPath(text.replace("\\", "/"))
        if name.suffix.lower() in SUFFIXES | _XML:
            name = name.with_suffix("")
        found = by_stem.get(name.name, [])
        # Of several with one name those in the folders that the line names.
        inner = [
            file for file in found if file.with_suffix("").parts[-len(name.parts) :] == name.parts
        ]
        if found:
            return inner or found
    return []


def _by_folders(root: Path, pictures: dict[Path, Picture]) -> dict[str, list[Picture]]:
    splits: dict[str, list[Picture]] = {}
    for file, picture in pictures.items():
        split = split_of(file, root) or split_of(picture.file, root) or "train"
        splits.setdefault(split, []).append(picture)
    return splits


def _tree(file: Path) -> ElementTree.Element | None:
    """Parse an XML file; None where it is not one."""
    raw = file.read_bytes()
    declared = _ENCODING.match(raw)
    texts: list[bytes | str] = [raw]
    for name in (declared.group(1).decode("ascii"), "utf-8") if declared else ():
        # The parser knows few encodings; Python knows most.
        try:
            texts.append(raw.decode(name))
        except (LookupError, ValueError):
            continue
    for text in texts:
        try:
            return ElementTree.fromstring(text)
        except (ElementTree.ParseError, LookupError, ValueError):
            continue
    return None


def _is_annotation(tree: ElementTree.Element | None) -> bool:
    return tree is not None and tree.tag == "annotation"


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
