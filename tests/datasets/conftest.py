import functools
import http.server
import threading
from typing import ClassVar

import pytest


class RangeHandler(http.server.SimpleHTTPRequestHandler):
    """A file server on this machine that honours `Range: bytes=N-`, and can cut answers short."""

    cut_after = None
    requested: ClassVar[list] = []

    def log_message(self, *args):
        pass

    def do_GET(self):
        path = self.translate_path(self.path)
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError:
            return self.send_error(404)
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        type(self).requested.append((self.path, start))
        if start and start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = type(self).cut_after
        self.wfile.write(content[start:] if cut is None else content[start : start + cut])
        return None


@pytest.fixture
def file_server():
    """Serve a folder over HTTP; gives its address. `file_server.handler` tells what was asked for."""
    servers = []

    class Handler(RangeHandler):
        requested: ClassVar[list] = []

    def serve(folder):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/"

    serve.handler = Handler
    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
