"""Files and folders are written atomically, also with kills, full disks and invalid text."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from refilm.files import (
    atomic_file,
    atomic_folder,
    describe,
    link_or_copy,
    locked,
    read_json,
    read_text,
    remove_abandoned,
    require_empty,
    require_writable,
    write_json,
    write_text,
)

KILLED = """
import os, signal, sys
from pathlib import Path
from types import SimpleNamespace
from refilm.files import atomic_file, atomic_folder

target, kind = Path(sys.argv[1]), sys.argv[2]
with {"file": atomic_file, "folder": atomic_folder}[kind](target) as temporary:
    (temporary if kind == "file" else temporary / "inside").write_text("half")
    print("written", flush=True)
    sys.stdin.read() if len(sys.argv) > 3 else os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("write", ["file", "folder"])
def test_next_write_removes_what_killed_processes_left(tmp_path, write):
    target = tmp_path / "out.mp4"
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", KILLED, target, write], stdout=subprocess.PIPE, check=False)
        assert killed.returncode == -signal.SIGKILL
        assert killed.stdout == b"written\n"
    assert not target.exists()
    assert len(list(tmp_path.iterdir())) == 1, "the second write should remove what the first one left"
    write_text(target, "whole") if write == "file" else _folder(target)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_what_another_process_is_writing_stays(tmp_path):
    target = tmp_path / "out.txt"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, target, "file", "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdout.readline()
        write_text(target, "mine")
        remove_abandoned(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2, "the workplace of a living process was removed"
        writer.stdin.close()
    assert writer.returncode == 0
    assert target.read_text() == "half", "who ends last writes last"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_an_error_leaves_the_old_file_and_folder(tmp_path):
    file, folder = tmp_path / "a.txt", tmp_path / "a"
    write_text(file, "old")
    _folder(folder)
    with pytest.raises(ZeroDivisionError), atomic_file(file) as temporary:
        temporary.write_text(f"half {1 / 0}")
    with pytest.raises(ZeroDivisionError), atomic_folder(folder, "inside") as temporary:
        (temporary / "inside").write_text(f"half {1 / 0}")
    assert file.read_text() == "old"
    assert (folder / "inside").read_text() == "whole"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.txt"]


def test_everything_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    happened: list[str] = []
    fsync, rename, replace = os.fsync, os.rename, os.replace

    def synced(descriptor):
        happened.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        fsync(descriptor)

    def reported(name, real):
        def move(source, target):
            happened.append(f"{name} {Path(target).name}")
            real(source, target)

        return move

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", reported("rename", rename))
    monkeypatch.setattr(os, "replace", reported("replace", replace))
    with atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert happened == ["sync a.txt", "replace a.txt", f"sync {tmp_path.name}"]
    happened.clear()
    with atomic_folder(tmp_path / "b") as temporary:
        (temporary / "inside").write_text("whole")
    assert happened == ["sync inside", "sync new", "rename b", f"sync {tmp_path.name}"]


def test_a_folder_keeps_files_that_are_not_its_own(tmp_path):
    folder = tmp_path / "adapter"
    _folder(folder)
    (folder / "notes.txt").write_text("mine")
    with atomic_folder(folder, "inside*") as temporary:
        (temporary / "inside2").write_text("whole")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"inside2": "whole", "notes.txt": "mine"}


def test_permissions(tmp_path):
    target, source = tmp_path / "a", tmp_path / "source"
    source.write_text("x")
    source.chmod(0o600)
    with atomic_file(target) as temporary:
        temporary.touch(0o600)
    assert target.stat().st_mode & 0o777 == 0o666 & ~_umask(), "a new file is as readable as its folder says"
    target.chmod(0o640)
    write_text(target, "again")
    assert target.stat().st_mode & 0o777 == 0o640, "a file that is replaced keeps its permissions"
    with atomic_file(tmp_path / "linked") as temporary:
        link_or_copy(source, temporary)
    assert source.stat().st_mode & 0o777 == 0o600, "a hard link must not open the file it was made from"


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_names_the_file(tmp_path):
    target = tmp_path / "a.txt"
    with pytest.raises(OSError, match="No space") as caught, atomic_file(target), open("/dev/full", "wb") as full:
        full.write(b"x" * 100_000)
    assert describe(caught.value) == f"{target}: the disk is full; free some space, then run this again"


def test_a_missing_file_in_a_workplace_is_reported_by_the_users_name(tmp_path):
    target = tmp_path / "a.txt"
    with pytest.raises(FileNotFoundError) as caught, atomic_file(target):
        pass
    assert describe(caught.value) == f"{target}: no such file or folder"


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EIO])
def test_errors_of_the_system_name_file_and_reason(code):
    line = describe(OSError(code, os.strerror(code), "d/a.txt"))
    assert line.startswith("d/a.txt: ")
    assert "Errno" not in line


def test_text_is_utf8_on_any_machine(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "café 狐 🦊\n")
    assert path.read_bytes() == "café 狐 🦊\n".encode()
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_text(path) == "café 狐 🦊\n"
    path.write_bytes("a".encode("utf-16"))
    with pytest.raises(ValueError, match=r"a\.txt: not UTF-8 text"):
        read_text(path)
    with pytest.raises(ValueError, match=r"a\.txt: '\\udce9' is not a valid character"):
        write_text(path, "caf\udce9")


def test_json(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"prompt": "a 🦊"})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_json(path) == {"prompt": "a 🦊"}
    for wrong in ("[1]", "{", '{"a":' * 100_000, "9" * 5000):
        path.write_text(wrong)
        with pytest.raises(ValueError, match=r"a\.json: (not JSON|must contain a JSON object)"):
            read_json(path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": float("nan")})


def test_places_that_are_taken(tmp_path):
    (tmp_path / "file").touch()
    _folder(tmp_path / "full")
    (tmp_path / "empty").mkdir()
    require_empty(tmp_path / "empty")
    require_empty(tmp_path / "new")
    with pytest.raises(ValueError, match="is not empty; choose an empty or new folder"):
        require_empty(tmp_path / "full")
    with pytest.raises(ValueError, match="is a file"):
        require_empty(tmp_path / "file")
    with pytest.raises(ValueError, match="is a file"), atomic_folder(tmp_path / "file"):
        pass
    with pytest.raises(ValueError, match="is a folder"), atomic_file(tmp_path / "full"):
        pass
    with pytest.raises(ValueError, match="is not a regular file"), atomic_file(Path("/dev/null")):
        pass


def test_a_lock_is_held_by_one_process_and_given_up_by_a_killed_one(tmp_path):
    path = tmp_path / "run.lock"
    hold = (
        "import sys; from pathlib import Path; from refilm.files import locked\n"
        "with locked(Path(sys.argv[1]), 'busy'): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", hold, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with (
            pytest.raises(ValueError, match="another process trains here"),
            locked(path, "another process trains here"),
        ):
            pass
        holder.kill()
    with locked(path, "another process trains here"):
        pass


def test_a_folder_that_nothing_can_be_written_to_is_refused_before(tmp_path, monkeypatch):
    require_writable(tmp_path / "new" / "deep")
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "deep"):
        with pytest.raises(ValueError, match="is a file; choose a folder"):
            require_writable(place)
    usage, flags = shutil.disk_usage(tmp_path), os.statvfs(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=0))
    with pytest.raises(ValueError, match="new: the disk is full"):
        require_writable(tmp_path / "new")
    monkeypatch.setattr(os, "statvfs", lambda place: SimpleNamespace(f_flag=flags.f_flag | os.ST_RDONLY))
    with pytest.raises(ValueError, match="new: the disk is read-only"):
        require_writable(tmp_path / "new")


def test_a_folder_without_permission_is_refused_before(tmp_path):
    """Root can write everywhere, so the test runs as the user nobody."""
    as_nobody = ["unshare", "--user"] if os.geteuid() == 0 else []
    if as_nobody and subprocess.run([*as_nobody, "true"], check=False).returncode:
        pytest.skip("this system lets nobody give up root's powers")
    code = "import sys; from pathlib import Path; from refilm.files import require_writable\n"
    code += "require_writable(Path(sys.argv[1]))"
    tmp_path.chmod(0o555)
    command = [*as_nobody, sys.executable, "-c", code, tmp_path / "new"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    tmp_path.chmod(0o755)
    assert f"UserError: {tmp_path / 'new'}: {tmp_path}: permission denied; change its permissions" in done.stderr


def _folder(path: Path) -> None:
    with atomic_folder(path) as temporary:
        (temporary / "inside").write_text("whole")


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
