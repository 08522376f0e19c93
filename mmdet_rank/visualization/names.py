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
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        content = text.get_text()
        if content.isascii():
            continue
        if lacking := {c for c in content if not c.isspace() and ord(c) not in _characters(None)}:
            families = [f for f in _installed() if any(ord(c) in _characters(f) for c in lacking)]
            text.set_fontfamily(["DejaVu Sans", *families])
            lacking = {c for c in lacking if not any(ord(c) in _characters(f) for f in families)}
        for character in lacking:
            content = content.replace(
                character, character.encode("ascii", "backslashreplace").decode()
            )
        text.set_text(content)


@functools.cache
def _installed() -> tuple[str, ...]:
    names = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(name for name in _FALLBACKS if name in names)


@functools.cache
def _characters(family: str | None) -> frozenset[int]:
    """The characters that a font has; those of matplotlib's own for None."""
    path = font_manager.findfont("DejaVu Sans" if family is None else family)
    return frozenset(font_manager.get_font(path).get_charmap())
