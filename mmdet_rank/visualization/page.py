"""One HTML page with its pictures inside: a file that can be opened, kept and sent."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from mmdet_rank.files import written_whole

from .names import show_names

__all__ = ["Page"]

_STYLE = """
body { font: 15px/1.5 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; color: #1c1c1c;
  background: #fff; max-width: 1080px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 20px; margin: 40px 0 8px;
  border-top: 1px solid #ddd; padding-top: 20px; }
.lead { color: #555; margin: 0 0 20px; }
.note { border-left: 4px solid #0072B2; background: #f1f6fa; padding: 8px 14px; margin: 10px 0; }
.note.warning { border-color: #D55E00; background: #fdf3ec; }
.note.quiet { border-color: #bbb; background: #f6f6f6; }
.note b { margin-right: 6px; }
table { border-collapse: collapse; margin: 12px 0; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 9px; text-align: right; border-bottom: 1px solid #e4e4e4; }
th { border-bottom: 2px solid #999; } th:first-child, td:first-child { text-align: left; }
.words th, .words td { text-align: left; }
.wide { overflow-x: auto; }
.row { display: flex; flex-wrap: wrap; gap: 14px; }
figure { margin: 8px 0; flex: 1 1 320px; min-width: 0; } img { max-width: 100%; height: auto; }
figcaption { color: #555; font-size: 13px; }
code { background: #f2f2f2; padding: 1px 4px; border-radius: 3px; font-size: 13px; }
details { margin: 12px 0; } summary { cursor: pointer; }
"""


class Page:
    """Builds a page from top to bottom; every text is escaped.

    Args:
        title: of the page.
        lead: a line below it.

    Example:
        >>> page = Page("Digits", "2,000 images")
        >>> page.heading("Classes")
        >>> page.table(["class", "objects"], [["zero", 120], ["a < b", 3]])
        >>> "<td>a &lt; b</td><td>3</td>" in page.render()
        True
    """

    def __init__(self, title: str, lead: str = "") -> None:
        self.title = title
        self._parts: list[str] = [f"<h1>{html.escape(title)}</h1>"]
        if lead:
            self._parts.append(f'<p class="lead">{_text(lead)}</p>')

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def paragraph(self, text: str) -> None:
        """Add text; what stands between backquotes is shown as code."""
        self._parts.append(f"<p>{_text(text)}</p>")

    def note(self, text: str, label: str = "", kind: str = "") -> None:
        """Add a sentence that stands out.

        Args:
            text: as for `paragraph`.
            label: a word in bold before it.
            kind: ``warning``, ``quiet``, or neither.
        """
        bold = f"<b>{html.escape(label)}</b>" if label else ""
        self._parts.append(f'<div class="note {html.escape(kind)}">{bold}{_text(text)}</div>')

    def table(
        self,
        header: Sequence[str],
        rows: Iterable[Sequence[object]],
        summary: str = "",
        *,
        words: bool = False,
    ) -> None:
        """Add a table.

        Args:
            header: names of the columns.
            rows: what stands in them.
            summary: a line that the table is folded away behind.
            words: whether all columns have words, which begin at the left, and not numbers.
        """
        head = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in header)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
            for row in rows
        )
        kind = ' class="words"' if words else ""
        table = f'<div class="wide"><table{kind}><tr>{head}</tr>{body}</table></div>'
        if summary:
            table = f"<details><summary>{html.escape(summary)}</summary>{table}</details>"
        self._parts.append(table)

    def figures(self, *figures: tuple[Figure, str]) -> None:
        """Add pictures side by side, each with the line below it."""
        shown = "".join(
            f'<figure><img src="data:image/png;base64,{_png(figure)}" '
            f'alt="{html.escape(caption, quote=True)}">'
            f"<figcaption>{_text(caption)}</figcaption></figure>"
            for figure, caption in figures
        )
        self._parts.append(f'<div class="row">{shown}</div>')

    def render(self) -> str:
        """The whole page as HTML."""
        body = "\n".join(self._parts)
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(self.title)}</title><style>{_STYLE}</style></head>\n"
            f"<body>\n{body}\n</body></html>\n"
        )

    def write(self, path: str | Path) -> None:
        """Write the page, whole or not at all."""
        with written_whole(path) as temporary:
            temporary.write_text(self.render(), encoding="utf-8")


def _text(text: str) -> str:
    """Escaped text with what stands between backquotes as code."""
    pieces = html.escape(text, quote=False).split("`")
    if len(pieces) % 2 == 0:
        return html.escape(text, quote=False)
    return "".join(
        f"<code>{piece}</code>" if place % 2 else piece for place, piece in enumerate(pieces)
    )


def _png(figure: Figure) -> str:
    show_names(figure)
    show_names(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
