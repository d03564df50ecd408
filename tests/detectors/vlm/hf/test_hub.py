"""A model that the hub does not give out: one line, soon, that says why and what to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.needs import needs

needs("torch", "transformers")
constants = needs("huggingface_hub.constants")

from deeptrace.detectors.vlm.hf.checkpoint import resolve  # noqa: E402
from deeptrace.detectors.vlm.hf.hub import hub_answers  # noqa: E402
from deeptrace.detectors.vlm.hf.processors.checkpoint import read_json  # noqa: E402
from deeptrace.errors import ModelError  # noqa: E402

COMMIT = "c0ffee0000000000000000000000000000000001"


class Answers(BaseHTTPRequestHandler):
    """Answers as the hub does: by the model's name."""

    def do_HEAD(self) -> None:
        owner, model = self.path.split("/")[1:3]
        status, code = {
            "gated": (403, "GatedRepo"),
            "unknown": (404, "RepoNotFound"),
            "adapter": (404, "EntryNotFound"),
        }.get(model, (503, ""))
        assert owner == "someone"
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    """A hub on loopback, and an empty cache."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    hub_answers.cache_clear()
    yield server
    server.shutdown()
    server.server_close()
    hub_answers.cache_clear()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "someone/gated",
            "on the hub, but access is restricted. Ask for access on its page there, then: hf auth login",
        ),
        ("someone/unknown", "no such folder, and no such model on the hub. Check the spelling."),
        ("someone/busy", "no such folder, and the hub answers with status 503. Name a local folder"),
        ("./someone/else/", "no such folder, and not a name on the hub (OWNER/MODEL)"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_what_stands_in_the_way(name: str, said: str) -> None:
    with pytest.raises(ModelError) as caught:
        resolve(name, {})
    assert str(caught.value).startswith(f"{name}: {said}")


def test_without_a_network_it_is_said_at_once(hub: ThreadingHTTPServer) -> None:
    hub.shutdown()
    hub.server_close()
    began = time.monotonic()
    with pytest.raises(ModelError, match=r"the hub cannot be reached: .*refused.* Name a local folder"):
        resolve("someone/model", {})
    assert time.monotonic() - began < 5


def test_offline_without_the_model(hub: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="not downloaded before, and HF_HUB_OFFLINE is set"):
        resolve("someone/model", {})


def test_without_a_network_what_was_downloaded_is_used(
    hub: ThreadingHTTPServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub.shutdown()
    hub.server_close()
    kept = tmp_path / "cache/models--someone--model"
    (kept / f"snapshots/{COMMIT}").mkdir(parents=True)
    (kept / f"snapshots/{COMMIT}/config.json").write_text('{"model_type": "qwen2_vl"}')
    (kept / "refs").mkdir()
    (kept / "refs/main").write_text(COMMIT)
    began = time.monotonic()
    assert read_json("someone/model", "config.json") == {"model_type": "qwen2_vl"}
    assert read_json("someone/model", "chat_template.json") is None
    assert time.monotonic() - began < 5
    assert "HF_HUB_OFFLINE=1 saves the waiting" in caplog.text


@pytest.mark.usefixtures("hub")
def test_an_adapter_has_no_config() -> None:
    assert hub_answers("someone/adapter")
