#!/usr/bin/env bash
# Pillow forgets the transparent grey of a PNG with 2 or 4 bits a pixel.
#
# One would think: a grey PNG whose tRNS chunk calls grey 1 transparent is transparent there after
# convert("RGBA"), whatever its depth.
# What is: greys of 2 and 4 bits are scaled to 0 to 255 as they are read, the number in tRNS is not.
# Grey 1 becomes 85 or 17, tRNS still says 1, nothing matches, and the image comes out opaque; no
# error, no warning. With 1 and with 8 bits it is right. OpenCV ignores tRNS of grey at any depth.
# Seen with: pillow 13.0.0, opencv-python-headless 5.0.0.93; pypng 0.20220715.0 reads all four right.
# Here: the number is scaled before Pillow composites the image (crest/data/decoding.py).
# Source: PNG specification, 11.3.2.1 tRNS; Pillow's PngImagePlugin.chunk_tRNS.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq numpy==2.4.6 opencv-python-headless==5.0.0.93 \
  pillow==13.0.0 pypng==0.20220715.0

"$folder/venv/bin/python" - <<'PYTHON'
import io
import struct
import zlib

import cv2
import numpy as np
import png
from PIL import Image


def chunk(kind, content):
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def grey_png(depth):
    """Greys 0 and 1, of which 1 is transparent."""
    header = struct.pack(">IIBBBBB", 2, 1, depth, 0, 0, 0, 0)
    row = b"\0\0\1" if depth == 8 else b"\0" + bytes([1 << (8 - 2 * depth)])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"tRNS", b"\0\1")
        + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    )


seen = {}
for depth in (1, 2, 4, 8):
    content = grey_png(depth)
    pillow = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))[0, :, 3].tolist()
    _, _, rows, _ = png.Reader(bytes=content).asRGBA8()
    truth = list(next(iter(rows)))[3::4]
    opencv = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    print(f"{depth} bits: alpha of greys 0 and 1: pypng {truth}, Pillow {pillow}; "
          f"OpenCV: an array of shape {opencv.shape}, no alpha")
    assert truth == [255, 0]
    seen[depth] = pillow

assert seen == {1: [255, 0], 2: [255, 255], 4: [255, 255], 8: [255, 0]}, "this has changed"
PYTHON
echo "as described: with 2 and 4 bits nothing is transparent"
