"""A server with the API of OpenAI's videos, which misbehaves in the way that the first part of the path names.

Usage: videos_server.py VIDEO. Writes its port to stdout. GET /MODE/log returns what it was asked in this mode.
"""

import json
import sys
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VIDEO = Path(sys.argv[1]).read_bytes()
log: dict[str, list[dict]] = defaultdict(list)
polls: dict[str, int] = defaultdict(int)
HTML = b"<html><body>Welcome to our proxy</body></html>"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.mode = self.path.split("/")[1]
        log[self.mode].append(
            {
                "kind": self.headers["content-type"],
                "body": body.decode("latin-1"),
                "token": self.headers["authorization"],
            }
        )
        getattr(self, f"create_{self.mode.replace('-', '_')}", self.create)()

    def do_GET(self):
        self.mode = self.path.split("/")[1]
        if self.path.endswith("/log"):
            return self.json(log[self.mode])
        if self.path.endswith("/content"):
            return getattr(self, f"content_{self.mode.replace('-', '_')}", self.content)()
        return getattr(self, f"poll_{self.mode.replace('-', '_')}", self.poll)()

    def answer(self, body, kind="application/json", status=200, **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def json(self, value, status=200, **headers):
        self.answer(json.dumps(value).encode(), status=status, **headers)

    # a server as it should be

    def create(self):
        self.json({"id": f"video_{len(log[self.mode])}", "status": "queued"})

    def poll(self):
        polls[self.path] += 1
        status = "completed" if polls[self.path] > 1 else "in_progress"
        self.json({"id": self.path.rsplit("/", 1)[1], "status": status}, openai_poll_after_ms="10")

    def content(self):
        self.answer(VIDEO, "video/mp4")

    # creating goes wrong

    def create_hang(self):
        time.sleep(60)

    def create_garbage(self):
        self.wfile.write(b"\x00\xff\x1b[31mgarbage\r\n\r\n")

    def create_closed(self):
        pass

    def create_error(self):
        self.json({"error": {"message": f"no \x1b[31mmemory for {self.headers['authorization']}"}}, status=500)

    def create_html(self):
        self.answer(HTML, "text/html")

    def create_deep(self):
        self.answer(b"[" * 100_000)

    def create_endless(self):
        self.endless()

    def create_bad_id(self):
        self.json({"id": "../../admin", "status": "queued"})

    def create_token(self):
        self.json({"error": {"message": "who are you?"}}, status=401)

    def create_nothing(self):
        self.answer(HTML, "text/html", status=404)

    def create_busy(self):
        if len(log["busy"]) < 3:
            self.json({"error": {"message": "busy"}}, status=429, Retry_After="0")
        else:
            self.create()

    def create_drip_headers(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        self.drip()

    # waiting goes wrong

    def poll_failed(self):
        self.json({"status": "failed", "error": {"code": "moderation", "message": "not\nallowed"}})

    def poll_stuck(self):
        self.json({"status": "queued"}, openai_poll_after_ms="nan")

    def poll_odd(self):
        self.json({"status": ["completed"]})

    def poll_broken_poll(self):
        pass

    def poll_restarted(self):
        polls["restarted"] += 1
        if polls["restarted"] > 1:
            self.poll()

    # the content goes wrong

    def content_broken_content(self):
        self.json({"error": {"message": "no disk"}}, status=500)

    def content_restarted_content(self):
        polls["restarted-content"] += 1
        self.answer(VIDEO if polls["restarted-content"] > 1 else VIDEO[:99], Content_Length=str(len(VIDEO)))

    def content_signed(self):
        if self.path.endswith("?key=1&name=%C3%BC/content"):
            return self.content()
        return self.answer(b"", status=302, Location="/signed/videos/v?key=1&name=%C3%BC/content")

    def content_latin(self):
        if "%FC" in self.path:
            return self.content()
        return self.answer(b"", status=302, Location="/latin/\xfcber alles/content")

    def content_page(self):
        self.answer(HTML, "video/mp4")

    def content_empty(self):
        self.answer(b"", "video/mp4")

    def content_short(self):
        self.answer(VIDEO[: len(VIDEO) // 2], "video/mp4", Content_Length=str(len(VIDEO)))

    def content_cut(self):
        self.answer(VIDEO[: len(VIDEO) // 2], "video/mp4")

    def content_gone(self):
        self.json({"error": {"message": "expired"}}, status=410)

    def content_endless_video(self):
        self.endless()

    def content_drip(self):
        self.send_response(200)
        self.end_headers()
        self.drip()

    def content_moved(self):
        if "again" in self.path:
            return self.content()
        return self.answer(b"", status=307, Location=f"{self.path.removesuffix('content')}again/content")

    def content_circle(self):
        self.answer(b"", status=302, Location=self.path)

    def content_away(self):
        self.answer(b"", status=302, Location="file:///etc/passwd")

    def drip(self):
        try:
            for _ in range(600):
                self.wfile.write(b"x")
                time.sleep(0.1)
        except OSError:
            pass

    def endless(self):
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x" * 65536)
        except OSError:
            pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
sys.stdout.write(f"{server.server_port}\n")
sys.stdout.flush()
server.serve_forever()
