"""Names of categories in figures."""

import warnings

from matplotlib.figure import Figure
from matplotlib.text import Text

from mmdet_rank.visualization import names
from mmdet_rank.visualization.names import show_names

ODD = ["$1_$ note", "a^2 $", "猫", "\U0001f408 cat", "naïve", "100 % \\frac"]


def draw(tmp_path):
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    for index, name in enumerate(ODD):
        axes.plot([0, 1], [index, index], label=name)
    axes.set_yticks(range(len(ODD)), ODD)
    axes.legend()
    show_names(figure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of characters that it cannot show
        figure.savefig(tmp_path / "names.png")
    return {text.get_text() for text in figure.findobj(Text)}


def test_names_without_a_font_are_escaped(tmp_path, monkeypatch):
    monkeypatch.setattr(names, "_installed", tuple)
    assert {"$1_$ note", "a^2 $", "\\u732b", "naïve", "100 % \\frac"} <= draw(tmp_path)


def test_names_with_whatever_fonts_there_are(tmp_path):
    shown = draw(tmp_path)
    assert {"$1_$ note", "naïve"} <= shown
    assert shown & {"猫", "\\u732b"}
