"""One small made-up data set, written in each form that labelling tools write."""

import json

import cv2
import numpy as np

SIZES = {"a": (64, 48), "b": (48, 64), "c": (64, 64), "d": (80, 40), "e": (64, 48)}
#: Corners of the objects of each picture; all are whole pixels.
OBJECTS = {
    "a": [("ring", 4, 6, 20, 30), ("bar", 30, 10, 61, 19)],
    "b": [("ring", 10, 12, 40, 50)],
    "c": [("bar", 2, 2, 60, 9), ("bar", 5, 30, 50, 41)],
    "d": [("ring", 40, 5, 70, 35)],
    "e": [],
}
SPLITS = {"train": ["a", "b", "c", "e"], "val": ["d"]}
CLASSES = ["ring", "bar"]


def write_pictures(folder, names=SIZES, suffix=".jpg"):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        width, height = SIZES[name]
        pixels = np.random.default_rng(ord(name)).integers(0, 90, (height, width, 3), np.uint8)
        for category, x1, y1, x2, y2 in OBJECTS[name]:
            pixels[y1:y2, x1:x2] = (230, 60, 60) if category == "ring" else (60, 60, 230)
        cv2.imwrite(str(folder / f"{name}{suffix}"), pixels)


def voc_xml(name, objects=None, size=None, **extra):
    """The text of an annotation; `extra` adds elements to every object."""
    width, height = size or SIZES[name]
    more = "".join(f"<{key}>{value}</{key}>" for key, value in extra.items())
    listed = "".join(
        f"<object><name>{category}</name>{more}<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for category, x1, y1, x2, y2 in (OBJECTS[name] if objects is None else objects)
    )
    return (
        f"<annotation><filename>{name}.jpg</filename><size><width>{width}</width>"
        f"<height>{height}</height><depth>3</depth></size>{listed}</annotation>"
    )


def write_voc(root):
    write_pictures(root / "JPEGImages")
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for name in SIZES:
        (root / "Annotations" / f"{name}.xml").write_text(voc_xml(name))
    for split, names in SPLITS.items():
        # Not in the order of the names.
        text = "\n".join(reversed(names)) + "\n"
        (root / "ImageSets/Main" / f"{split}.txt").write_text(text)
    return root


def labelme_data(name, objects=None, **extra):
    """What LabelMe writes of a picture, in rectangles; `extra` adds to every shape."""
    shapes = [
        {
            "label": category,
            # In the order in which they were drawn, here from below.
            "points": [[x2, y2], [x1, y1]],
            "group_id": None,
            "shape_type": "rectangle",
            "flags": {},
            **extra,
        }
        for category, x1, y1, x2, y2 in (OBJECTS[name] if objects is None else objects)
    ]
    width, height = SIZES[name]
    size = {"imageHeight": height, "imageWidth": width}
    return {"version": "5.5.0", "shapes": shapes, "imagePath": f"..\\{name}.jpg", **size}


def write_labelme(root):
    for split, names in SPLITS.items():
        write_pictures(root / split, names)
        for name in names:
            (root / split / f"{name}.json").write_text(json.dumps(labelme_data(name)))
    return root


def yolo_lines(name, polygons=False):
    width, height = SIZES[name]
    lines = []
    for category, x1, y1, x2, y2 in OBJECTS[name]:
        values = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height]
        values += [(x2 - x1) / width, (y2 - y1) / height]
        if polygons:
            points = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
            values = [v for x, y in points for v in (x / width, y / height)]
        lines.append(" ".join([str(CLASSES.index(category)), *(f"{v:.6f}" for v in values)]))
    return "\n".join(lines)


def write_yolo(root, polygons=False, split_folders=True):
    for split, names in SPLITS.items():
        inner = split if split_folders else ""
        write_pictures(root / "images" / inner, names)
        (root / "labels" / inner).mkdir(parents=True, exist_ok=True)
        for name in names:
            if OBJECTS[name]:
                file = root / "labels" / inner / f"{name}.txt"
                file.write_text(yolo_lines(name, polygons))
    places = "train: images/train\nval: images/val\n" if split_folders else ""
    (root / "data.yaml").write_text(f"path: /elsewhere\n{places}nc: 2\nnames: [ring, bar]\n")
    return root


def coco_data(names):
    """A COCO file of some pictures."""
    annotations = []
    for number, name in enumerate(names, start=7):
        for category, x1, y1, x2, y2 in OBJECTS[name]:
            box = [x1, y1, x2 - x1, y2 - y1]
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": CLASSES.index(category) + 4,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    images = [
        {"id": i, "file_name": f"{n}.jpg", "width": SIZES[n][0], "height": SIZES[n][1]}
        for i, n in enumerate(names, start=7)
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=4)]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(root):
    (root / "annotations").mkdir(parents=True)
    for split, names in SPLITS.items():
        write_pictures(root / f"{split}2017", names)
        file = root / "annotations" / f"instances_{split}2017.json"
        file.write_text(json.dumps(coco_data(names)))
    return root


def write_mask(file, name, boxes):
    """A mask of a picture with a speck in its corner."""
    width, height = SIZES[name]
    mask = np.zeros((height, width), np.uint8)
    for x1, y1, x2, y2 in boxes:
        mask[y1:y2, x1:x2] = 255
    mask[0, 0] = 255
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), mask)


def write_masks(root):
    """Each picture with one mask for each class in it, in folders of the classes."""
    for category in CLASSES:
        for name, objects in OBJECTS.items():
            boxes = [corners for kind, *corners in objects if kind == category]
            if boxes:
                folder = root / category / "Imgs"
                write_pictures(folder, [name])
                write_mask(folder / f"{name}.png", name, boxes)
    return root
