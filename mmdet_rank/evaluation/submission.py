"""Packing results for the COCO test-dev server."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Container, Mapping
from pathlib import Path

from mmdet_rank.annotations import check_results
from mmdet_rank.annotations.fields import describe
from mmdet_rank.files import load_json, written_whole

__all__ = ["check_image_list", "submission_name", "write_submission"]


def submission_name(name: str) -> str:
    """Return the server's name, without ending, for results of a detector.

    >>> submission_name("rs-atss_r50")
    'detections_test-dev2017_rs-atss_r50_results'

    Raises:
        ValueError: when the name has other characters than letters, digits, ``.``, ``_``, ``-``.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise ValueError(
            f"Expected a name of letters, digits, '.', '_' and '-' for a submission, but got "
            f"{name!r}; rename the config."
        )
    return f"detections_test-dev2017_{name}_results"


def check_image_list(path: str | Path) -> dict:
    """Read a list of images without annotations, such as ``image_info_test-dev2017.json``.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is not JSON, or lacks ``images`` or ``categories``.
    """
    data = load_json(path)
    if not isinstance(data, dict) or not all(
        isinstance(data.get(key), list) and data[key] for key in ("images", "categories")
    ):
        raise ValueError(
            f"Expected an image list with 'images' and 'categories' in {path}, but got "
            f"{describe(data)}; for COCO test-dev it is image_info_test-dev2017.json."
        )
    return data


def write_submission(
    result_files: Mapping[str, str | Path],
    image_list: dict,
    folder: str | Path,
    name: str,
    *,
    tested: Container | None = None,
) -> list[Path]:
    """Check results and write them as zip files that the COCO test-dev server takes.

    Each is flat, with one JSON file of its own name. With results of both boxes and masks there are
    two, since the server evaluates them apart: ``..._NAME-bbox_results.zip`` and
    ``..._NAME-segm_results.zip``.

    Args:
        result_files: COCO result file by IoU type, ``bbox`` or ``segm``.
        image_list: what :func:`check_image_list` returned.
        folder: where the zip files go.
        name: name of the detector.
        tested: ids of the images that the detector ran on; None to not check them.

    Returns:
        The paths of the zip files.

    Raises:
        ValueError: when results name other images or categories than the list, have scores, boxes
            or masks that cannot be, or when an image of the list was not tested. Nothing is written
            then.
    """
    if tested is not None:
        left_out = [i["id"] for i in image_list["images"] if i["id"] not in tested]
        if left_out:
            raise ValueError(
                f"Expected results on all {len(image_list['images'])} images of the list, but the "
                f"detector did not run on {len(left_out)} of them ({left_out[:5]}); remove what "
                "filters or shortens the test data set."
            )
    contents = {}
    for iou_type, path in result_files.items():
        results = load_json(path)
        check_results(results, image_list, iou_type, str(path))
        suffix = f"-{iou_type}" if len(result_files) > 1 else ""
        contents[submission_name(name + suffix)] = json.dumps(results, allow_nan=False)
    paths = []
    for stem, content in contents.items():
        path = Path(folder) / f"{stem}.zip"
        with (
            written_whole(path) as temporary,
            zipfile.ZipFile(temporary, "w", compression=zipfile.ZIP_DEFLATED) as archive,
        ):
            archive.writestr(f"{stem}.json", content)
        paths.append(path)
    return paths
