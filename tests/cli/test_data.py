"""`refilm data import` and `refilm data check`: the exit code says whether a data set can be used."""

import csv

import pytest

from refilm.data import read_examples
from refilm.data.checking import require_checked
from refilm.data.critters.files import write_clips


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A CSV of three clips of critters."""
    home = tmp_path_factory.mktemp("critters")
    list(write_clips(home / "set", clips=3, split="train", seed=0, references=1))
    with (home / "set" / "clips.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "text", "references"])
        for example in read_examples(home / "set"):
            names = [path.relative_to(home / "set") for path in example.files]
            rows.writerow([names[0], example.caption, names[1]])
    return home / "set" / "clips.csv"


def test_from_a_table_to_a_data_set_that_can_be_used(refilm, table, tmp_path):
    out = tmp_path / "clips"
    done = refilm("data", "import", table, out, "--columns", "video=path,caption=text")
    assert done.exit_code == 0, done.output
    manifest = out / "manifest.jsonl"
    taken = "read as a table separated by commas"
    assert f"{manifest}: 3 clips of {table}, {taken}; run: refilm data check {manifest}" in done.stdout
    done = refilm("data", "check", manifest, "--workers", "2")
    assert done.exit_code == 0, done.output
    assert "3 clips, all can be used" in done.stdout
    assert len(require_checked(manifest).hashes) == 6
    assert require_checked(manifest).settings.tokens == 24  # of the pocket model, whose tokenizer counted


def test_unusable_clips_set_the_exit_code(refilm, table, tmp_path):
    out = tmp_path / "clips"
    assert refilm("data", "import", table, out, "--columns", "video=path,caption=text").exit_code == 0
    manifest = out / "manifest.jsonl"
    first, *others = manifest.read_text().splitlines()
    long = first.replace('"a critter', '"a critter' + " and yet another critter" * 10)
    long = long.replace("references/000001-1.png", "nowhere.png")
    manifest.write_text("\n".join([long, *others]))
    (out / "videos/000002.mp4").unlink()
    done = refilm(
        "data", "check", manifest, "--workers", "1", "--fps", "16", "--frames", "5", "--keep", out / "good.jsonl"
    )
    assert done.exit_code == 1, done.output
    assert "3 clips, 2 cannot be used" in done.stdout
    for word in ("long caption", "missing", "rate"):
        assert word in done.stdout
    assert f"{out / 'good.jsonl'}: 1 clips; run: refilm data check" in done.stdout
    assert len(read_examples(out / "good.jsonl")) == 1
    assert f"{out / 'manifest.check.html'}: report written" in done.stdout


def test_wrong_usage_has_the_code_of_all_commands(refilm, tmp_path):
    for words in (
        ("check", tmp_path / "nowhere"),
        ("check", tmp_path / "nowhere", "--base", "nothing/here/at/all"),
        ("check", tmp_path / "nowhere", "--size", "wide"),
        ("import", tmp_path / "nowhere", tmp_path / "out"),
    ):
        done = refilm("data", *words)
        assert done.exit_code == 2
        assert done.stderr.startswith("error: ")
