"""The recipe for Ray Data in the docs: what it maps over the rows makes them, without Ray."""

import json

from refilm.jobs import Records, read_jobs

from ..docs.pages import blocks


def test_the_class_of_the_page_makes_rows(tiny_base, tmp_path):
    (block,) = (block for block in blocks("howto/batch.md") if block.title == "ray_videos.py")
    names: dict[str, object] = {"__name__": "ray_videos"}
    exec(compile(block.code, block.title, "exec"), names)
    names["BASE"] = str(tiny_base)
    rows = [{"prompt": "a critter waits", "steps": 1, "frames": 1}, {"prompt": "a critter waits", "steps": "many"}]
    (path := tmp_path / "jobs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    worker = names["MakeVideo"](str(path), str(tmp_path / "out"))
    first, second = (worker(row) for row in ({"id": 0}, {"id": 1}))
    assert first == {"output": "0001-a-critter-waits.mp4", "status": "done", "error": ""}
    assert second["status"] == "failed"
    assert "jobs.jsonl:2: steps: " in second["error"]
    assert (tmp_path / "out" / first["output"]).is_file()
    report = Records(tmp_path / "out", {"base": str(tiny_base)}).write_report(read_jobs(path))
    assert [record.status for record in report] == ["done", "failed"]
