"""Findings of the check of an annotation file."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ADVICE", "CocoAnnotations"]

# What to do about objects that are left out, by the reason.
ADVICE = {
    "image_id that no image has": "check that images and annotations belong together",
    "category_id that no category has": "add the category, or map the ids",
    "box that is not finite": "write numbers for NaN and infinity",
    "box of negative size": "write [x, y, width, height], not corners",
    "box under one pixel": "write boxes in pixels, not in fractions of the image",
    "box outside of the width and height stated for its image": "state the true width and height",
    "area of 0 or less": "write width x height of the box, or the area of the mask, as area",
    "marked 'ignore'": "remove the mark from objects to train on",
    "segmentation that is not a mask": "write polygons of three points or more, or run lengths",
}


@dataclass
class CocoAnnotations:
    """A COCO annotation file that has been checked.

    Attributes:
        source: name of the file.
        dataset: ``images``, ``annotations`` and ``categories`` (and what else the file has), as
            pycocotools takes them: ids of one type, annotations numbered 1, 2, ..., whole sizes,
            names that are texts, ``iscrowd`` 0 or 1, ``area`` given.
        num_objects: number of objects in the file.
        left_out: number of objects that do not count, by reason. Those without a usable mask are
            still in ``dataset``, marked as crowds; the others are not.
        mended: number of entries that were read in another way than they are written, by what was
            done.
        hints: sentences about the file as a whole.
    """

    source: str
    dataset: dict
    num_objects: int
    left_out: dict[str, int] = field(default_factory=dict)
    mended: dict[str, int] = field(default_factory=dict)
    hints: list[str] = field(default_factory=list)
    first: dict[str, int] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """Everything that is not as it should be, a sentence each; empty when all is well."""
        lines = []
        if self.left_out:
            count = sum(self.left_out.values())
            reasons = "; ".join(
                f"{number} have {reason}"
                if not reason.startswith("marked")
                else f"{number} {reason}"
                for reason, number in self.left_out.items()
            )
            firsts = ", ".join(f"annotation {self.first[reason]}" for reason in self.left_out)
            advice = "; ".join(ADVICE[reason] for reason in self.left_out)
            lines.append(
                f"{count} of {self.num_objects} objects are left out: {reasons} (first: {firsts}); "
                f"{advice}."
            )
        lines += [f"{what}: {number} times." for what, number in self.mended.items()]
        return lines + self.hints

    def message(self) -> str:
        """Return the problems as one text that names the file; empty when there is none."""
        return f"{self.source}: {' '.join(self.problems)}" if self.problems else ""
