"""Hub ids, and the progress of downloads."""

from pathlib import Path

import pytest

from refilm.hub import fetched, is_hub_id, listening


def test_a_download_tells_its_bytes_and_draws_nothing(tmp_path, monkeypatch, capsys):
    def download(repository, *, allow_patterns, tqdm_class):
        files, size = tqdm_class(total=2), tqdm_class(unit="B", unit_scale=True, total=100)
        for count in (60, 40):
            size.update(count)
            files.update(1)
        files.close()
        size.close()
        return tmp_path

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    heard = []
    with listening(lambda *reported: heard.append(reported)):
        assert fetched("me/mine", ["*"]) == tmp_path
    assert fetched("me/mine", ["*"]) == tmp_path  # nobody listens any more
    assert heard == [(60, 100), (100, 100)]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("source", "is_one"),
    [
        ("me/mine", True),
        (Path("me/mine"), True),
        ("mine", False),
        ("./me/mine", False),
        ("a/b/c", False),
        ("/a", False),
    ],
)
def test_what_is_a_hub_id(source, is_one, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_hub_id(source) == is_one
    Path("me/mine").mkdir(parents=True)
    assert not is_hub_id(source)  # what is here is meant
