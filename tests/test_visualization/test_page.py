"""The HTML page: whole, escaped, with its pictures inside."""

import base64
import re
from html.parser import HTMLParser

from matplotlib.figure import Figure

from mmdet_rank.visualization.page import Page


class Balance(HTMLParser):
    """Every element that is opened is closed, in order."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page(tmp_path):
    page = Page("Tom & <Jerry>", "2 images, `a<b`")
    page.heading("Classes")
    page.paragraph("a lone ` stays")
    page.note("Use `RankSortLoss`.", label="class", kind="warning")
    page.table(["class", "objects"], [["<script>", 3]], summary="all & more")
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1])
    page.figures((figure, 'a "picture"'), (figure, "another"))
    page.write(tmp_path / "deep" / "page.html")
    text = (tmp_path / "deep" / "page.html").read_text(encoding="utf-8")
    balance = Balance()
    balance.feed(text)
    assert balance.open == []
    assert "<script>" not in text
    assert "Tom &amp; &lt;Jerry&gt;" in text
    assert "<code>a&lt;b</code>" in text
    assert "<code>RankSortLoss</code>" in text
    assert "<p>a lone ` stays</p>" in text
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert len(pictures) == 2
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    assert "http" not in text  # nothing is fetched when the page is opened
