"""COCO ground truth and results, drawn so that all rules of matching are met."""

import numpy as np

SIZE = 200


def draw_files(seed, iou_type):
    """Ground truth and results with ties, crowds, empty images, and more detections than count."""
    rng = np.random.default_rng(seed)
    counter = iter(range(1, 10**6))

    def draw_box():
        width, height = rng.choice([12, 40, 120], 2) * rng.uniform(0.5, 1.0, 2)
        x, y = rng.uniform(0, SIZE - width), rng.uniform(0, SIZE - height)
        return [round(float(v), 1) for v in (x, y, width, height)]

    def shape_of(box):
        x, y, w, h = box
        if iou_type == "segm":
            return {"segmentation": [[x, y, x + w, y, x + w, y + h, x + w / 3, y + h]]}
        if iou_type == "keypoints":
            places = rng.uniform([x, y], [x + w, y + h], (17, 2))
            visible = rng.integers(0, 3, 17) * (rng.random() < 0.8)
            return {"keypoints": np.column_stack([places, visible]).ravel().tolist()}
        return {}

    images = [dict(id=i, file_name=f"{i}.jpg", width=SIZE, height=SIZE) for i in (7, 2, 9, 11)]
    categories = [
        dict(id=i, name=f"c{i}") for i in ((1,) if iou_type == "keypoints" else (5, 1, 3))
    ]
    annotations, results = [], []
    for image in images[:-1]:
        for category in categories[:2]:
            for _ in range(rng.integers(0, 8)):
                box = draw_box()
                item = dict(
                    id=next(counter),
                    image_id=image["id"],
                    category_id=category["id"],
                    bbox=box,
                    area=box[2] * box[3],
                    iscrowd=int(rng.random() < 0.15 and iou_type == "bbox"),
                    **shape_of(box),
                )
                if iou_type == "keypoints":
                    item["num_keypoints"] = int(np.count_nonzero(item["keypoints"][2::3]))
                annotations.append(item)
    for image in images:
        for category in categories:
            own = [a for a in annotations if a["image_id"] == image["id"]]
            for _ in range(rng.choice([0, 3, 20, 130])):
                if own and rng.random() < 0.5:
                    near = own[rng.integers(len(own))]
                    box = [max(v + float(rng.normal(0, 3)), 1.0) for v in near["bbox"]]
                    shape = shape_of(box)
                    if iou_type == "keypoints":
                        moved = np.array(near["keypoints"]) + rng.normal(0, 2, 51)
                        shape = {"keypoints": moved.tolist()}
                else:
                    box = draw_box()
                    shape = shape_of(box)
                if iou_type == "segm":
                    shape = {"segmentation": encode(shape["segmentation"])}
                score = round(float(rng.random()), 1)  # many ties
                results.append(
                    dict(image_id=image["id"], category_id=category["id"], score=score, **shape)
                    | ({"bbox": box} if iou_type == "bbox" else {})
                )
    truth = dict(images=images, annotations=annotations, categories=categories)
    return truth, results


def encode(polygons):
    from pycocotools import mask

    coded = mask.merge(mask.frPyObjects(polygons, SIZE, SIZE))
    return {"size": coded["size"], "counts": coded["counts"].decode()}
