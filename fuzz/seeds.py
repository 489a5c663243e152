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
# How the files of a target begin, or what stands in them at a place.
MAGIC = {
    "cab": [(0, b"MSCF")],
    "compound": [(0, b"\xd0\xcf\x11\xe0")],
    "image": [(32769, b"CD001"), (32769, b"BEA01"), (510, b"\x55\xaa"), (0, b"conectix"), (0, b"vhdxfile"), (3, b"NTFS")],
    "lha": [(2, b"-lh"), (0, b"\x60\xea")],
    "link": [(0, b"\x4c\0\0\0\x01"), (0, b"ITSF"), (0, b"\xe4\x52\x5c\x7b")],
    "pdf": [(0, b"%PDF")],
    "picture": [(0, b"\x89PNG"), (0, b"\xff\xd8"), (0, b"GIF8"), (0, b"BM"), (0, b"RIFF")],
    "rar": [(0, b"Rar!")],
    "sevenz": [(0, b"7z\xbc\xaf")],
    "stream": [(0, magic) for magic in (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"\x1f\x9d", b"LZIP", b"\x5d\0\0")],
    "tar": [(257, b"ustar")],
    "tnef": [(0, b"\x78\x9f\x3e\x22")],
    "unix": [(0, b"!<arch>"), (0, b"0707"), (0, b"\xed\xab\xee\xdb"), (0, b"\xc7\x71")],
    "zip": [(0, b"PK")],
}
# What takes anything gets one file in so many.
ANY = {"archive": 8, "header": 8, "message": 8, "mime": 8, "rewrite": 8}


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
        for target, marks in MAGIC.items():
            if any(data[at : at + len(mark)] == mark for at, mark in marks):
                put(target, data, out)
        for target, each in ANY.items():
            if len(seen) % each == 0:
                put(target, data, out)
        for target, count in CHOOSING.items():
            if target != "ole_stream" and len(seen) % 8 == 0 and data[:1] not in (b"P", b"\xd0", b"%"):
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
