"""Image files: which there are, and their size as OpenCV shows them."""

from collections import Counter

import cv2
import labelled_data
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from mmdet_rank.annotations.conversion import read_data
from mmdet_rank.annotations.image_files import check_image_files
from mmdet_rank.annotations.pictures import common_root, list_files, open_picture

ORIENTATION = 0x0112
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    'syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    'tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


def save(file, orientation, size=(48, 64)):
    image = Image.fromarray(np.arange(size[0] * size[1], dtype=np.uint8).reshape(size[::-1]))
    exif = image.getexif()
    exif[ORIENTATION] = orientation
    image.save(file, exif=exif)
    return file


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_sizes_are_those_that_opencv_shows(tmp_path, suffix, orientation):
    file = save(tmp_path / f"a{suffix}", orientation)
    picture = open_picture(file, Counter())
    # As MMCV loads it.
    shown = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)
    assert (picture.height, picture.width) == shown.shape[:2]


def save_with_xmp(file, size, **kwargs):
    """Save a picture that only its XMP data turns by a quarter."""
    image = Image.new("RGB", size)
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP)
    means = {".png": {"pnginfo": text}, ".tif": {"tiffinfo": {700: XMP.encode()}}}
    image.save(file, **means.get(file.suffix, {"xmp": XMP.encode()}), **kwargs)
    with Image.open(file) as saved:
        assert saved.getexif().get(ORIENTATION) == 6
    return file


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_an_orientation_in_xmp_alone_turns_nothing(tmp_path, suffix):
    file = save_with_xmp(tmp_path / f"a{suffix}", (100, 80))
    assert cv2.imread(str(file)).shape == (80, 100, 3)
    picture = open_picture(file, Counter())
    assert (picture.width, picture.height) == (100, 80)
    images = [{"file_name": file.name, "width": 80, "height": 100}]
    assert check_image_files(images, tmp_path).other_size == [(0, (80, 100), (100, 80))]


def test_boxes_of_a_picture_with_xmp_stay_as_they_are(tmp_path):
    root = tmp_path / "data"
    (root / "images/train").mkdir(parents=True)
    (root / "labels/train").mkdir(parents=True)
    save_with_xmp(root / "images/train/a.jpg", (100, 80))
    (root / "labels/train/a.txt").write_text("0 0.5 0.25 0.4 0.2\n")
    (root / "data.yaml").write_text("names: [ring]\ntrain: images/train\nval: images/train\n")
    ((picture,),) = read_data(root).splits.values()
    assert (picture.width, picture.height) == (100, 80)
    assert picture.objects[0].box == pytest.approx((30, 12, 40, 16))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_broken_exif_data_turns_nothing(tmp_path, suffix):
    file = tmp_path / f"a{suffix}"
    Image.new("RGB", (100, 80)).save(file, exif=b"Exif\0\0" + b"no tags of TIFF")
    left_out = Counter()
    picture = open_picture(file, left_out)
    assert (picture.width, picture.height) == (100, 80) == cv2.imread(str(file)).shape[1::-1]
    assert not left_out


@pytest.mark.parametrize(
    ("dtype", "kwargs", "loaded"),
    [
        (np.uint8, {}, True),
        (np.uint8, {"compression": "tiff_lzw"}, True),
        (np.uint16, {"compression": "tiff_adobe_deflate"}, True),
        (np.float32, {}, False),
        (np.int32, {}, False),
    ],
)
def test_tiff_files_that_opencv_does_not_load_count_as_unreadable(tmp_path, dtype, kwargs, loaded):
    file = tmp_path / "a.tif"
    Image.fromarray(np.full((40, 50), 100, dtype)).save(file, **kwargs)
    # As MMCV loads it.
    shown = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)
    left_out = Counter()
    picture = open_picture(file, left_out)
    assert (picture is not None, shown is not None) == (loaded, loaded)
    assert left_out == ({} if loaded else {"pictures that cannot be read": 1})


def test_formats_beside_those_of_pictures_are_left_to_opencv(tmp_path):
    """A name may end in .jpg, and the file be of any other kind."""
    for kind, size in (("PPM", (50, 40)), ("TGA", None), ("ICO", None)):
        file = tmp_path / f"{kind}.jpg"
        Image.new("RGB", (50, 40)).save(file, kind)
        assert (cv2.imread(str(file)) is None) == (size is None)
        picture = open_picture(file, Counter())
        assert (picture and (picture.width, picture.height)) == size


def test_only_uncommon_pictures_are_decoded(tmp_path, monkeypatch):
    files = [tmp_path / f"a{suffix}" for suffix in (".jpg", ".png", ".bmp", ".webp", ".tif")]
    for file in files:
        Image.new("RGB", (50, 40)).save(file)
    monkeypatch.setattr(cv2, "imdecode", lambda *args: pytest.fail("it was decoded"))
    assert [open_picture(file, Counter()).deep for file in files] == [False] * 5


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("most", "dark"), [(2000, True), (60000, False)])
def test_dark_pictures_of_16_bits_have_any_number_of_channels(
    tmp_path, suffix, channels, most, dark
):
    root = tmp_path / "data"
    (root / "images/train").mkdir(parents=True)
    (root / "labels/train").mkdir(parents=True)
    pixels = np.full((40, 50, channels), most, np.uint16)
    pixels[..., 3:] = 65535  # alpha
    cv2.imwrite(str(root / f"images/train/a{suffix}"), pixels)
    cv2.imwrite(str(root / "images/train/b.png"), np.zeros((40, 50, 3), np.uint8))
    for name in "ab":
        (root / f"labels/train/{name}.txt").write_text("0 0.5 0.5 0.4 0.2\n")
    (root / "data.yaml").write_text("names: [ring]\ntrain: images/train\n")
    data = read_data(root)
    deep = {picture.file.stem: picture.deep for picture in data.splits["train"]}
    assert deep == {"a": True, "b": False}
    told = [note for note in data.notes if note.startswith("1 of 1 pictures of 16 bits")]
    assert len(told) == dark
    assert (cv2.imread(str(root / f"images/train/a{suffix}")).max() < 16) == dark


def test_a_picture_of_more_pixels_than_pillow_allows(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    file = save(tmp_path / "a.png", 1)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(file)
    picture = open_picture(file, Counter())
    assert (picture.width, picture.height) == (48, 64)
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_annotations_of_the_size_before_the_turn_are_left_out(tmp_path):
    root = labelled_data.write_voc(tmp_path / "data")
    width, height = labelled_data.SIZES["a"]
    for name, size in (("a", (width, height)), ("c", (9, 9)), ("e", (height, width))):
        text = labelled_data.voc_xml(name, [("ring", 2, 2, 30, 30)], size=size)
        (root / "Annotations" / f"{name}.xml").write_text(text)
    # Stored as stated, and shown turned; e's annotation states what is shown.
    save(root / "JPEGImages/a.jpg", 6, (width, height))
    save(root / "JPEGImages/e.jpg", 6, (width, height))
    data = read_data(root)
    assert [p.file.stem for p in data.splits["train"]] == ["e", "c", "b"]
    (turned,) = (reason for reason in data.left_out if "turns" in reason)
    assert data.left_out[turned] == 1
    other = "pictures of another size than their annotation states (theirs counts)"
    assert data.left_out[other] == 1


def test_linked_folders_are_entered_once(tmp_path):
    root = tmp_path / "data"
    labelled_data.write_pictures(tmp_path / "disk", ["a", "b"])
    labelled_data.write_pictures(root / "images", ["c"])
    (root / ".hidden").mkdir()
    labelled_data.write_pictures(root / ".hidden", ["d"])
    (root / "linked").symlink_to(tmp_path / "disk")
    (root / "again").symlink_to(root / "images")
    (root / "images" / "up").symlink_to(root)
    (root / "linked once more").symlink_to(tmp_path / "disk")
    found = [file.relative_to(root).as_posix() for file in list_files(root)]
    assert found == ["images/c.jpg", "linked/a.jpg", "linked/b.jpg"]


def test_a_linked_folder_of_pictures_is_a_part_of_the_data(tmp_path):
    root = labelled_data.write_voc(tmp_path / "data")
    (root / "JPEGImages").rename(tmp_path / "disk")
    (root / "JPEGImages").symlink_to(tmp_path / "disk")
    data = read_data(root)
    assert {split: len(found) for split, found in data.splits.items()} == {"train": 4, "val": 1}
    assert data.root == root


def test_the_folder_of_all_pictures(tmp_path):
    files = [tmp_path / "a/b/x.jpg", tmp_path / "a/c/y.jpg"]
    assert common_root(tmp_path / "a/b", files) == tmp_path / "a"
    assert common_root(tmp_path, files) == tmp_path


def test_names_that_are_not_utf_8_are_refused(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data")
    picture = root / "images/train/a.jpg"
    try:
        picture.rename(picture.with_name("caf\udce9.jpg"))
    except OSError:
        pytest.skip("the file system takes UTF-8 alone")
    with pytest.raises(ValueError, match=r"names of files in UTF-8, but got .*caf\\udce9.jpg"):
        read_data(root)
