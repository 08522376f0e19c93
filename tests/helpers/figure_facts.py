"""Contents of a figure, as data: a picture by itself cannot be compared between machines.

    python tests/helpers/figure_facts.py PICTURES    # after a wanted change: look, then commit

writes ``tests/data/figures.json`` anew, and the figures as pictures to look at.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

FACTS = Path(__file__).parents[1] / "data" / "figures.json"
_MOST = 12


def numbers(values) -> list:
    """At most twelve of the numbers, from the first to the last, with six digits."""
    values = np.ravel(np.asarray(values, dtype=float))
    if values.size > _MOST:
        values = values[np.linspace(0, values.size - 1, _MOST).round().astype(int)]
    return [None if np.isnan(value) else float(f"{value:.6g}") for value in values]


def texts_of(axes: Axes, legend: Legend | None) -> list[Text]:
    """The texts whose size somebody may have chosen."""
    ticks = [*axes.get_xticklabels()[:1], *axes.get_yticklabels()[:1]]
    texts = [axes.title, axes.xaxis.label, axes.yaxis.label, *ticks, *axes.texts]
    return texts if legend is None else [*texts, *legend.get_texts()]


def axes_facts(axes: Axes) -> dict:
    """Contents of one part of a figure."""
    legend = axes.get_legend()
    return {
        "labels": [axes.get_title(), axes.get_title("left"), axes.get_xlabel(), axes.get_ylabel()],
        "limits": numbers([*axes.get_xlim(), *axes.get_ylim()]),
        "scales": [axes.get_xscale(), axes.get_yscale(), str(axes.get_aspect())],
        "ticks": [[t.get_text() for t in axis.get_ticklabels()][:_MOST] for axis in
                  (axes.xaxis, axes.yaxis)],
        "turned": sorted({t.get_rotation() for t in axes.get_xticklabels()}),
        "spines": sorted(name for name, spine in axes.spines.items() if spine.get_visible()),
        "grid": [any(line.get_visible() for line in axis.get_gridlines()) for axis in
                 (axes.xaxis, axes.yaxis)],
        "lines": [
            [line.get_label(), numbers(line.get_xdata()), numbers(line.get_ydata()),
             to_hex(line.get_color()), line.get_marker(), line.get_linestyle(),
             line.get_drawstyle(), line.get_linewidth(), line.get_markersize(),
             line.get_markeredgewidth(), line.get_alpha(), line.get_zorder()]
            for line in axes.lines
        ],
        "patches": [
            [type(patch).__name__, numbers(patch.get_path().transformed(
                patch.get_patch_transform()).vertices), to_hex(patch.get_facecolor()),
             to_hex(patch.get_edgecolor()), patch.get_linestyle(), patch.get_fill(),
             patch.get_alpha()]
            for patch in axes.patches
        ],
        "texts": [[t.get_text(), numbers(t.get_position()), t.get_ha(), t.get_va(),
                   to_hex(t.get_color())] for t in axes.texts],
        "images": [[list(image.get_array().shape), numbers(image.get_extent()),
                    numbers(image.get_array()), numbers([image.get_clim()[0] or 0])]
                   for image in axes.images],
        "legend": [] if legend is None else [
            legend.get_title().get_text(), *(t.get_text() for t in legend.get_texts()),
            legend.get_frame_on()],
        "fonts": numbers([t.get_fontsize() for t in texts_of(axes, legend)]),
    }  # fmt: skip


def figure_facts(figure: Figure) -> dict:
    """Contents of a figure."""
    return {
        "size": numbers(figure.get_size_inches()),
        "heading": [figure.get_suptitle(), figure.get_supxlabel()],
        "legends": [[t.get_text() for t in legend.get_texts()] for legend in figure.legends],
        "axes": [axes_facts(axes) for axes in figure.axes],
    }


def main() -> None:
    """Write what the figures show, and the figures."""
    from figures_drawn import draw_all

    pictures = Path(sys.argv[1])
    pictures.mkdir(parents=True, exist_ok=True)
    facts = {}
    for name, figure in draw_all().items():
        facts[name] = figure_facts(figure)
        figure.savefig(pictures / f"{name}.png", dpi=60)
    FACTS.write_text(
        json.dumps(facts, indent=None, ensure_ascii=False).replace('}, "', '},\n"') + "\n"
    )


if __name__ == "__main__":
    main()
