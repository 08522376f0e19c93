"""Pascal VOC: an XML file for each picture."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from .pictures import PictureIndex, list_files, open_picture, split_of
from .records import DataSet, Picture, add_object

__all__ = ["find_voc", "read_voc"]

FORM = "Pascal VOC"
_XML = frozenset({".xml"})


def find_voc(root: Path) -> list[Path]:
    """List the XML files of a folder that are annotations, none where the first is not."""
    files = list_files(root, _XML) if root.is_dir() else []
    return files if files and _is_annotation(files[0]) else []


def read_voc(root: Path) -> DataSet:
    """Read a folder of VOC annotations.

    The boxes are taken as they are written, as corners in pixels (labelling tools write them so;
    the original VOC counts pixels from 1, which moves a box by one pixel). Splits are those of
    ``ImageSets/Main``, else of folders named after splits. Objects marked as difficult are ignored.

    Args:
        root: The folder; the annotations and pictures may lie anywhere in it.

    Raises:
        ValueError: If no annotation has its picture.
    """
    left_out: Counter[str] = Counter()
    index = PictureIndex(root)
    pictures = {}
    for file in find_voc(root):
        picture = _read_file(file, index, left_out)
        if picture is not None:
            pictures[file] = picture
    index.count_unused(root, pictures.values(), "XML", left_out)
    names = {labelled.category for picture in pictures.values() for labelled in picture.objects}
    categories = {name: number for number, name in enumerate(sorted(names), start=1)}
    return DataSet(FORM, root, categories, _split(root, pictures), left_out)


def _read_file(file: Path, index: PictureIndex, left_out: Counter[str]) -> Picture | None:
    try:
        tree = ElementTree.parse(file).getroot()
    except ElementTree.ParseError:
        left_out["annotation files that are not XML"] += 1
        return None
    path = index.find(file, tree.findtext("filename") or "")
    if path is None:
        left_out["annotation files without a picture"] += 1
        return None
    picture = open_picture(path, left_out)
    if picture is None:
        return None
    size = [tree.findtext(f"size/{side}") for side in ("width", "height")]
    if None not in size and size != [str(picture.width), str(picture.height)]:
        left_out["pictures of another size than their annotation states (theirs counts)"] += 1
    for element in tree.iter("object"):
        name = (element.findtext("name") or "").strip()
        corners = [element.findtext(f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")]
        try:
            numbers = [float(text) for text in corners if text is not None]
        except ValueError:
            numbers = []
        if not name or len(numbers) < 4:
            left_out["objects without a name or a box"] += 1
            continue
        difficult = (element.findtext("difficult") or "0").strip() == "1"
        add_object(picture, name, numbers, left_out, ignored=difficult)
    return picture


def _split(root: Path, pictures: dict[Path, Picture]) -> dict[str, list[Picture]]:
    by_stem = {file.stem: picture for file, picture in pictures.items()}
    splits: dict[str, list[Picture]] = {}
    for split in ("train", "val", "test"):
        for listed in sorted(root.rglob(f"ImageSets/Main/{split}.txt")):
            stems = [line.split()[0] for line in listed.read_text().splitlines() if line.strip()]
            splits.setdefault(split, []).extend(by_stem[s] for s in stems if s in by_stem)
    splits = {split: members for split, members in splits.items() if members}
    if "train" not in splits:
        splits = {}
        for file, picture in pictures.items():
            splits.setdefault(split_of(file, root) or "train", []).append(picture)
    return splits


def _is_annotation(file: Path) -> bool:
    try:
        return ElementTree.parse(file).getroot().tag == "annotation"
    except ElementTree.ParseError:
        return False
