"""A receiver of OpenTelemetry's protocol over HTTP, in a process of its own: keeps each request as a file. Needs only Python.

python receiver.py FOLDER      writes its address into FOLDER/address
"""

from __future__ import annotations

import gzip
import itertools
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

numbers = itertools.count()


class Receiver(BaseHTTPRequestHandler):
    """Takes POST /v1/traces, /v1/metrics and /v1/logs."""

    def do_POST(self) -> None:
        """Keep the body, whole before it shows under its name."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        name = f"{self.path.rsplit('/', 1)[-1]}.{next(numbers):05}"
        draft = folder / f".{name}"
        draft.write_bytes(body)
        draft.rename(folder / name)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    (folder / ".address").write_text(f"http://127.0.0.1:{server.server_address[1]}")
    (folder / ".address").rename(folder / "address")
    server.serve_forever()
