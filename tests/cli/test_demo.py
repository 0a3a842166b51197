"""`refilm demo` writes the videos, the images and a page that needs nothing else."""

import re
from html.parser import HTMLParser
from pathlib import Path

from refilm.data import critters
from refilm.media import open_image, open_video
from refilm.pocket.demo import Demo


def test_the_page_shows_what_was_made(refilm, tiny_base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = refilm("demo", "--out", "demo", "--base", tiny_base, "--steps", 1)
    assert result.exit_code == 0, result.output
    assert str(tmp_path / "demo" / "index.html") in result.stdout
    page = Links((tmp_path / "demo" / "index.html").read_text())
    assert page.videos == [
        *(f"video-{n}.mp4" for n in range(1, 7)),
        "video-1.mp4",
        "without-image.mp4",
        "another-image.mp4",
    ]
    for link in page.links:
        assert re.fullmatch(r"[\w-]+\.(mp4|gif|png)", link), "beside the page, and nowhere else"
        path = tmp_path / "demo" / link
        if path.suffix == ".png":
            assert open_image(path).size == (512, 512)
        else:
            assert open_video(path).frames.shape == (17, 256, 256, 3)
    assert {Path(link).suffix for link in page.links} == {".mp4", ".gif", ".png"}
    videos = [(tmp_path / "demo" / name).read_bytes() for name in {*page.videos}]
    assert len({*videos}) == 8  # each a video of its own
    assert all(video.prompt in page.text for video in Demo(Path("demo"), seed=7).videos)


def test_both_critters_are_held_out_and_differ():
    for seed in range(50):
        hero, other = Demo(Path(), seed=seed).subjects
        assert hero.held_out
        assert other.held_out
        assert hero.shape != other.shape
        assert not {hero.color, hero.second} & {other.color, other.second}
        assert hero in critters.subjects("held_out")


class Links(HTMLParser):
    """What a page points to."""

    def __init__(self, html: str):
        super().__init__()
        self.videos: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "video":
            assert {"autoplay", "loop", "muted", "playsinline"} <= given.keys()
            self.videos.append(given["src"] or "")
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data
