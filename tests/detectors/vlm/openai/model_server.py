"""A chat-completions server on loopback that looks at what it is sent, and misbehaves as each question asks it to."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np

FAKE = (
    "FAKE <coordinates>[10, 10, 30, 30]</coordinates> <start_time>0.25</start_time> "
    "<explanation>It melts.</explanation>"
)


@dataclass
class Asked:
    """One question, as the server got it."""

    body: dict[str, Any]
    headers: dict[str, str]
    turn: int
    """How often this clip was asked about before."""

    @property
    def parts(self) -> list[dict[str, Any]]:
        return self.body["messages"][0]["content"]

    @property
    def text(self) -> str:
        return "\n".join(part["text"] for part in self.parts if part["type"] == "text")

    @property
    def times_s(self) -> list[float]:
        """The times that stand before the frames."""
        texts = [
            before["text"] for before, part in zip(self.parts, self.parts[1:], strict=False) if "image_url" in part
        ]
        return [float(re.fullmatch(r"(\d+\.\d{3}) s:", text).group(1)) for text in texts]

    @property
    def duration(self) -> str:
        return re.search(r"A video of (\d+\.\d+) s", self.text).group(1)

    def images(self) -> list[np.ndarray]:
        """The frames, decoded: (H, W, 3) RGB."""
        found = []
        for part in self.parts:
            urls = [part[kind]["url"] for kind in ("image_url", "video_url") if kind in part]
            for data in [data for url in urls for data in url.partition("base64,")[2].split(",")]:
                pixels = np.frombuffer(base64.b64decode(data), np.uint8)
                found.append(cv2.cvtColor(cv2.imdecode(pixels, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))
        return found


Mood = Callable[["Handler", Asked], None]


@dataclass
class ModelServer:
    """What the server does: `mood` for every question, or by the clip's duration as the prompt states it."""

    mood: Mood | None = None
    moods: dict[str, Mood] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    most_at_once: int = 0
    url: str = ""
    ended: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: ModelServer
    lock = threading.Lock()
    busy = 0

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        cls = type(self)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = Asked(body, {key.lower(): value for key, value in self.headers.items()}, 0)
        named = isinstance(body["messages"][0]["content"], list)
        with cls.lock:
            cls.busy += 1
            self.model.most_at_once = max(self.model.most_at_once, cls.busy)
            same = [earlier for earlier in self.model.asked if earlier.body["messages"] == body["messages"]]
            asked.turn = len(same)
            self.model.asked.append(asked)
        try:
            mood = self.model.moods.get(asked.duration) if named else None
            (mood or self.model.mood or says(FAKE))(self, asked)
        except OSError:
            self.close_connection = True
        finally:
            with cls.lock:
                cls.busy -= 1

    def reply(self, status: int, text: str, **headers: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)


def completion(content: Any, *, finish: str = "stop", logprobs: Any = None, **message: Any) -> str:
    said = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "message": said, "finish_reason": finish, "logprobs": logprobs}
    usage = {"prompt_tokens": 1200, "completion_tokens": 30}
    return json.dumps({"object": "chat.completion", "model": "tiny-vlm", "choices": [choice], "usage": usage})


def says(content: Any, **choice: Any) -> Mood:
    return lambda handler, asked: handler.reply(200, completion(content, **choice))


def status(code: int, text: str = "{}", **headers: str) -> Mood:
    return lambda handler, asked: handler.reply(code, text, **headers)


def error(http_status: int, message: str, **fields: Any) -> Mood:
    return status(http_status, json.dumps({"error": {"message": message, **fields}}))


def first(mood: Mood, then: Mood | None = None) -> Mood:
    """`mood` for the first try, `then` for those that follow."""
    return lambda handler, asked: (mood if asked.turn == 0 else then or says(FAKE))(handler, asked)


def hang(handler: Handler, asked: Asked) -> None:
    handler.model.ended.wait(30)
    handler.close_connection = True


def cut(handler: Handler, asked: Asked) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(completion(FAKE)[:60].encode())
    handler.close_connection = True


def drip(handler: Handler, asked: Asked) -> None:
    """An answer whose header lines come a byte at a time and never end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not handler.model.ended.wait(0.05):
        handler.wfile.write(b"z")
        handler.wfile.flush()
    handler.close_connection = True


def tokens(*rows: tuple[str, float] | tuple[str, float, dict[str, float]]) -> dict[str, Any]:
    """The `logprobs` of a choice: (token, logprob, alternatives)."""
    content = []
    for token, logprob, *more in rows:
        top = [{"token": other, "logprob": value} for other, value in (more[0] if more else {}).items()]
        content.append({"token": token, "logprob": logprob, "top_logprobs": top})
    return {"content": content}


def start(model: ModelServer) -> ThreadingHTTPServer:
    handler = type("BoundHandler", (Handler,), {"model": model, "lock": threading.Lock(), "busy": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    model.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


def pause(seconds: float, then: Mood) -> Mood:
    def mood(handler: Handler, asked: Asked) -> None:
        time.sleep(seconds)
        then(handler, asked)

    return mood
