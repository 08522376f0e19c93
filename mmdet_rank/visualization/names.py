"""Names of categories in figures: any text, shown as it is or, where no font has it, escaped."""

from __future__ import annotations

import functools

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

__all__ = ["show_names"]

# Families with the characters that matplotlib's own font lacks, on one system or another.
_FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Arial Unicode MS",
    "Droid Sans Fallback",
)


def show_names(figure: Figure) -> None:
    r"""Have a figure show all of its texts as they are, right before it is saved.

    Dollar signs do not begin formulas. A text with characters that matplotlib's own font lacks is
    set in an installed font that has them; characters that none has are written as escapes
    (``\u732b``).
    """
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [label.get_text() for label in axis.get_ticklabels()]
            shown = [_escaped(label) for label in labels]
            if shown != labels:  # The texts of ticks are written anew at each drawing.
                axis.set_ticks(axis.get_ticklocs(), labels=shown)
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(_escaped(text.get_text()))
        if families := _families(text.get_text()):
            text.set_fontfamily(["DejaVu Sans", *families])


def _escaped(text: str) -> str:
    """Write characters that no installed font has as escapes."""
    for character in _lacking(text):
        if not any(ord(character) in _characters(family) for family in _installed()):
            escape = character.encode("ascii", "backslashreplace").decode()
            text = text.replace(character, escape)
    return text


def _families(text: str) -> list[str]:
    """Installed fonts that have what matplotlib's own lacks of a text."""
    lacking = _lacking(text)
    return [f for f in _installed() if any(ord(c) in _characters(f) for c in lacking)]


def _lacking(text: str) -> set[str]:
    if text.isascii():
        return set()
    return {c for c in text if not c.isspace() and ord(c) not in _characters(None)}


@functools.cache
def _installed() -> tuple[str, ...]:
    names = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(name for name in _FALLBACKS if name in names)


@functools.cache
def _characters(family: str | None) -> frozenset[int]:
    """The characters that a font has; those of matplotlib's own for None."""
    path = font_manager.findfont("DejaVu Sans" if family is None else family)
    return frozenset(font_manager.get_font(path).get_charmap())
