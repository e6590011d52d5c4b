#!/usr/bin/env bash
# One would think: a pattern of hf:// that matches nothing is said to match nothing, and the files of
# one that matches are listed as hf:// addresses, which all of polars' readers take.
# What is: the hub answers a request for a folder that is not there with {"error": "... does not
# exist on \"main\""}, which polars tries to read as a listing: "error decoding response: invalid
# type: map, expected a sequence". Only a folder that is there and has no such file gives "expanded
# paths were empty". include_file_paths names the files at https://, and read_parquet_metadata
# panics at hf://. The hub's address is fixed: HF_ENDPOINT, which huggingface_hub knows, is not read.
# The hub is a stand-in here, in a network of its own (Linux, unshare). That the hub answers so:
# https://github.com/kha-white/mokuro/issues/149.
# Seen with polars 2.1.0 and Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet polars==2.1.0
cd "$folder"
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj "/CN=stand-in" -days 2 \
  -addext "basicConstraints=critical,CA:TRUE" 2>/dev/null
openssl req -newkey rsa:2048 -nodes -keyout key -out request -subj "/CN=huggingface.co" 2>/dev/null
printf "subjectAltName=DNS:huggingface.co\nbasicConstraints=CA:FALSE" > names
openssl x509 -req -in request -CA ca.crt -CAkey ca.key -CAcreateserial -out crt -days 2 \
  -extfile names 2>/dev/null
cat crt key > certificate
(cat /etc/hosts; echo "127.0.0.1 huggingface.co") > hosts
cat > seen.py <<'PYTHON'
import fcntl
import io
import json
import socket
import ssl
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import polars as pl

stream = io.BytesIO()
pl.DataFrame({"label": [0, 1]}).write_parquet(stream)
FILE = stream.getvalue()
LISTED = [{"type": "file", "oid": "0", "size": len(FILE), "path": "data/train-0.parquet"}]


class Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.partition("?")[0].rstrip("/")
        if path.endswith("/tree/main/data"):
            self.answer(200, json.dumps(LISTED).encode())
        elif "/tree/" in path:
            self.answer(404, b'{"error":"test does not exist on \\"main\\""}')
        elif (asked := self.headers.get("Range")) is not None:
            first, last = asked.removeprefix("bytes=").split("-")
            start = max(0, len(FILE) - int(last)) if not first else int(first)
            end = len(FILE) - 1 if not first or not last else min(int(last), len(FILE) - 1)
            self.answer(206, FILE[start : end + 1], f"bytes {start}-{end}/{len(FILE)}")
        else:
            self.answer(200, FILE)

    do_HEAD = do_GET

    def answer(self, status, content, part=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if part:
            self.send_header("Content-Range", part)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


with socket.socket() as control:  # lo, up
    fcntl.ioctl(control, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))
server = ThreadingHTTPServer(("127.0.0.1", 443), Hub)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("certificate")
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()


def said(ask):
    try:
        return str(ask())
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def listed(pattern):
    scan = pl.scan_parquet(pattern, include_file_paths="file")
    return scan.select(pl.col("file").unique()).collect()["file"].to_list()


HUB = "hf://datasets/owner/name"
no_folder = said(lambda: listed(f"{HUB}/test/*.parquet"))
no_file = said(lambda: listed(f"{HUB}/data/test-*.parquet"))
files = said(lambda: listed(f"{HUB}/data/train-*.parquet"))
footer = said(lambda: pl.read_parquet_metadata(f"{HUB}/data/train-0.parquet"))
seen = {"no folder": no_folder, "no file": no_file, "files": files, "footer": footer}
for name, text in seen.items():
    print(f"{name}: {text}")
assert "error decoding response" in no_folder
assert "does not exist on" in no_folder
assert "expanded paths were empty" in no_file
assert files == "['https://huggingface.co/datasets/owner/name/resolve/main/data/train-0.parquet']"
assert "unresolved hf:// path" in footer
PYTHON
SSL_CERT_FILE=ca.crt unshare -rmn bash -c 'mount --bind hosts /etc/hosts; venv/bin/python seen.py'
