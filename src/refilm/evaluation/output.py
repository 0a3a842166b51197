"""The files of a result: JSON, the table in Markdown, plots in SVG, and a page with all of them."""

from pathlib import Path

from refilm.errors import UserError
from refilm.evaluation.page import page
from refilm.evaluation.plots import plots_of
from refilm.evaluation.result import FORMAT, Result
from refilm.evaluation.table import notes_on, table_of
from refilm.files import read_json, write_bytes, write_json, write_text

RESULT, TABLE, PAGE, PLOTS = "result.json", "table.md", "index.html", "plots"


def write_result(result: Result, out: Path) -> list[Path]:
    """Write a result into its folder; returns the files. Without matplotlib there are no plots, and the page says so.

    Raises:
        OSError: a file cannot be written.
    """
    files = [out / RESULT, out / TABLE, out / PAGE]
    write_json(files[0], result.to_values())
    write_text(files[1], markdown_of(result))
    try:
        plots, missing = plots_of(result), ""
    except UserError as error:
        plots, missing = {}, str(error)
    for name, plot in plots.items():
        files.append(out / PLOTS / f"{name}.svg")
        files[-1].parent.mkdir(exist_ok=True)
        write_bytes(files[-1], plot)
    write_text(files[2], page(result, out, plots, no_plots=missing))
    return files


def markdown_of(result: Result) -> str:
    """The table of a result with its warnings and absent metrics."""
    lines = [*result.warnings, *notes_on(result)]
    return "\n".join([table_of(result).markdown(), "", *(f"- {line}" for line in lines)]).rstrip() + "\n"


def read_result(path: Path) -> Result:
    """Read a result: its JSON file, or the folder that has it.

    Raises:
        UserError: it is missing, damaged, or of a later version; names the file.
    """
    path = path / RESULT if path.is_dir() else path
    values = read_json(path)
    if isinstance(version := values.get("format"), int) and version > FORMAT:
        raise UserError(f"{path}: has format {version}, this refilm reads up to {FORMAT}; update refilm")
    try:
        return Result.from_values(values)
    except UserError as error:
        raise UserError(f"{path}: not the result of an evaluation: {error}") from error
