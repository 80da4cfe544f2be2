"""A page on this machine to draw masks with: it answers only on 127.0.0.1, and only to whoever has its address with the token."""

from __future__ import annotations

import base64
import json
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pytest_gradcam.images import read
from pytest_gradcam.tools import mask_proposals
from pytest_gradcam.tools.mask_store import Drawable, MaskStore

PORT = 8737
_MOST_BYTES = 64 << 20
Answer = tuple[str, bytes]


class MaskServer(ThreadingHTTPServer):
    """Serves the page, the images and their annotations."""

    daemon_threads = True

    u2net: Path | None = None  # the ONNX file that objects are proposed by

    def __init__(
        self, store: MaskStore, drawn: Sequence[Drawable], labels: Sequence[str], port: int | None = None
    ) -> None:
        """Port None is the usual one, or any that is free where that is taken: the same address keeps what the page kept."""
        self.store, self.drawn, self.labels = store, drawn, labels
        self.token = secrets.token_urlsafe(24)
        self.lock = Lock()
        try:
            super().__init__(("127.0.0.1", PORT if port is None else port), _Handler)
        except OSError:
            if port is not None:
                raise
            super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that was closed before its answer came is not an error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/?token={self.token}"


class _Handler(BaseHTTPRequestHandler):
    server: MaskServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        routes: dict[str, Callable[[Mapping[str, str]], Answer | None]] = {
            "/": self._page,
            "/state": self._state,
            "/image": self._image,
            "/outlines": self._outlines,
            "/region": self._region,
        }
        self._answer(routes.get(urlsplit(self.path).path))

    def do_POST(self) -> None:
        if self.headers.get("Content-Type") != "application/json":  # what a form of another page cannot send
            return self._send(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "text/plain", b"expected JSON")
        return self._answer(self._save if urlsplit(self.path).path == "/save" else None)

    def _answer(self, act: Callable[[Mapping[str, str]], Answer | None] | None) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        hosts = {f"{name}:{self.server.server_address[1]}" for name in ("127.0.0.1", "localhost")}
        if self.headers.get("Host") not in hosts or not secrets.compare_digest(
            query.get("token", ""), self.server.token
        ):
            return self._send(HTTPStatus.FORBIDDEN, "text/plain", b"open the address that pytest-gradcam masks printed")
        try:
            found = None if act is None else act(query)
        except (ValueError, KeyError, IndexError, OSError) as error:
            return self._send(HTTPStatus.UNPROCESSABLE_ENTITY, "text/plain", str(error).encode())
        if found is None:
            return self._send(HTTPStatus.NOT_FOUND, "text/plain", b"nothing here")
        return self._send(HTTPStatus.OK, *found)

    def _page(self, query: Mapping[str, str]) -> Answer:
        return "text/html; charset=utf-8", page().encode()

    def _state(self, query: Mapping[str, str]) -> Answer:
        store, drawn = self.server.store, self.server.drawn
        found = {
            "file": str(store.file),
            "labels": list(dict.fromkeys([*self.server.labels, *store.labels])),
            "kinds": mask_proposals.kinds(self.server.u2net),
            "images": [
                {
                    "name": one.name,
                    "height": one.shape[0],
                    "width": one.shape[1],
                    "annotations": store.annotations(index),
                    "draft": store.drafts.get(one.name),
                }
                for index, one in enumerate(drawn)
            ],
        }
        return "application/json", json.dumps(found).encode()

    def _image(self, query: Mapping[str, str]) -> Answer:
        import io

        out = io.BytesIO()
        read(self._drawable(query).path).pil.save(out, "png")  # turned as it is displayed, whatever the file's format
        return "image/png", out.getvalue()

    def _outlines(self, query: Mapping[str, str]) -> Answer:
        return "image/png", mask_proposals.outlines(self._drawable(query).path, query["kind"], self.server.u2net)

    def _region(self, query: Mapping[str, str]) -> Answer:
        place = int(query["x"]), int(query["y"])
        regions = mask_proposals.labels(self._drawable(query).path, query["kind"], self.server.u2net)
        found = mask_proposals.region(regions, *place)
        return "application/json", json.dumps(found).encode()

    def _save(self, query: Mapping[str, str]) -> Answer:
        length = int(self.headers.get("Content-Length", "0"))
        if length > _MOST_BYTES:
            raise ValueError(f"{length} bytes are too many")
        content = json.loads(self.rfile.read(length))
        with self.server.lock:
            self.server.store.save(int(content["image"]), content["annotations"], content.get("draft"))
        return "application/json", b"{}"

    def _drawable(self, query: Mapping[str, str]) -> Drawable:
        return self.server.drawn[int(query["image"])]

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": _policy(),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        if status != HTTPStatus.OK:
            headers["Connection"] = "close"
            self.close_connection = True
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the address with the token must not be in a log."""


def page() -> str:
    """The page with its style and script in it."""
    html, style, script = (_text(f"mask_page.{kind}") for kind in ("html", "css", "js"))
    return html.replace("/*STYLE*/", style).replace("/*SCRIPT*/", script)


def _policy() -> str:
    style, script = (_digest(_text(f"mask_page.{kind}")) for kind in ("css", "js"))
    return (
        f"default-src 'none'; img-src 'self' data: blob:; connect-src 'self'; style-src 'sha256-{style}'; "
        f"script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(sha256(text.encode()).digest()).decode()
