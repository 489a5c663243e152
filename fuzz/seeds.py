#!/usr/bin/env python3
"""Inputs to begin with, for every fuzz target: `seeds.py FOLDER SAMPLES...` writes FOLDER/<target>/ out of all small files below SAMPLES,
the attachments of messages among them, the parts of Office packages among those, and the project's own archives."""

import base64
import email
import hashlib
import io
import lzma
import os
import sys
import zipfile

LARGEST = 60_000
# Targets whose first octet chooses a name: how many there are.
CHOOSING = {"script": 12, "part": 6, "ole_stream": 16}
WHOLE = "archive cab compound image lha link message mime pdf picture rar sevenz stream tar unix zip header rewrite tnef".split()


def put(target, data, out):
    if not 0 < len(data) <= LARGEST:
        return
    folder = os.path.join(out, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, hashlib.sha1(data).hexdigest()), "wb") as file:
        file.write(data)


def files(roots):
    for root in roots:
        for folder, _, names in os.walk(root):
            for name in names:
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    data = file.read()
                yield name, data
                if name.endswith(".b64"):
                    try:
                        yield name[:-4], lzma.decompress(base64.b64decode(data))
                    except (lzma.LZMAError, ValueError):
                        pass
                if name.endswith((".eml", ".msg.txt")):
                    try:
                        for part in email.message_from_bytes(data).walk():
                            octets = part.get_payload(decode=True)
                            if octets:
                                yield part.get_filename() or "a.txt", octets
                    except Exception:  # Broken on purpose.
                        pass


def main():
    out, seen = sys.argv[1], set()
    for name, data in files(sys.argv[2:]):
        if data in seen:
            continue
        seen.add(data)
        ending = name.rsplit(".", 1)[-1].lower()
        for target in WHOLE:
            put(target, data, out)
        for target, count in CHOOSING.items():
            if target != "ole_stream" and data[:1] not in (b"P", b"\xd0", b"%"):
                put(target, bytes([len(seen) % count]) + data, out)
        if data.startswith(b"{\\rtf1"):
            put("rtf", data[6:], out)
        if ending in ("htm", "html") or b"<html" in data[:200].lower():
            put("page", data, out)
        if data[:2] == b"0\x82" or data[:2] == b"0\x80" or ending in ("p7m", "p7s"):
            put("signature", data, out)
        if data.startswith(b"PK"):
            try:
                with zipfile.ZipFile(io.BytesIO(data)) as archive:
                    for member in archive.namelist()[:40]:
                        octets = archive.read(member)[:LARGEST - 1]
                        put("part", bytes([len(member) % 6]) + octets, out)
                        put("compound", octets, out)
            except Exception:  # Broken on purpose.
                pass
        if data.startswith(b"\xd0\xcf\x11\xe0"):
            for which in range(16):
                put("ole_stream", bytes([which]) + data[512:8704], out)
    for which in range(256):
        put("pdf_filters", bytes([which, which * 7 & 255]) + b"\x78\x9c\x4b\x4c\x4a\x06\x00\x02\x4d\x01\x27", out)
    put("qr", bytes([29]) + bytes(110), out)


if __name__ == "__main__":
    main()
