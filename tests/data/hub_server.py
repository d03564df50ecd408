"""A hub on loopback: the listing API, redirects to a store that speaks ranges, and faults on order."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

DATASET = "DeeptraceReward/RewardData"


@dataclass
class Hub:
    """Files and faults of one server.

    `cut_after` lists, for each coming download of a path, after how many bytes the connection is cut; `statuses` the
    errors to answer before anything else; `bytes_per_s` slows bodies down.
    """

    files: dict[str, bytes]
    commit: str = "c0ffee0000000000000000000000000000000001"
    cut_after: dict[str, list[int]] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    bytes_per_s: float | None = None
    ignore_ranges: bool = False
    served: list[tuple[str, int, int]] = field(default_factory=list)  # path, first byte asked for, bytes sent
    lies: dict[str, bytes] = field(default_factory=dict)  # what the store sends instead
    page_size: int = 2
    url: str = ""
    moved_to: str = ""  # what "main" stands for now, if no longer `commit`

    def entries(self) -> list[dict]:
        listed = []
        for path, content in self.files.items():
            entry: dict = {"type": "file", "path": path, "size": len(content)}
            if path.endswith((".zip",)) or ".zip." in path:
                entry["oid"] = "0" * 40
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
            else:
                entry["oid"] = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
            listed.append(entry)
        return listed


def serve(hub: Hub) -> ThreadingHTTPServer:
    """Start `hub` on a free port of loopback; shut it down with `.shutdown()`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            if hub.statuses:
                self._send(hub.statuses.pop(0), b"{}", {"Retry-After": "0"})
                return
            path = unquote(urlsplit(self.path).path)
            if path == f"/api/datasets/{DATASET}/revision/main":
                self._send(200, json.dumps({"id": DATASET, "sha": hub.moved_to or hub.commit}).encode())
            elif path == f"/api/datasets/{DATASET}/revision/{hub.commit}":
                self._send(200, json.dumps({"id": DATASET, "sha": hub.commit}).encode())
            elif path == f"/api/datasets/{DATASET}/tree/{hub.commit}":
                self._page()
            elif path.startswith(f"/datasets/{DATASET}/resolve/{hub.commit}/"):
                name = path.split(f"/resolve/{hub.commit}/", 1)[1]
                self._send(302, b"", {"Location": f"/store/{name}?signature=1"})
            elif path.startswith("/store/"):
                self._store(path.removeprefix("/store/"))
            else:
                self._send(404, b"{}")

        def _page(self) -> None:
            query = urlsplit(self.path).query
            at = int(query.rsplit("cursor=", 1)[1]) if "cursor=" in query else 0
            entries, headers = hub.entries(), {}
            if at + hub.page_size < len(entries):
                base = urlsplit(self.path).path
                headers["Link"] = f'<{hub.url}{base}?recursive=true&cursor={at + hub.page_size}>; rel="next"'
            self._send(200, json.dumps(entries[at : at + hub.page_size]).encode(), headers)

        def _store(self, name: str) -> None:
            content = hub.lies.get(name, hub.files.get(name))
            if content is None:
                self._send(404, b"")
                return
            first, status = 0, 200
            if (asked := self.headers.get("Range")) and not hub.ignore_ranges:
                first, status = int(asked.removeprefix("bytes=").rstrip("-")), 206
            if first >= len(content) and status == 206:
                self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
            body = content[first:]
            cuts = hub.cut_after.get(name) or []
            limit = cuts.pop(0) if cuts else len(body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            sent = 0
            try:
                while sent < min(limit, len(body)):
                    step = body[sent : min(sent + 4096, limit)]
                    self.wfile.write(step)
                    sent += len(step)
                    if hub.bytes_per_s:
                        time.sleep(len(step) / hub.bytes_per_s)
            except OSError:
                pass
            hub.served.append((name, first, sent))
            if sent < len(body):
                self.close_connection = True

        def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server
