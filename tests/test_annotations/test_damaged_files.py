"""Two thousand damaged annotation files: each is refused by one message, or read rightly."""

import json
import math
import random

import pytest
from coco_files import sound_file
from pycocotools import mask as mask_utils

from mmdet_rank.annotations import check_results, read_coco
from mmdet_rank.evaluation.coco import evaluate_coco

pytestmark = pytest.mark.timeout(600)
NUM_FILES = 2000

# What labelling tools, converters and editors have put in the place of a value.
VALUES = [
    *(
        None,
        True,
        False,
        "",
        "0",
        "1",
        "5",
        "abc",
        "猫",
        0,
        1,
        -1,
        2,
        5,
        7,
        99,
        0.0,
        1.0,
        1.5,
        -0.0,
    ),
    *(math.nan, math.inf, -math.inf, 1e10, 1e11, 1e308, 10**400, -(10**30), 2**31, 2**63, 1e-300),
    *([], {}, [[]], [None], [1], [1, 2], ["1", "2", "3", "4"], [1, 2, 3, 4], [0, 0, 0, 0]),
    *([5, 5, -3, 3], [2, 2, math.nan, 9], [1e9, 1e9, 1e9, 1e9], [1, 2, 3, 4, 5], {"x": 1}),
    *([[1, 2, 3]], [[1, 2, 3, 4]], [[2, 2, 9, 2, 9, 9]], [[2, 2, 9, 2, 9, 9], [1, 1]]),
    *([[2, 2, math.nan, 2, 9, 9]], [[1e12] * 6], [["a"] * 6], [[2, 2, 9, 2, 9, 9, 3]], [2] * 6),
    {"size": [30, 40], "counts": [0, 1200]},
    {"size": [30, 40], "counts": [600, 601]},
    {"size": [30, 40], "counts": [-5, 1205]},
    {"size": [30, 40], "counts": "~~~~~~~~~~~~"},
    {"size": [30, 40], "counts": "b'l2:d000000000000000000Xi0'"},
    {"size": [30, 40], "counts": "l2:d000000000000000000Xi0"},
    {"size": [40, 30], "counts": "l2:d000000000000000000Xi0"},
    {"size": [2**20, 2**20], "counts": [2**40]},
    {"size": None, "counts": None},
    {"counts": "abc"},
]
FIELDS = {
    "images": ("id", "file_name", "width", "height"),
    "categories": ("id", "name"),
    "annotations": (
        *("image_id", "category_id", "bbox", "area", "iscrowd", "segmentation", "id", "ignore"),
    ),
}


NUMBERS = (0, -1, 0.4, 0.0, 3, 3.5, 17, 29, 31, 64, -64, 1e5, 1e300, math.nan, math.inf, 10**400)


def change_number(rng, entry):
    """Put another number, or another mask, into an object."""
    key = rng.choice(["bbox", "bbox", "area", "image_id", "category_id", "iscrowd", "segmentation"])
    box = entry.get("bbox")
    if key == "bbox" and isinstance(box, list) and len(box) == 4:
        box[rng.randrange(4)] = rng.choice(NUMBERS)
    elif key == "area":
        entry["area"] = rng.choice(NUMBERS)
    elif key == "iscrowd":
        entry["iscrowd"] = rng.choice([0, 1, True, "0", "1", None, 1.0])
    elif key == "segmentation":
        part = [2, 2, 9, 2, 9, 9]
        masks = [[], [part], [part, [1, 1]], [[1, 1]], [[*part, 2]], [[math.nan] * 6], None, ""]
        entry["segmentation"] = rng.choice(masks)
    elif key != "bbox":
        entry[key] = rng.choice([1, 5, 2, 7, 1.0, 2.0, 99])


def damage(rng):
    """Damage a sound file in one to three ways; return it as text."""
    data = sound_file()
    for _ in range(rng.choice((1, 1, 2, 3))):
        kind = rng.choice([*FIELDS, "annotations", "annotations"])
        entries = data.get(kind)
        way = rng.random()
        if not isinstance(entries, list) or not entries or way < 0.03:
            data[kind] = rng.choice(VALUES)
        elif way < 0.06:
            del data[kind]
        elif way < 0.10:
            entries[rng.randrange(len(entries))] = rng.choice(VALUES)
        elif way < 0.14:
            entries.append(json.loads(json.dumps(rng.choice(entries))))
        else:
            entry = rng.choice(entries)
            key = rng.choice(FIELDS[kind])
            if not isinstance(entry, dict):
                continue
            if way < 0.24:
                entry.pop(key, None)
            elif way < 0.30 and isinstance(entry.get(key), list) and entry[key]:
                entry[key][rng.randrange(len(entry[key]))] = rng.choice(VALUES)
            elif way < 0.75 and kind == "annotations":
                change_number(rng, entry)
            elif way < 0.44 and isinstance(entry.get(key), (int, float)):
                entry[key] = rng.choice([str(entry[key]), float(entry[key]), entry[key] + 0.5])
            else:
                entry[key] = rng.choice(VALUES)
    text = json.dumps(data, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.03:
        place = rng.randrange(len(text))
        text = rng.choice([text[:place], text[:place] + "\x00" + text[place + 1 :], text + "]"])
    return text


def slowly(text):
    """What training is to have of a file, object by object: image, class, box, whether a crowd."""
    data = json.loads(text)
    images = {image["id"]: image for image in data["images"]}
    names = {category["id"]: str(category["name"]) for category in data["categories"]}
    found = []
    for entry in data["annotations"]:
        image, name = images.get(entry["image_id"]), names.get(entry["category_id"])
        if image is None or name is None or entry.get("ignore", 0) in (1, True, "1"):
            continue
        x, y, w, h = (math.inf if v > 1e308 else v for v in entry["bbox"])
        if not all(map(math.isfinite, (x, y, w, h))) or w < 1 or h < 1:
            continue
        if min(x + w, image["width"]) <= max(x, 0) or min(y + h, image["height"]) <= max(y, 0):
            continue
        if not entry["area"] > 0:
            continue
        mask = entry.get("segmentation")
        whole = isinstance(mask, dict) or any(
            len(part) >= 6 and len(part) % 2 == 0 and all(abs(v) <= 1e6 for v in part)
            for part in mask or []
        )
        crowd = entry.get("iscrowd", 0) in (1, True, "1")
        found.append((entry["image_id"], name, [x, y, w, h], crowd or not whole))
    return found


def read(path, use):
    """The objects of a file as a detector of masks would have them, or the message of refusal."""
    try:
        found = read_coco(path, use=use, iou_types=("bbox", "segm"))
    except ValueError as error:
        return None, str(error)
    names = {category["id"]: category["name"] for category in found.dataset["categories"]}
    objects = [
        (a["image_id"], names[a["category_id"]], a["bbox"], bool(a["iscrowd"]))
        for a in found.dataset["annotations"]
    ]
    return found, objects


def test_damaged_files_are_refused_by_one_message_or_read_rightly(tmp_path):
    rng = random.Random(11)
    path = tmp_path / "damaged.json"
    count = {"refused": 0, "read": 0, "evaluated": 0}
    for index in range(NUM_FILES):
        text = damage(rng)
        path.write_text(text, encoding="utf-8")
        found, objects = read(path, "training")
        if found is None:
            count["refused"] += 1
            assert objects.startswith("Expected "), (index, objects)
            assert str(path) in objects, (index, objects)
            assert "\n" not in objects, (index, objects)
            assert ", but " in objects, (index, objects)
        else:
            count["read"] += 1
            assert objects == slowly(text), index
            assert len(objects) == len(found.dataset["annotations"])
            lost = sum(n for reason, n in found.left_out.items() if "not a mask" not in reason)
            assert len(objects) + lost == found.num_objects
            assert all(masks_can_be_drawn(found.dataset))
        found, objects = read(path, "evaluation")
        if found is not None and found.dataset["annotations"] and index % 10 == 0:
            count["evaluated"] += 1
            evaluate_perfectly(found.dataset)
    assert count["refused"] > 500, count
    assert count["read"] > 500, count
    assert count["evaluated"] > 20, count


def masks_can_be_drawn(dataset):
    """Have pycocotools draw every mask that was let through."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in dataset["images"]}
    for entry in dataset["annotations"]:
        height, width = sizes[entry["image_id"]]
        mask = entry["segmentation"]
        if isinstance(mask, list):
            mask = mask_utils.merge(mask_utils.frPyObjects(mask, height, width))
        elif isinstance(mask["counts"], list):
            mask = mask_utils.frPyObjects(mask, height, width)
        yield mask_utils.decode(mask).shape == (height, width)


def evaluate_perfectly(dataset):
    """Evaluate the objects of a file as detections of themselves: nothing is wrong then."""
    results = [
        {key: entry[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.5}
        for entry in dataset["annotations"]
    ]
    report = evaluate_coco(dataset, results).report()
    assert report["oLRP"] is None or report["oLRP"] <= 1


def test_damaged_results_are_refused_by_one_message_or_read(tmp_path):
    rng = random.Random(12)
    truth = sound_file()
    sound = [
        {key: entry[key] for key in ("image_id", "category_id", "bbox", "segmentation")}
        | {"score": 0.5 + index / 10}
        for index, entry in enumerate(truth["annotations"])
    ]
    count = {"refused": 0, "read": 0}
    for index in range(600):
        results = json.loads(json.dumps(sound))
        entry = results[rng.randrange(len(results))]
        key = rng.choice(sorted(entry))
        if rng.random() < 0.1:
            del entry[key]
        else:
            entry[key] = rng.choice(VALUES)
        try:
            found = check_results(results, truth, "segm", "r.json")
        except ValueError as error:
            count["refused"] += 1
            message = str(error)
        else:
            message = None
        if message is not None:
            assert message.startswith("Expected "), (index, message)
            assert "of r.json" in message, (index, message)
            assert ", but got" in message, (index, message)
        else:
            count["read"] += 1
            for before, after in zip(results, found.detections, strict=True):
                assert after["score"] == before["score"]
                assert after["image_id"] == before["image_id"]
                assert mask_utils.decode(after["segmentation"]).shape in ((30, 40), (60, 50))
    assert count["refused"] > 300, count
    assert count["read"] > 20, count
