"""The picture of detectors beside each other."""

import pytest
from comparison_picture import draw_comparison

ROWS = {
    "ours": [{"AP": 0.5, "oLRP": 0.6}, {"AP": 0.4, "oLRP": 0.7}],
    "stock": [{"AP": 0.25, "oLRP": 0.75}],
}


def test_bars_are_means_and_every_run_is_a_point():
    figure = draw_comparison(ROWS, ["ours"])
    precision, error = figure.axes
    assert [bar.get_width() for bar in precision.patches] == pytest.approx([45, 25])
    assert [bar.get_width() for bar in error.patches] == pytest.approx([65, 75])
    (points,) = precision.lines
    assert points.get_xydata().ravel().tolist() == pytest.approx([50, 0, 40, 0, 25, 1])
    ours, stock = (bar.get_facecolor() for bar in precision.patches)
    assert ours != stock
    assert [label.get_text() for label in precision.get_yticklabels()] == ["ours", "stock"]


@pytest.mark.parametrize("rows", [{}, {"ours": []}])
def test_nothing_to_draw(rows):
    with pytest.raises(ValueError, match="give the results"):
        draw_comparison(rows, [])
