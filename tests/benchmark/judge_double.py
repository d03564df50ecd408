"""A chat-completions server on loopback that answers, fails and hangs as the prompt asks it to."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Judge:
    """What the server does with a prediction: `moods` maps a word in it to a list of answers, the last one repeated.

    An answer is a text, or (status, body), or "HANG", "DRIP", "CUT", or a function of the request that gives one.
    """

    moods: dict[str, list[Any]] = field(default_factory=dict)
    default: Any = "1"
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    most_at_once: int = 0
    url: str = ""

    def prompts(self) -> Counter[str]:
        return Counter(body["messages"][0]["content"] for body in self.asked)


def serve(judge: Judge) -> ThreadingHTTPServer:
    lock = threading.Lock()
    busy = 0
    turns: Counter[str] = Counter()
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

        def do_POST(self) -> None:
            nonlocal busy
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = body["messages"][0]["content"].rpartition("Prediction: ")[2]
            with lock:
                busy += 1
                judge.most_at_once = max(judge.most_at_once, busy)
                judge.asked.append(body)
                judge.keys.append(self.headers.get("Authorization"))
                mood = next((word for word in judge.moods if word in asked), None)
                answers = judge.moods[mood] if mood else [judge.default]
                answer = answers[min(turns[mood or ""], len(answers) - 1)]
                answer = answer(body) if callable(answer) else answer
                turns[mood or ""] += 1
            try:
                time.sleep(0.02)
                self._answer(answer)
            finally:
                with lock:
                    busy -= 1

        def _answer(self, answer: Any) -> None:
            if answer == "HANG":
                ended.wait(30)
                self.close_connection = True
                return
            if answer == "DRIP":
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                while not ended.wait(0.05):
                    try:
                        self.wfile.write(b" ")
                        self.wfile.flush()
                    except OSError:
                        return
                return
            if answer == "CUT":
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                self.wfile.write(b'{"choices": [')
                self.close_connection = True
                return
            status, text = answer if isinstance(answer, tuple) else (200, completion(answer))
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            if status in (429, 503):
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    judge.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    stop = server.shutdown

    def shutdown() -> None:
        ended.set()
        stop()

    server.shutdown = shutdown  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def completion(text: Any, finish: str = "stop") -> str:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": 100, "completion_tokens": 2}
    return json.dumps({"model": "judge-2025-04-14", "choices": [choice], "usage": usage})
