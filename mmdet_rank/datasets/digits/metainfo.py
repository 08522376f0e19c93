"""Class names and colours of the digits data set."""

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

PALETTE = (
    (220, 20, 60),
    (0, 114, 189),
    (119, 172, 48),
    (237, 177, 32),
    (126, 47, 142),
    (77, 190, 238),
    (217, 83, 25),
    (0, 158, 115),
    (240, 98, 146),
    (121, 85, 72),
)

#: What MMDetection's ``CocoDataset(metainfo=...)`` takes.
METAINFO = dict(classes=CLASSES, palette=PALETTE)
