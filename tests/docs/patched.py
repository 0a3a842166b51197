"""The examples of the how-to pages; `test_howto.py` runs this file in a copy of the repository that has their edits."""

from .pages import DOCS, Session, edits_source


def test_the_examples_run(fox, tmp_path, monkeypatch, refilm):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fox.png").write_bytes(fox.read_bytes())
    session = Session(refilm)
    for page in sorted(DOCS.rglob("*.md")):
        if edits_source(name := str(page.relative_to(DOCS))):
            session.run(name)
