"""The report as an HTML page: counts, then clips with thumbnails, in one file that needs no network."""

from base64 import b64encode
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from refilm.data.checking.file_list import FileList, Inspections, images_of
from refilm.data.checking.findings import WARNINGS, Report

ROWS = 500


def page(name: str, report: Report, file_list: FileList, inspections: Inspections) -> str:
    """The page as HTML. Captions and names are escaped.

    Args:
        name: name of the manifest or folder.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    order = sorted(range(len(report.clips)), key=lambda number: _rank(report, number))[:ROWS]
    return environment.get_template("page.html").render(
        name=name,
        report=report,
        unusable=sum(not clip.usable for clip in report.clips),
        kinds=[(kind, "warning" if kind in WARNINGS else "error", report.count(kind)) for kind in report.kinds],
        rows=[(report.clips[number], _thumbnails(number, file_list, inspections)) for number in order],
    )


def _rank(report: Report, number: int) -> int:
    clip = report.clips[number]
    return 2 - bool(clip.findings) - (not clip.usable)


def _thumbnails(number: int, file_list: FileList, inspections: Inspections) -> list[str]:
    example = file_list.examples.get(number)
    files = images_of(example) if example else []
    seen = [inspections.clips.get(number), *(inspections.images.get(file) for file in files)]
    return [b64encode(one.thumbnail).decode() for one in seen if one is not None and one.thumbnail]
