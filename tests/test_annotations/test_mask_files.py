"""Folders of images and masks: layouts that are read, and mistakes that are told."""

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmdet_rank.annotations.mask_files import (
    MaskReader,
    SeveralClassesError,
    check_sizes,
    find_pairs,
)


def save(path, values, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, dtype=np.uint8)).save(path, **kwargs)
    return path


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b", "sub/c"):
        save(tmp_path / "images" / f"{name}.jpg", np.zeros((4, 6, 3)))
        save(tmp_path / "masks" / f"{name}.png", np.zeros((4, 6)))
    return tmp_path


def test_pairs_by_name(folder):
    (folder / "images" / "notes.txt").write_text("not an image")
    pairs = find_pairs(folder / "images", folder / "masks")
    assert [(i.name, m.name) for i, m in pairs] == [
        ("a.jpg", "a.png"),
        ("b.jpg", "b.png"),
        ("c.jpg", "c.png"),
    ]


def test_one_folder_with_suffixes(tmp_path):
    for name in ("x", "y"):
        save(tmp_path / f"{name}.jpg", np.zeros((4, 6, 3)))
        save(tmp_path / f"{name}_mask.png", np.zeros((4, 6)))
    pairs = find_pairs(tmp_path, tmp_path, ".jpg", "_mask.png")
    assert [m.name for _, m in pairs] == ["x_mask.png", "y_mask.png"]
    with pytest.raises(ValueError, match="img_suffix and seg_map_suffix"):
        find_pairs(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("gone", "message"),
    [("masks/b.png", r"a mask in .*masks .*images/b\.jpg"), ("images/a.jpg", "an image in")],
)
def test_missing_partners(folder, gone, message):
    (folder / gone).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        find_pairs(folder / "images", folder / "masks")


def test_missing_folders_and_images(folder):
    with pytest.raises(FileNotFoundError, match=r"a folder of masks, but .*truth does not exist"):
        find_pairs(folder / "images", folder / "truth")
    (folder / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"images in .*empty, but there is none"):
        find_pairs(folder / "empty", folder / "masks")
    save(folder / "images" / "a.png", np.zeros((4, 6, 3)))
    with pytest.raises(ValueError, match=r"one file of each name .* a\.jpg and a\.png"):
        find_pairs(folder / "images", folder / "masks")


def test_values(tmp_path):
    read = MaskReader().read
    grey = save(tmp_path / "grey.png", [[0, 100, 127, 128, 255]])
    assert read(grey).tolist() == [[0, 0, 0, 1, 1]]
    assert MaskReader(threshold=0.25).read(grey).tolist() == [[0, 1, 1, 1, 1]]
    assert MaskReader().greys(grey).tolist() == [100, 127, 128]
    ones = save(tmp_path / "ones.png", [[0, 1, 1]])
    assert read(ones).tolist() == [[0, 1, 1]]
    assert MaskReader().greys(ones).size == 0
    classes = save(tmp_path / "classes.png", [[0, 1, 2, 3]])
    assert MaskReader(value=2).read(classes).tolist() == [[0, 0, 1, 0]]
    with pytest.raises(ValueError, match=r"classes\.png, but its values are 0, 1, 2, 3; give"):
        read(classes)
    # With a palette of greys, what is bright is foreground, whatever its number.
    turned = Image.fromarray(np.array([[0, 1, 0]], dtype=np.uint8))
    turned.putpalette([255, 255, 255, 0, 0, 0])
    turned.save(tmp_path / "turned.png")
    assert read(tmp_path / "turned.png").tolist() == [[1, 0, 1]]
    turned.putpalette([0, 0, 0, 128, 0, 0])  # as VOC's: numbers of classes
    turned.save(tmp_path / "turned.png")
    assert read(tmp_path / "turned.png").tolist() == [[0, 1, 0]]
    for name, values in (("empty", [[0, 0]]), ("full", [[255, 255]])):
        assert read(save(tmp_path / f"{name}.png", values)).tolist() == [[name == "full"] * 2]
    bilevel = tmp_path / "bilevel.png"
    Image.fromarray(np.array([[True, False]])).save(bilevel)
    assert read(bilevel).tolist() == [[1, 0]]


@pytest.mark.parametrize("white", [1, 255, 65535])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
def test_shares_of_white_in_wide_types(tmp_path, white, dtype):
    shares = np.array([[0.0, 0.1, 0.4, 0.6, 1.0]])
    path = tmp_path / "mask.npy"
    np.save(path, (white * np.array([[0, 1, 1]])).astype(dtype))
    assert MaskReader().read(path).tolist() == [[0, 1, 1]]
    assert MaskReader().greys(path).size == 0
    if white == 1 and dtype in (np.int32, np.int64):
        return
    np.save(path, (white * shares).astype(dtype))
    mask = MaskReader().read(path)
    assert (mask.dtype, mask.tolist()) == (np.uint8, [[0, 0, 0, 1, 1]])
    assert MaskReader(threshold=0.25).read(path).tolist() == [[0, 0, 1, 1, 1]]
    assert len(MaskReader().greys(path)) == 3
    # One value above 1 is foreground in floats, and may be a class in integers.
    np.save(path, np.array([[0, 7]]).astype(dtype))
    if np.issubdtype(dtype, np.floating):
        assert MaskReader().read(path).tolist() == [[0, 1]]
    else:
        with pytest.raises(SeveralClassesError, match=r"or of 0 and 255\.0, in .* give mask_value"):
            MaskReader().read(path)
    # Nothing there is white.
    np.save(path, (white * shares[:, :4]).astype(dtype))
    assert MaskReader().read(path).tolist() == [[0, 0, 0, 1]]


def scene(numbers, void=None):
    """Areas of each number, and a line of some pixels around them."""
    values = np.zeros((90, 120), np.uint8)
    for place, number in enumerate(numbers):
        x, y = divmod(place, 3)
        cv2.rectangle(values, (5 + 12 * x, 5 + 28 * y), (13 + 12 * x, 25 + 28 * y), number, -1)
        if void is not None:
            cv2.rectangle(values, (4 + 12 * x, 4 + 28 * y), (14 + 12 * x, 26 + 28 * y), void, 2)
    return values


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.float32])
@pytest.mark.parametrize(
    ("numbers", "void", "told"),
    [
        ((1, 2), 255, "1, 2"),
        ((1,), 255, "1"),
        ((1, 130, 200), None, "1, 200"),
        ((100, 200), None, "100"),
    ],
)
def test_numbers_of_classes_beside_a_large_one(tmp_path, numbers, void, told, dtype):
    values = scene(numbers, void)
    path = tmp_path / "classes.npy"
    np.save(path, values.astype(dtype))
    message = rf"or of 0 and 255\.0, in .*classes\.npy, but it has areas of {told} too; give mask_v"
    with pytest.raises(SeveralClassesError, match=message):
        MaskReader().read(path)
    number = int(values.max())
    assert (MaskReader(value=number).read(path) == (values == number)).all()


def test_numbers_of_many_objects(tmp_path):
    path = save(tmp_path / "objects.png", scene(range(1, 28)))
    with pytest.raises(SeveralClassesError, match=r"its values are 0, 1, 2, 3, 4, \.\.\.; give"):
        MaskReader().read(path)
    save(path, scene(range(129, 156)))  # half of 255 and more: all would be one
    with pytest.raises(SeveralClassesError, match=r"areas of 130, 131, 132, 133, 134, \.\.\. too"):
        MaskReader().read(path)
    assert MaskReader(value=140).read(path).sum() == 9 * 21
    # As of Cityscapes: 1000 times the class, and a number.
    wide = scene(range(4)).astype(np.uint16)
    wide[wide > 0] += 26000
    Image.fromarray(wide).save(path)
    with pytest.raises(SeveralClassesError, match="areas of 26001, 26002, 26003 too"):
        MaskReader().read(path)


def test_numbers_of_a_palette_of_colours(tmp_path):
    values = np.zeros((20, 30), np.uint8)
    values[4, 4:20] = 15  # too thin for an area
    values[5, 4:20] = 255
    coloured = Image.fromarray(values)
    coloured.putpalette([0, 0, 0] * 15 + [192, 128, 128] * 240 + [224, 224, 192])
    path = tmp_path / "voc.png"
    coloured.save(path)
    assert Image.open(path).mode == "P"
    with pytest.raises(SeveralClassesError, match="its palette has colours for 0, 15, 255; give"):
        MaskReader().read(path)
    assert MaskReader(value=15).read(path).sum() == 16
    # A tool's colour for the one class, and a palette of greys.
    coloured = Image.fromarray(np.where(values == 15, 0, values))
    coloured.putpalette([0, 0, 0] * 255 + [192, 128, 128])
    coloured.save(path)
    assert MaskReader().read(path).sum() == 16
    Image.fromarray(values).quantize(4).save(path)
    assert Image.open(path).mode == "P"
    assert MaskReader().read(path).sum() == 16


def shape():
    """A mask of 0 and 255 with slanting, straight and thin parts, and the same with soft edges."""
    large = np.zeros((8 * 96, 8 * 128), np.uint8)
    cv2.ellipse(large, (340, 330), (240, 130), 25, 0, 360, 255, -1)
    cv2.rectangle(large, (650, 83), (931, 301), 255, -1)
    cv2.polylines(
        large, [np.array([(30, 700), (420, 590), (700, 717), (980, 500)])], False, 255, 20
    )
    soft = cv2.resize(large, (128, 96), interpolation=cv2.INTER_AREA)
    return np.where(soft < 128, 0, 255).astype(np.uint8), soft


@pytest.mark.parametrize(
    "make",
    [
        lambda hard, soft: soft,
        lambda hard, soft: cv2.GaussianBlur(hard, (0, 0), 3),
        lambda hard, soft: cv2.blur(hard, (7, 7)),
        lambda hard, soft: cv2.resize(soft, None, fx=3, fy=3, interpolation=cv2.INTER_LINEAR),
        lambda hard, soft: cv2.resize(soft, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST),
        lambda hard, soft: np.where(hard == 0, 0, 200),
        lambda hard, soft: np.where(hard == 0, 2, np.where(soft == 255, 253, 250)),
    ],
    ids=[
        "smooth",
        "blurred",
        "averaged",
        "enlarged",
        "in squares",
        "200",
        "nearly black and white",
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_masks_with_greys_on_edges_are_of_one_class(tmp_path, make, dtype):
    values = make(*shape()).astype(dtype)
    np.save(tmp_path / "mask.npy", values)
    assert (MaskReader().read(tmp_path / "mask.npy") == (values >= 128)).all()


@pytest.mark.parametrize("quality", [5, 15, 20, 40, 75, 95])
@pytest.mark.parametrize("soft", [False, True])
def test_masks_as_jpeg_are_of_one_class(tmp_path, quality, soft):
    """Flat areas of some qualities are 2 or 253, and edges have ringing."""
    mask = shape()[soft]
    path = save(tmp_path / "mask.jpg", mask, quality=quality)
    saved = np.asarray(Image.open(path))
    assert len(np.unique(saved)) > 10
    read = MaskReader().read(path)
    assert (read == (saved >= 128)).all()
    assert (read == (mask >= 128)).mean() > 0.98
    # Saved as PNG afterwards, as the magnetic tiles.
    assert (MaskReader().read(save(tmp_path / "mask.png", saved)) == read).all()


def test_two_values_are_told_apart_by_the_threshold(tmp_path):
    path = save(tmp_path / "mask.png", np.where(shape()[0] == 0, 0, 100))
    assert (MaskReader(threshold=0.25).read(path) == (shape()[0] > 0)).all()
    with pytest.raises(SeveralClassesError, match="areas of 100 too; give mask_value"):
        MaskReader().read(path)


def test_shares_of_annotators_are_no_numbers(tmp_path):
    """Floats that are not whole may fill areas: masks that several people drew, averaged."""
    shares = np.zeros((30, 40), np.float32)
    for share in (1 / 3, 2 / 3, 1):
        shares[int(9 * share) : 25, 5:20] = share
    np.save(tmp_path / "mask.npy", shares)
    assert (MaskReader().read(tmp_path / "mask.npy") == (shares > 0.5)).all()


def test_colour_masks(tmp_path):
    grey = np.array([[0, 255]])[..., None]
    rgba = np.concatenate([grey, grey, grey, np.full_like(grey, 7)], axis=2)
    assert MaskReader().read(save(tmp_path / "rgba.png", rgba)).tolist() == [[0, 1]]
    red = np.concatenate([grey, 0 * grey, 0 * grey], axis=2)
    with pytest.raises(ValueError, match=r"grey mask in .*red\.png, but its colour channels"):
        MaskReader().read(save(tmp_path / "red.png", red))


def test_mat(tmp_path):
    labels = np.array([[1, 2], [2, 3]], dtype=np.uint8)
    path = tmp_path / "001.mat"
    savemat(path, {"groundTruth": {"Segmentation": labels, "Boundaries": labels}})
    assert MaskReader(value=2).read(path).tolist() == [[0, 1], [1, 0]]
    plain = tmp_path / "plain.mat"
    savemat(plain, {"mask": labels > 1})
    assert MaskReader(field="mask").read(plain).tolist() == [[0, 1], [1, 1]]
    with pytest.raises(ValueError, match=r"groundTruth\.Edges in .*001\.mat, but Edges is not"):
        MaskReader(field="groundTruth.Edges").read(path)
    (tmp_path / "broken.mat").write_bytes(b"MATLAB" * 40)
    with pytest.raises(ValueError, match=r"broken\.mat"):
        MaskReader().read(tmp_path / "broken.mat")


def test_sizes_and_broken_files(tmp_path):
    image, mask = save(tmp_path / "i.jpg", np.zeros((4, 6, 3))), tmp_path / "m.png"
    check_sizes(image, mask, (4, 6))
    with pytest.raises(ValueError, match=r"6 x 4 pixels in .*m\.png, .* but it has 4 x 6"):
        check_sizes(image, mask, (6, 4))
    orientation = Image.Exif()
    orientation[0x0112] = 6  # shown turned by a quarter
    turned = tmp_path / "turned.jpg"
    Image.new("RGB", (6, 4)).save(turned, exif=orientation)
    check_sizes(turned, mask, (6, 4))
    with pytest.raises(ValueError, match=r"4 x 6 pixels in .*m\.png, .* but it has 6 x 4"):
        check_sizes(turned, mask, (4, 6))
    mask.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"a mask in .*m\.png, but it cannot be read"):
        MaskReader().read(mask)
    with pytest.raises(ValueError, match=r"an image in .*m\.png, but it cannot be read"):
        check_sizes(mask, mask, (4, 6))
    with pytest.raises(FileNotFoundError, match="a mask, but"):
        MaskReader().read(tmp_path / "none.png")
    with pytest.raises(ValueError, match="between 0 and 1"):
        MaskReader(threshold=128)
