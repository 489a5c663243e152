"""Worst cases of one message each: what a stranger would send to use up an inspector's memory or time.

Every function returns the octets of a whole message of at most `ROOM` octets; `all_samples` lists them by name. They are made from
fixed seeds, so two runs measure the same. Nothing here is malware: only size, number and nesting.
"""

import base64
import bz2
import io
import lzma
import os
import random
import struct
import subprocess
import tarfile
import zipfile
import zlib

ROOM = int(float(os.environ.get("WORST_MIB", "50")) * (1 << 20)) - (64 << 10)
# What fits into a base64 attachment of that size.
FILE = ROOM // 78 * 57 - (8 << 10)
HEAD = b"From: a@example.org\r\nTo: b@agency.test\r\nSubject: worst case\r\nDate: Sun, 22 Nov 2026 09:00:00 +0000\r\nMessage-ID: <w@example.org>\r\nMIME-Version: 1.0\r\n"
SAMPLES = {}
WORDS = ["bao", "cao", "hop", "dong", "kinh", "gui", "phong", "ban", "the", "of", "payment", "invoice", "thang", "nam", "account"]


def sample(function):
    SAMPLES[function.__name__] = function
    return function


def fill(piece, size=None):
    """`piece` again and again, `size` octets at most."""
    size = ROOM if size is None else size
    return piece * (size // len(piece))


def number(make, size=None):
    """`make(0)`, `make(1)`, ... up to `size` octets."""
    size = ROOM if size is None else size
    out, length, i = [], 0, 0
    while True:
        piece = make(i)
        length += len(piece)
        if length > size:
            return b"".join(out)
        out.append(piece)
        i += 1


_PROSE = []


def prose(size):
    if not _PROSE:
        dice = random.Random(1)
        line = lambda: (" ".join(dice.choices(WORDS, k=12)) + str(dice.random()))[:76].encode() + b"\r\n"
        _PROSE.append(b"".join(line() for _ in range(5000)))
    return fill(_PROSE[0], size) or _PROSE[0][:size]


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


def text(body, kind="text/plain; charset=utf-8", encoding="8bit"):
    return HEAD + f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + body


def wrapped(data):
    code = base64.b64encode(data)
    whole = len(code) // 76
    lines = b"".join(code[i * 76 : i * 76 + 76] + b"\r\n" for i in range(whole))
    return lines + code[whole * 76 :] + b"\r\n"


def attached(*files):
    """Files `(name, octets)` as attachments of one letter."""
    out = [HEAD, b"Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\nContent-Type: text/plain\r\n\r\nsee file, password: x12\r\n"]
    for name, data in files:
        out.append(b"--b1\r\nContent-Type: application/octet-stream; name=\"%s\"\r\nContent-Transfer-Encoding: base64\r\n\r\n" % name.encode())
        out.append(wrapped(data))
    out.append(b"--b1--\r\n")
    return b"".join(out)


def cut(data):
    return data[:FILE]


# ---- text and letters


@sample
def text_prose():
    return text(prose(ROOM - 500))


@sample
def text_base64():
    return text(wrapped(prose(FILE)), encoding="base64")


@sample
def text_quoted_printable():
    return text(fill(b"=41=42=43=C3=A1=\r\n", ROOM - 500), encoding="quoted-printable")


@sample
def text_same_letter():
    return text(fill(b"a" * 76 + b"\r\n", ROOM - 500))


@sample
def text_one_letter_no_line():
    return text(fill(b"a" * 60000 + b"\r\n", ROOM - 500))


@sample
def text_many_urls():
    return text(number(lambda i: b"http://h%d.example.org/%d?a=b\r\n" % (i, i), ROOM - 500))


@sample
def text_half_urls():
    return text(fill(b"http://www.http://hxxp://a@b.", ROOM - 500)[: ROOM - 600])


@sample
def text_hosts():
    return text(fill(b"a.b.c.d.e.f.g.h.i.j.k.", ROOM - 500))


@sample
def text_words_of_passwords():
    return text(fill(b"password: mat khau: mk pass ", ROOM - 500))


@sample
def text_base64_in_text():
    return text(wrapped(wrapped(prose(FILE * 7 // 10))), encoding="base64")


@sample
def text_blocks():
    return text(fill("\u2588\u2580\u2584 ".encode() * 20 + b"\r\n", ROOM - 500))


@sample
def text_combining():
    return text(fill("a\u0301\u0302\u0303\u0323".encode() * 8 + b"\r\n", ROOM - 500))


@sample
def text_combining_one_base():
    return text(b"a" + fill("\u0323\u0301".encode(), ROOM - 600))


@sample
def text_invisible():
    return text(fill("\u200b\u200d\u00ad\ufeffa".encode() * 6 + b"\r\n", ROOM - 500))


def charset(name, size=None):
    body = ("Kính gửi các đồng chí báo cáo 日本語 テスト 中文 简体 " * 4 + "\r\n").encode(name, "replace")
    return text(wrapped(fill(body, FILE)), kind=f"text/plain; charset={name}", encoding="base64")


for code in ["utf-16", "utf-7", "iso-2022-jp", "gb18030", "windows-1258", "euc-kr", "utf-32"]:
    SAMPLES["text_" + code.replace("-", "_")] = lambda code=code: charset(code)


@sample
def text_utf7_shifts():
    return text(fill(b"+AGE-+-+/+", ROOM - 500)[: ROOM - 600], kind="text/plain; charset=utf-7")


@sample
def uuencode_huge():
    line = b"M" + b"0" * 60 + b"\r\n"
    return text(b"begin 644 a.exe\r\n" + fill(line, ROOM - 700) + b"`\r\nend\r\n")


@sample
def uuencode_many():
    return text(number(lambda i: b"begin 644 a%d\r\n#0V%%T\r\n`\r\nend\r\n" % i, ROOM - 500))


@sample
def uuencode_many_begins():
    return text(fill(b"begin 644 a\r\n", ROOM - 500))


@sample
def yenc_huge():
    return text(b"=ybegin line=128 size=40000000 name=a.exe\r\n" + fill(b"k" * 128 + b"\r\n", ROOM - 700) + b"=yend size=40000000\r\n")


@sample
def yenc_many_begins():
    return text(fill(b"=ybegin line=128 size=4 name=a\r\nkkkk\r\n", ROOM - 500))


@sample
def pgp_armours():
    return text(fill(b"-----BEGIN PGP MESSAGE-----\r\n\r\naaaa\r\n", ROOM - 500))


# ---- headers and MIME


@sample
def header_of_mebibytes():
    return HEAD + b"X-A: " + fill(b"a" * 70 + b"\r\n ", ROOM - 600) + b"\r\n\r\nx\r\n"


@sample
def header_fields():
    return HEAD + fill(b"X-A: b\r\n", ROOM - 600) + b"\r\nx\r\n"


@sample
def header_encoded_words():
    return HEAD.replace(b"Subject: worst case", b"Subject:" + fill(b" =?utf-8?B?w6HDoQ==?=\r\n", ROOM - 900).rstrip()) + b"\r\nx\r\n"


@sample
def header_open_words():
    return HEAD.replace(b"Subject: worst case", b"Subject: " + fill(b"=?utf-8?q?", ROOM - 900)) + b"\r\nx\r\n"


@sample
def header_from_addresses():
    return HEAD.replace(b"From: a@example.org", b"From: " + number(lambda i: b"a%d@x.org, \r\n " % i, ROOM - 900) + b"a@x.org") + b"\r\nx\r\n"


@sample
def header_from_comments():
    return HEAD.replace(b"From: a@example.org", b"From: " + fill(b"(", ROOM - 900) + b"a@x.org") + b"\r\nx\r\n"


@sample
def header_parameters():
    return HEAD + b"Content-Type: text/plain" + number(lambda i: b";\r\n a%d=b" % i, ROOM - 600) + b"\r\n\r\nx\r\n"


@sample
def header_continuations():
    parts = number(lambda i: b";\r\n name*%d=abc" % i, ROOM - 600)
    return HEAD + b"Content-Type: text/plain" + parts + b"\r\n\r\nx\r\n"


@sample
def header_content_types():
    return HEAD + number(lambda i: b"Content-Type: multipart/mixed; boundary=b%d\r\n" % i, ROOM - 600) + b"\r\nx\r\n"


@sample
def header_received():
    return HEAD + number(lambda i: b"Received: from a%d.x (b [192.0.2.1]) by c; Sun, 22 Nov 2026 09:00:00 +0000\r\n" % i, ROOM - 600) + b"\r\nx\r\n"


def multipart(parts):
    return HEAD + b"Content-Type: multipart/mixed; boundary=b1\r\n\r\n" + parts + b"--b1--\r\n"


@sample
def mime_parts():
    return multipart(fill(b"--b1\r\n\r\na\r\n", ROOM - 700))


@sample
def mime_parts_named():
    part = lambda i: b'--b1\r\nContent-Type: application/pdf; name="a%d.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQK\r\n' % i
    return multipart(number(part, ROOM - 700))


@sample
def mime_boundaries_only():
    return multipart(fill(b"--b1\r\n", ROOM - 700))


@sample
def mime_almost_boundaries():
    return multipart(fill(b"--b\r\n--b1x\r\n --b1\r\n", ROOM - 700))


@sample
def mime_deep():
    level = lambda i: b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i)
    return HEAD + number(level, ROOM - 600)


@sample
def mime_deep_with_lines():
    levels = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(30))
    return HEAD + levels + b"\r\n" + fill(b"--b\r\n", ROOM - 4000)


@sample
def mime_rfc822_deep():
    return HEAD + fill(b"Content-Type: message/rfc822\r\n\r\n", ROOM - 600)


@sample
def mime_rfc822_deep_base64():
    inner = prose(FILE // 8)
    for _ in range(6):
        inner = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + wrapped(inner)
    return HEAD + inner


@sample
def mime_huge_parts_many_readings():
    body = wrapped(noise(FILE // 2))
    kinds = b"Content-Type: text/plain\r\nContent-Type: application/octet-stream; name=a.exe; name=b.exe\r\n"
    codes = b"Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: quoted-printable\r\n"
    return multipart(b"--b1\r\n" + kinds + codes + b"\r\n" + body)


@sample
def mime_boundary_readings():
    kinds = b"".join(b"Content-Type: multipart/mixed; boundary=b%d; boundary=c%d\r\n" % (i, i) for i in range(20))
    parts = number(lambda i: b"--%c%d\r\n\r\nabc\r\n" % (b"bc"[i % 2], i % 20), ROOM - 4000)
    return HEAD + kinds + b"\r\n" + parts


@sample
def mime_junk_in_base64():
    return text(fill(b"QUJD=QUJD!QUJD\r\nQU=JD", ROOM - 600), kind="application/octet-stream; name=a.bin", encoding="base64")


@sample
def mime_messages_attached():
    part = b"--b1\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nhttp://a.example/x\r\n"
    return multipart(fill(part, ROOM - 700))


# ---- pages


def page(body):
    return text(body, kind="text/html; charset=utf-8")


HTML = {
    "deep": b"<div>",
    "links": None,
    "open_tags": b"<a href=",
    "open_comments": b"<!-- ",
    "open_quotes": b"<a b=\"",
    "entities": b"&aacute;&#x41;&#65;&nbsp",
    "half_entities": b"&#",
    "less": b"<",
    "attributes": None,
    "scripts": b"<script>var a=atob('QUJD');eval(String.fromCharCode(65,66));</script>",
    "open_scripts": b"<script>",
    "styles": b"<style>a{color:red}</style><p style='display:none'>x",
    "hidden": b"<span style=\"font-size:0\">a</span>",
    "forms": b"<form action=http://a.example/><input type=password>",
    "frames": b"<iframe srcdoc='<iframe srcdoc=x>'>",
    "data_links": b"<a href=\"data:text/html;base64,PGEgaHJlZj14Pg==\">x</a>",
    "tables": b"<table><tr><td>",
    "select": b"<select><option>",
    "bold": b"<b><i><p>",
    "cdata": b"<svg><![CDATA[x]]></svg>",
}
for name, piece in HTML.items():
    if piece:
        SAMPLES["html_" + name] = lambda piece=piece: page(b"<html><body>" + fill(piece, ROOM - 700))


@sample
def html_links():
    return page(b"<html>" + number(lambda i: b"<a href=http://h%d.example/%d>http://g%d.example</a>" % (i, i, i), ROOM - 700))


@sample
def html_attributes():
    return page(b"<html><a " + number(lambda i: b"a%d=b " % i, ROOM - 700) + b">")


@sample
def html_in_base64():
    return text(wrapped(b"<html>" + fill(b"<p>abc</p><a href='http://x.example/'>x</a>", FILE - 100)), kind="text/html", encoding="base64")


@sample
def html_smuggled_array():
    return page(b"<html><script>var b=new Uint8Array([" + fill(b"77,90,0,1,", ROOM - 900) + b"]);new Blob([b]);a.download='x.exe'</script>")


@sample
def html_smuggled_base64():
    return page(b"<html><script>var b=atob('" + base64.b64encode(noise(FILE)) + b"');new Blob([b]);a.download='x.exe';</script>")


@sample
def html_smuggled_many():
    code = base64.b64encode(b"MZ" + noise(600))
    return page(b"<html><script>" + fill(b"b=atob('" + code + b"');new Blob([b]);", ROOM - 900) + b"</script>")


@sample
def html_data_huge():
    return page(b"<html><a href=\"data:application/zip;base64," + base64.b64encode(noise(FILE)) + b"\">x</a>")


@sample
def html_escapes():
    return page(b"<html><script>document.write(unescape('" + fill(b"%3Cscript%3E\\x41\\u0041", ROOM - 900) + b"'))</script>")


# ---- archives


def zipped(files, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method, compresslevel=9 if method == zipfile.ZIP_DEFLATED else None) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return out.getvalue()


ZEROS = 1 << 30


def program(*command, size=ZEROS, octets=None):
    """The output of a compressor fed with zeros or with `octets`."""
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    import threading

    def feed():
        if octets is not None:
            run.stdin.write(octets)
        else:
            block = bytes(1 << 20)
            for _ in range(size >> 20):
                run.stdin.write(block)
        run.stdin.close()

    threading.Thread(target=feed).start()
    return run.stdout.read()


def honest():
    """100 MiB that pack well but not suspiciously."""
    dice = random.Random(7)
    words = [bytes(dice.choices(b"abcdefghijklmnopqrstuvwxyz ", k=dice.randrange(3, 9))) for _ in range(30000)]
    out = []
    for _ in range(40):
        out.append(b" ".join(dice.choices(words, k=400000)))
    return b"".join(out)[: 100 << 20]


_HONEST = []


def honest_once():
    if not _HONEST:
        _HONEST.append(honest())
    return _HONEST[0]


COMPRESSORS = {
    "gz": ("gzip", "-9"),
    "bz2": ("bzip2", "-9"),
    "xz": ("xz", "-T1", "-1"),
    "lzma": ("xz", "--format=lzma", "-1"),
    "zst": ("zstd", "-3", "-c", "--no-progress"),
    "lz4": ("lz4", "-1", "-c"),
    "lz": ("lzip", "-1"),
    "Z": ("compress", "-c"),
}
for ending, command in COMPRESSORS.items():
    SAMPLES[f"{ending}_zeros"] = lambda e=ending, c=command: attached((f"a.{e}", cut(program(*c))))
    SAMPLES[f"{ending}_honest"] = lambda e=ending, c=command: attached((f"a.{e}", cut(program(*c, octets=honest_once()))))
    SAMPLES[f"{ending}_noise"] = lambda e=ending, c=command: attached((f"a.{e}", cut(program(*c, octets=noise(FILE - 300000)))))
    SAMPLES[f"{ending}_members"] = lambda e=ending, c=command: attached((f"a.{e}", fill(program(*c, octets=b"x"), FILE)))


@sample
def xz_large_window():
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 30}]
    packed = lzma.LZMACompressor(lzma.FORMAT_XZ, filters=[{"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": 64 << 20}])
    data = packed.compress(honest_once()) + packed.flush()
    return attached(("a.xz", cut(data)))


@sample
def zip_zeros():
    return attached(("a.zip", zipped([("a", bytes(400 << 20))])))


@sample
def zip_honest():
    return attached(("a.zip", cut(zipped([("a.txt", honest_once())]))))


@sample
def zip_entries():
    return attached(("a.zip", zipped([(f"{i}.txt", b"x") for i in range(100_000)], zipfile.ZIP_STORED)))


@sample
def zip_entries_fill():
    return attached(("a.zip", cut(zipped([(f"{i}", b"") for i in range(300_000)], zipfile.ZIP_STORED))))


@sample
def zip_local_marks():
    return attached(("a.zip", fill(b"PK\x03\x04", FILE)))


@sample
def zip_central_marks():
    return attached(("a.zip", fill(b"PK\x01\x02" + bytes(42), FILE)))


@sample
def zip_end_marks():
    return attached(("a.zip", b"PK\x03\x04" + fill(b"PK\x05\x06" + bytes(18), FILE - 10)))


@sample
def zip_overlap():
    """Many central headers that point to one member of 8 MiB."""
    data = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = data.compress(bytes(8 << 20)) + data.flush()
    crc = zlib.crc32(bytes(8 << 20))
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, crc, len(packed), 8 << 20, 1, 0) + b"a" + packed
    central = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, crc, len(packed), 8 << 20, 6, 0, 0, 0, 0, 0, 0) + b"%06d" % i
        for i in range(60_000)
    )
    return attached(("a.zip", local + central + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 60_000, 60_000, len(central), len(local), 0)))


@sample
def zip_nested_wide():
    level = zipped([("a.txt", prose(30_000))])
    for _ in range(7):
        level = zipped([(f"{i}.zip", level) for i in range(3)])
    return attached(("a.zip", cut(level)))


@sample
def zip_nested_huge():
    level = zipped([("a.txt", noise(FILE // 1 - 20_000))], zipfile.ZIP_STORED)
    for _ in range(7):
        level = zipped([("a.zip", level)], zipfile.ZIP_STORED)
    return attached(("a.zip", cut(level)))


@sample
def zip_honest_twice():
    inner = zipped([("a.txt", honest_once()[: 90 << 20])])
    return attached(("a.zip", cut(zipped([("a.zip", inner)], zipfile.ZIP_STORED))))


@sample
def zip_of_documents():
    doc = zipped([("[Content_Types].xml", b"<Types/>"), ("word/document.xml", b"<w:document><w:t>" + prose(3000) + b"</w:t></w:document>"), ("word/vbaProject.bin", cfb({"VBA": b"x" * 5000}))])
    return attached(("a.zip", cut(zipped([(f"{i}.docx", doc) for i in range(660)], zipfile.ZIP_STORED))))


@sample
def zip_encrypted_many():
    """2,000 members that say they are encrypted with AES-256: a password costs 1,000 rounds each."""
    out, central = [], []
    at = 0
    extra = struct.pack("<HHH2sBH", 0x9901, 7, 2, b"AE", 3, 8)
    for i in range(2000):
        body = noise(2000, i)
        local = struct.pack("<4s5H3L2H", b"PK\3\4", 51, 1, 99, 0, 0, 0, len(body), 3000, 5, len(extra)) + b"%05d" % i + extra + body
        central.append(struct.pack("<4s6H3L5H2L", b"PK\1\2", 51, 51, 1, 99, 0, 0, 0, len(body), 3000, 5, len(extra), 0, 0, 0, 0, at) + b"%05d" % i + extra)
        out.append(local)
        at += len(local)
    tail = b"".join(central)
    words = b" ".join(b"w%d" % i for i in range(500))
    letter = attached(("a.zip", b"".join(out) + tail + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2000, 2000, len(tail), at, 0)))
    return letter.replace(b"see file", b"passwords: " + words)


def tarred(count, name=lambda i: f"{i}", data=b""):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for i in range(count):
            info = tarfile.TarInfo(name(i))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@sample
def tar_entries():
    return attached(("a.tar", cut(tarred(70_000))))


@sample
def tar_entries_full():
    return attached(("a.tar", cut(tarred(35_000, data=b"x" * 100))))


@sample
def tar_pax():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for i in range(20_000):
            info = tarfile.TarInfo("á" * 60 + str(i))
            archive.addfile(info)
    return attached(("a.tar", cut(out.getvalue())))


@sample
def tar_nested():
    level = tarred(1, data=noise(FILE - 200_000))
    for _ in range(7):
        level = tarred(1, lambda i: "a.tar", level)
    return attached(("a.tar", cut(level)))


@sample
def tar_of_tars():
    inner = tarred(10, data=b"x" * 400)
    return attached(("a.tar", cut(tarred(3000, lambda i: f"{i}.tar", inner))))


@sample
def cpio_entries():
    entry = b"070701" + b"%08x" * 0 + b"00000000" * 6 + b"00000001" + b"00000000" * 4 + b"00000002" + b"00000000" + b"a\0x\0\0\0"
    return attached(("a.cpio", fill(entry, FILE)))


@sample
def ar_entries():
    entry = b"%-16s%-12s%-6s%-6s%-8s%-10s`\n" % (b"a/", b"0", b"0", b"0", b"644", b"2") + b"xx"
    return attached(("a.deb", b"!<arch>\n" + fill(entry, FILE - 10)))


def seven(header, packed=b""):
    start = struct.pack("<QQL", len(packed), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<L", zlib.crc32(start)) + start + packed + header


def big(number):
    return b"\xff" + struct.pack("<Q", number)


@sample
def seven_zeros():
    packed = lzma.compress(bytes(1 << 30), lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 1}])
    unpack = b"\x07\x0b\x01\x00\x01\x21\x21\x01\x16\x0c" + big(1 << 30) + b"\0"
    header = b"\x01\x04\x06\x00\x01\x09" + big(len(packed)) + b"\0" + unpack + b"\0" + b"\x05\x01\x11\x05\0a\0\0\0\0\0"
    return attached(("a.7z", cut(seven(header, packed))))


@sample
def seven_honest():
    packed = lzma.compress(honest_once(), lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 1}])
    size = len(honest_once())
    unpack = b"\x07\x0b\x01\x00\x01\x21\x21\x01\x16\x0c" + big(size) + b"\0"
    header = b"\x01\x04\x06\x00\x01\x09" + big(len(packed)) + b"\0" + unpack + b"\0" + b"\x05\x01\x11\x05\0a\0\0\0\0\0"
    return attached(("a.7z", cut(seven(header, packed))))


@sample
def seven_numbers():
    return attached(("a.7z", seven(b"\x01\x05" + big(1 << 40) + b"\x11" + big(1 << 30) + b"\0\0")))


@sample
def seven_names():
    names = b"\0" + b"a\0\0\0" * (FILE // 4 - 100)
    header = b"\x01\x05" + big((len(names) - 1) // 4) + b"\x11" + big(len(names)) + names + b"\0\0"
    return attached(("a.7z", seven(header)))


@sample
def seven_marks():
    return attached(("a.bin", b"MZ" + fill(b"7z\xbc\xaf\x27\x1c" + bytes(26), FILE - 10)))


@sample
def rar_marks():
    return attached(("a.bin", b"MZ" + fill(b"Rar!\x1a\x07\x01\0", FILE - 10)))


@sample
def all_marks():
    marks = b"MZ\x90\0Rar!\x1a\x07\0MSCF\0\0\0\0PK\3\4\x1f\x8b\x08BZh91AY&SY\xfd7zXZ\0%PDF-{\\rtf1\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe17z\xbc\xaf\x27\x1c"
    return attached(("a.exe", b"MZ" + fill(marks, FILE - 10)))


def rar5(blocks):
    out = b"Rar!\x1a\x07\x01\0"
    for block in blocks:
        size = vint(len(block))
        out += struct.pack("<L", zlib.crc32(size + block)) + size + block
    return out


def vint(n):
    out = b""
    while True:
        if n < 128:
            return out + bytes([n])
        out += bytes([n & 127 | 128])
        n >>= 7


@sample
def rar_entries():
    block = b"\x02\x02\x01" + b"\x00" + b"\x01" + b"\x00" + b"\x00" + b"\x01" + b"\x01a"
    size = vint(len(block))
    one = struct.pack("<L", zlib.crc32(size + block)) + size + block + b"x"
    return attached(("a.rar", rar5([b"\x01\0\0"]) + fill(one, FILE - 100)))


@sample
def cab_folders():
    folders, files = 60_000, 60_000
    head = struct.pack("<4sLLLLLBBHHHHH", b"MSCF", 0, FILE, 0, 36 + 8 * folders, 0, 3, 1, folders, files, 0, 0, 0)
    body = struct.pack("<LHH", 36, 1, 0) * folders + b"".join(struct.pack("<LLHHHH", 32768, 0, i, 0, 0, 32) + b"a\0" for i in range(files))
    return attached(("a.cab", cut(head + body + fill(b"\0" * 4 + b"\x08\0\0\x80CK\3\0", FILE - len(head) - len(body)))))


@sample
def lha_entries():
    def one():
        body = b"-lh0-" + struct.pack("<LLLBB", 1, 1, 0, 32, 0) + b"\x01a" + b"\0\0"
        return bytes([len(body), sum(body) & 255]) + body + b"x"

    return attached(("a.lzh", fill(one(), FILE)))


def iso(records):
    sector = lambda data: data.ljust(2048, b"\0")
    both = lambda n: struct.pack("<L", n) + struct.pack(">L", n)
    entry = lambda at, size, flags, name: (lambda r: bytes([len(r) + 1 + (len(r) + 1) % 2]) + r + b"\0" * ((len(r) + 1) % 2))(
        b"\0" + both(at) + both(size) + bytes(7) + bytes([flags, 0, 0]) + struct.pack("<H", 1) + struct.pack(">H", 1) + bytes([len(name)]) + name
    )
    listing, block = b"", b""
    for i in range(records):
        record = entry(18, 2048 * (records // 40), 2 if i % 2 else 0, b"A%d" % i)
        if len(block) + len(record) > 2048:
            listing, block = listing + sector(block), b""
        block += record
    listing += sector(block)
    root = entry(18, len(listing), 2, b"\0")
    head = b"\x01CD001\x01\0" + b" " * 72 + both(20000) + bytes(32) + struct.pack("<H", 1) + struct.pack(">H", 1) * 1
    head = head.ljust(128, b"\0") + struct.pack("<H", 2048) + struct.pack(">H", 2048)
    head = head.ljust(156, b"\0") + root
    return bytes(32768) + sector(head) + sector(b"\xffCD001\x01") + listing


@sample
def iso_folders_in_circles():
    return attached(("a.iso", cut(iso(100_000))))


@sample
def fat_image():
    """A FAT16 whose every folder entry points to one chain that never ends."""
    boot = b"\xeb\x3c\x90MSDOS5.0" + struct.pack("<HBHBHHBHHHLL", 512, 64, 1, 2, 512, 0, 0xF8, 200, 63, 16, 0, 70_000) + bytes(26)
    boot = boot.ljust(54, b"\0") + b"FAT16   "
    boot = boot.ljust(510, b"\0") + b"\x55\xaa"
    fat = struct.pack("<H", 2) * (200 * 256)
    root = b"".join(b"F%07dTXT" % i + b"\x20" + bytes(14) + struct.pack("<HL", 2, 0x7FFFFFFF) for i in range(512))
    folder = b"".join(b"D%07d   " % i + b"\x10" + bytes(14) + struct.pack("<HL", 2, 0) for i in range(1024))
    return attached(("a.img", cut(boot + fat + fat + root + fill(folder, FILE - 1_000_000))))


def built(name, *command):
    """An image made by a program around noise."""
    import shutil
    import tempfile

    folder = tempfile.mkdtemp()
    os.makedirs(folder + "/in")
    with open(folder + "/in/a.bin", "wb") as file:
        file.write(noise(FILE - (6 << 20)))
    target = folder + "/" + name
    subprocess.run([part.format(target=target, folder=folder + "/in") for part in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(target, "rb") as file:
        data = file.read()
    shutil.rmtree(folder)
    return attached((name, cut(data)))


SAMPLES["iso_honest"] = lambda: built("a.iso", "genisoimage", "-J", "-r", "-udf", "-o", "{target}", "{folder}")
SAMPLES["cab_honest"] = lambda: built("a.cab", "gcab", "-c", "-z", "{target}", "{folder}/a.bin")


@sample
def chm_noise():
    return attached(("a.chm", b"ITSF\x03\0\0\0\x60\0\0\0" + noise(FILE - 20)))


# ---- documents


def cfb(streams, sectors=None, fat=None):
    """A compound file with `streams` below its root, 512-octet sectors, no mini stream."""
    data, chains, entries = [], [], []
    for name, octets in streams.items():
        octets = octets.ljust(4096, b"\0")
        first = len(chains)
        count = (len(octets) + 511) // 512
        data.append(octets.ljust(count * 512, b"\0"))
        chains += [first + i + 1 for i in range(count - 1)] + [0xFFFFFFFE]
        entries.append((name, first, len(octets)))
    directory = b""
    for i, (name, first, length, kind) in enumerate([("Root Entry", 0xFFFFFFFE, 0, 5)] + [(n, f, l, 2) for n, f, l in entries]):
        wide = name.encode("utf-16le")[:62]
        right = i + 1 if 0 < i < len(entries) else 0xFFFFFFFF
        child = 1 if i == 0 and entries else 0xFFFFFFFF
        directory += wide.ljust(64, b"\0") + struct.pack("<HBBLLL", len(wide) + 2, kind, 1, 0xFFFFFFFF, right, child) + bytes(36) + struct.pack("<LQ", first, length)
    directory = directory.ljust((len(directory) + 511) // 512 * 512, b"\0")
    start = len(chains)
    count = len(directory) // 512
    chains += [start + i + 1 for i in range(count - 1)] + [0xFFFFFFFE]
    tables = (len(chains) + 200) // 127 + 1
    places = [len(chains) + i for i in range(tables)]
    chains += [0xFFFFFFFD] * tables
    table = struct.pack(f"<{len(chains)}L", *chains).ljust(tables * 512, b"\xff")
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    extra = max(0, tables - 109)
    lists = (extra + 126) // 127
    head += struct.pack("<LLLLLLLLL", 0, tables, start, 0, 4096, 0xFFFFFFFE, 0, len(chains) if lists else 0xFFFFFFFE, lists)
    head += struct.pack("<109L", *(places + [0xFFFFFFFF] * 109)[:109])
    more = b""
    for i in range(lists):
        part = places[109 + i * 127 : 109 + (i + 1) * 127]
        part += [0xFFFFFFFF] * (127 - len(part))
        following = len(chains) + i + 1 if i + 1 < lists else 0xFFFFFFFE
        more += struct.pack("<128L", *part, following)
    return head + b"".join(data) + directory + table[: tables * 512] + more


@sample
def ole_huge_stream():
    return attached(("a.doc", cut(cfb({"WordDocument": noise(FILE * 9 // 10)}))))


@sample
def ole_many_streams():
    return attached(("a.doc", cut(cfb({f"s{i}": b"x" * 100 for i in range(7000)}))))


@sample
def ole_huge_fat():
    """Every sector is said to be one of the FAT, and every chain leads through all of them."""
    head = bytearray(cfb({"WordDocument": b"x"})[:512])
    count = FILE // 512 - 2
    struct.pack_into("<L", head, 44, count)
    struct.pack_into("<109L", head, 76, *range(109))
    struct.pack_into("<LL", head, 68, 0, count)
    body = b"".join(struct.pack("<128L", *((i * 128 + j + 1) % count for j in range(128))) for i in range(count))
    return attached(("a.doc", cut(bytes(head) + body)))


@sample
def ole_circle():
    head = bytearray(cfb({"WordDocument": b"x"})[:512])
    body = struct.pack("<128L", *([0] * 128))
    return attached(("a.xls", cut(bytes(head) + fill(body, FILE - 1000))))


@sample
def ole_folders():
    data = bytearray(cfb({"VBA": b"x", "b": b"y"}))
    entry = "VBA".encode("utf-16le").ljust(64, b"\0") + struct.pack("<HBBLLL", 8, 1, 1, 1, 2, 1) + bytes(48)
    return attached(("a.doc", cut(cfb({"Macros": b"x"}) + fill(entry, FILE - 60_000))))


def vba(octets):
    """As MS-OVBA 2.4.1 packs it, without finding anything."""
    out = b"\x01"
    for at in range(0, len(octets), 4096):
        piece = octets[at : at + 4096].ljust(4096, b" ")
        out += struct.pack("<H", 0x3FFF) + piece
    return out


def vba_bomb(size):
    """Chunks of 4,096 octets in a few: one literal, one copy token."""
    chunk = struct.pack("<H", 0xB000 | 3) + b"\x02A" + struct.pack("<H", 0x0FFF) + b"\0"
    return b"\x01" + fill(chunk, size)


@sample
def vba_huge():
    code = b"Attribute VB_Name = \"a\"\r\nSub AutoOpen()\r\n" + fill(b"x = Chr(65) & Chr(66) & StrReverse(\"abc\") & Shell(\"cmd\")\r\n", FILE * 3 // 4)
    return attached(("a.doc", cut(cfb({"dir": vba(b"\0" * 100), "Module1": vba(code)}))))


@sample
def vba_bombs():
    return attached(("a.doc", cut(cfb({"dir": vba(b"\0" * 100), **{f"M{i}": vba_bomb(FILE // 30) for i in range(20)}}))))


@sample
def vba_marks():
    return attached(("a.doc", cut(cfb({"dir": fill(b"\x01\x19\xb0\x00Attribut\x00e VB_Nam", FILE * 9 // 10)}))))


@sample
def vba_lines():
    code = b"Attribute VB_Name = \"a\"\r\n" + fill(b"a=a&_\r\n", 8 << 20) + fill(b"a=\"b\" & \"c\" & ", 8 << 20)
    return attached(("a.doc", cut(cfb({"dir": vba(b"\0" * 100), "M": vba(code)}))))


@sample
def xls_records():
    record = struct.pack("<HH", 0x06, 30) + bytes(22) + b"\x06\0\x44\0\0\0\0\x17"
    sheets = b"".join(struct.pack("<HHLBB", 0x85, 10, 0, 1, 1) + b"\x02\0ab" for _ in range(1000))
    book = struct.pack("<HHHHHHLL", 0x809, 16, 0x600, 5, 0, 0, 0, 0) + sheets
    return attached(("a.xls", cut(cfb({"Workbook": book + fill(record, FILE * 8 // 10)}))))


@sample
def msg_attachments():
    return attached(("a.msg", cut(cfb({f"__substg1.0_37010102{i}": b"MZ" * 40 for i in range(7000)}))))


@sample
def ooxml_huge_text():
    parts = [("[Content_Types].xml", b"<Types/>"), ("word/document.xml", b"<w:document><w:body>" + fill(b"<w:p><w:r><w:t>abc def</w:t></w:r></w:p>", 90 << 20))]
    return attached(("a.docx", cut(zipped(parts))))


@sample
def ooxml_stored_text():
    parts = [("[Content_Types].xml", b"<Types/>"), ("word/document.xml", fill(b"<w:instrText>DDEAUTO a b</w:instrText>", FILE - 5000))]
    return attached(("a.docx", cut(zipped(parts, zipfile.ZIP_STORED))))


@sample
def ooxml_relations():
    relation = lambda i: b'<Relationship Id="r%d" Type="http://x/hyperlink" Target="http://h%d.example/" TargetMode="External"/>' % (i, i)
    parts = [("[Content_Types].xml", b"<Types/>"), ("word/_rels/document.xml.rels", b"<Relationships>" + number(relation, 90 << 20))]
    return attached(("a.docx", cut(zipped(parts))))


@sample
def ooxml_entities():
    doc = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' + number(lambda i: b'<!ENTITY a%d "&a;&a;&a;">' % i, 10 << 20) + b"]><a>&a1;</a>"
    return attached(("a.docx", zipped([("[Content_Types].xml", b"<Types/>"), ("word/document.xml", doc)])))


@sample
def ooxml_deep():
    parts = [("[Content_Types].xml", b"<Types/>"), ("xl/workbook.xml", fill(b"<a>", 90 << 20))]
    return attached(("a.xlsx", cut(zipped(parts))))


@sample
def ooxml_attributes():
    parts = [("[Content_Types].xml", b"<Types/>"), ("xl/worksheets/sheet1.xml", b"<a " + number(lambda i: b'a%d="b" ' % i, 60 << 20))]
    return attached(("a.xlsx", cut(zipped(parts))))


@sample
def ooxml_strings():
    parts = [
        ("[Content_Types].xml", b"<Types/>"),
        ("xl/sharedStrings.xml", b"<sst>" + number(lambda i: b"<si><t>http://h%d.example/</t></si>" % i, 40 << 20)),
        ("xl/worksheets/sheet1.xml", b"<worksheet>" + number(lambda i: b'<c r="A%d" t="s"><f>EXEC(A%d)</f><v>%d</v></c>' % (i, i, i), 40 << 20)),
    ]
    return attached(("a.xlsx", cut(zipped(parts))))


@sample
def odf_huge():
    parts = [("mimetype", b"application/vnd.oasis.opendocument.text"), ("content.xml", b"<a>" + fill(b'<text:a xlink:href="http://a.example/">x</text:a>', 90 << 20))]
    return attached(("a.odt", cut(zipped(parts))))


RTF = {
    "deep": b"{",
    "groups": b"{\\b x}",
    "objects": b"{\\object\\objemb{\\*\\objclass Package}{\\*\\objdata 0105000002000000}}",
    "open_objects": b"{\\*\\objdata 01",
    "controls": b"\\a1\\b2",
    "unicode": b"\\u65?\\'41",
    "bin": b"\\bin4 abcd",
    "fields": b"{\\field{\\*\\fldinst HYPERLINK \"http://a.example/\"}{\\fldrslt x}}",
    "templates": b"{\\*\\template http://a.example/x}",
    "deep_objdata": b"{\\*\\objdata {",
}
for name, piece in RTF.items():
    SAMPLES["rtf_" + name] = lambda piece=piece: attached(("a.rtf", b"{\\rtf1 " + fill(piece, FILE - 20)))


@sample
def rtf_objdata_huge():
    return attached(("a.rtf", b"{\\rtf1{\\object\\objemb{\\*\\objdata " + fill(b"d0cf11e0a1b11ae1", FILE - 100) + b"}}}"))


PDF = {
    "objects": b"1 0 obj\n<</A 1>>\nendobj\n",
    "object_words": b"1 0 obj ",
    "stream_words": b"1 0 obj<</Length 5>>stream\n",
    "open_streams": b"<</Length 999999999>>stream\nx",
    "deep_dictionaries": b"<</A",
    "deep_arrays": b"[",
    "strings": b"(",
    "escapes": b"(\\(\\)\\\\\\101",
    "hex_names": b"/#4a#61#76#61#53#63#72#69#70#74 ",
    "names": b"/JavaScript /JS /OpenAction /Launch /URI ",
    "comments": b"%a\n",
    "hex": b"<41424344",
    "xrefs": b"xref\n0 1\ntrailer<</Prev 9>>startxref\n9\n%%EOF\n",
    "actions": b"1 0 obj<</S/JavaScript/JS(app.alert\\(1\\))>>endobj\n",
    "links": b"1 0 obj<</S/URI/URI(http://a.example/)>>endobj\n",
    "refs": b"1 0 obj<</JS 2 0 R/Next 1 0 R/Kids[1 0 R 1 0 R]>>endobj\n",
    "heads": b"%PDF-1.4\n",
    "lone_strings": b"()",
    "lists": b"/C[()()()]",
    "hidden": b"/#41",
    "pairs": b"/C/D",
    "trailers": b"trailer<</Encrypt 1 0 R>>",
    "open_filtered": b"1 0 obj<</Filter/FlateDecode>>stream\nx",
    "open_files": b"1 0 obj<</Type/EmbeddedFile/Filter/JBIG2Decode>>stream\nx",
    "open_pictures": b"1 0 obj<</Subtype/Image/Width 5000/Height 5000>>stream\nx",
    "inline": b"1 0 obj<</Filter/ASCIIHexDecode/Length 8>>stream\n41424344\nendstream endobj\n",
}
for name, piece in PDF.items():
    SAMPLES["pdf_" + name] = lambda piece=piece: attached(("a.pdf", b"%PDF-1.7\n1 0 obj " + fill(piece, FILE - 20)))


@sample
def pdf_pictures():
    one = flate_object(1, b"/Subtype/Image/Width 2000/Height 5000/BitsPerComponent 8", bytes((8 << 20) - 1))
    return attached(("a.pdf", b"%PDF-1.7\n" + fill(one, FILE - 20)))


@sample
def pdf_files_of_bombs():
    one = flate_object(1, b"/Type/EmbeddedFile/DecodeParms<</Predictor 15/Columns 4>>", bytes(60 << 20))
    return attached(("a.pdf", b"%PDF-1.7\n" + fill(one, FILE - 20)))


@sample
def pdf_numbered_objects():
    return attached(("a.pdf", b"%PDF-1.7\n" + number(lambda i: b"%d 0 obj<</JS %d 0 R/Kids[%d 0 R]>>endobj\n" % (i, i + 1, i + 2), FILE - 20)))


def flate_object(i, dictionary, data):
    packed = zlib.compress(data, 9)
    return b"%d 0 obj<<%s/Filter/FlateDecode/Length %d>>stream\n" % (i, dictionary, len(packed)) + packed + b"\nendstream\nendobj\n"


@sample
def pdf_flate_bombs():
    one = flate_object(1, b"", bytes(20 << 20))
    return attached(("a.pdf", b"%PDF-1.7\n" + fill(one, FILE - 20)))


@sample
def pdf_flate_many():
    return attached(("a.pdf", b"%PDF-1.7\n" + number(lambda i: flate_object(i, b"", prose(400)), FILE - 20)))


@sample
def pdf_flate_honest():
    return attached(("a.pdf", cut(b"%PDF-1.7\n" + b"".join(flate_object(i, b"", honest_once()[i << 20 : (i + 1) << 20]) for i in range(100)))))


@sample
def pdf_object_streams():
    def one(i):
        pairs = b" ".join(b"%d %d" % (1000 * i + j, 40 * j) for j in range(500))
        objects = b"".join(b"<</S/JavaScript/JS(a)/Next %d 0 R>>".ljust(40) % j for j in range(500))
        return flate_object(i, b"/Type/ObjStm/N 500/First %d" % (len(pairs) + 1), pairs + b" " + objects)

    return attached(("a.pdf", b"%PDF-1.7\n" + number(one, FILE - 20)))


@sample
def pdf_filter_chain():
    filters = b"/Filter[" + b"/ASCIIHexDecode" * 500 + b"]"
    return attached(("a.pdf", b"%PDF-1.7\n" + fill(b"1 0 obj<<%s/Length 8>>stream\n41424344\nendstream endobj\n" % filters, FILE - 20)))


@sample
def pdf_filter_chain_flate():
    data = bytes(100 << 20)
    for _ in range(3):
        data = zlib.compress(data, 9)
    one = b"1 0 obj<</Filter[/FlateDecode/FlateDecode/FlateDecode]/Length %d>>stream\n" % len(data) + data + b"\nendstream endobj\n"
    return attached(("a.pdf", b"%PDF-1.7\n" + fill(one, FILE - 20)))


for name, word, piece in [("lzw", b"LZWDecode", b"\x80\x0b\x60\x50\x22\x0c\x0c\x85\x01"), ("runs", b"RunLengthDecode", b"\x81A"), ("ascii85", b"ASCII85Decode", b"zzzz"), ("ascii_hex", b"ASCIIHexDecode", b"41")]:
    SAMPLES["pdf_" + name] = lambda word=word, piece=piece: attached(
        ("a.pdf", b"%PDF-1.7\n1 0 obj<</Filter/" + word + b"/Length %d>>stream\n" % (FILE - 200) + fill(piece, FILE - 200) + b"\nendstream endobj\n")
    )


@sample
def pdf_predictor():
    data = zlib.compress(fill(b"\x04" + b"a" * 20, 80 << 20))
    return attached(("a.pdf", b"%%PDF-1.7\n1 0 obj<</Filter/FlateDecode/DecodeParms<</Predictor 15/Columns 20>>/Length %d>>stream\n" % len(data) + data + b"\nendstream endobj\n"))


@sample
def pdf_encrypted_many():
    head = b"%PDF-1.7\n9 0 obj<</Filter/Standard/V 4/R 4/Length 128/P -4/O(" + b"a" * 32 + b")/U(" + b"b" * 32 + b")/CF<</StdCF<</CFM/AESV2>>>>/StmF/StdCF/StrF/StdCF>>endobj\ntrailer<</Encrypt 9 0 R/ID[(a)(a)]>>\n"
    return attached(("a.pdf", head + number(lambda i: b"%d 0 obj<</Length 32>>stream\n" % i + b"x" * 32 + b"\nendstream endobj\n", FILE - 1000)))


@sample
def pdf_files():
    one = b"1 0 obj<</Type/EmbeddedFile/Length 2>>stream\nMZ\nendstream endobj\n2 0 obj<</Type/Filespec/F(a.exe)/EF<</F 1 0 R>>>>endobj\n"
    return attached(("a.pdf", b"%PDF-1.7\n" + fill(one, FILE - 20)))


@sample
def onenote_files():
    guid = b"\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac"
    head = b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3"
    return attached(("a.one", head + fill(guid + struct.pack("<QLQ", 8, 0, 0) + b"MZ      ", FILE - 100)))


@sample
def onenote_overlapping():
    guid = b"\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac"
    head = b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3"
    return attached(("a.one", head + fill(guid + struct.pack("<QLQ", 1 << 24, 0, 0), FILE - 100)))


SCRIPTS = {
    "vbs": b"x = Chr(65) & Chr(66) : Execute(x) : CreateObject(\"WScript.Shell\")\r\n",
    "js": b"eval(unescape('%41%42'));var a=new ActiveXObject('x');\r\n",
    "ps1": b"IEX([Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('QUJDREVG')));\r\n",
    "bat": b"@echo off & powershell -enc QUJDREVGQUJDREVG\r\n",
    "hta": b"<script language=vbscript>x=Chr(65)</script>\r\n",
    "url": b"URL=file://a.example/x\r\n",
    "svg": b"<a xlink:href='javascript:x'><script>x</script></a>",
    "ics": b"ATTACH;VALUE=URI:http://a.example/\r\n",
    "vcf": b"URL:http://a.example/\r\n",
    "iqy": b"http://a.example/\r\n",
    "csv": b"=cmd|' /C calc'!A0,\r\n",
}
for ending, piece in SCRIPTS.items():
    start = {"url": b"[InternetShortcut]\r\n", "svg": b"<svg>", "hta": b"<html>"}.get(ending, b"")
    SAMPLES["script_" + ending] = lambda e=ending, p=piece, s=start: attached((f"a.{e}", s + fill(p, FILE - 50)))


@sample
def lnk_huge():
    head = b"\x4c\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46" + struct.pack("<L", 0xFF) + bytes(52)
    return attached(("a.lnk", head + fill(b"\xff\xff" + "cmd /c ".encode("utf-16le") * 4000, FILE - 100)))


# ---- pictures


def png(width, height, rows=None, lines=1):
    chunk = lambda kind, data: struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))
    raw = rows if rows is not None else bytes((width // 8 + 1) * lines)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, 1, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


@sample
def png_huge_dimension():
    return attached(("a.png", png(60_000, 60_000, lines=60_000)))


@sample
def png_many():
    rows = b"".join(b"\0" + noise(250, i) for i in range(2000))
    one = png(2000, 2000, rows)
    return attached(*[(f"{i}.png", one) for i in range(70)])


@sample
def png_grid():
    """Squares in squares everywhere, which a reader of QR codes takes for corners."""
    mark = [0b11111110, 0b10000010, 0b10111010, 0b10111010, 0b10111010, 0b10000010, 0b11111110, 0]
    rows = b"".join(b"\0" + bytes([255 - mark[y % 8]]) * 250 for y in range(2000))
    return attached(*[(f"{i}.png", png(2000, 2000, rows)) for i in range(200)])


@sample
def png_checker():
    rows = b"".join(b"\0" + (b"\xaa" if y % 2 else b"\x55") * 250 for y in range(2000))
    return attached(*[(f"{i}.png", png(2000, 2000, rows)) for i in range(200)])


@sample
def gif_frames():
    frame = b"\x2c\0\0\0\0\xe8\x03\xe8\x03\0\x02\x02\x4c\x01\0"
    return attached(("a.gif", b"GIF89a\xe8\x03\xe8\x03\x80\0\0\0\0\0\xff\xff\xff" + fill(frame, FILE - 100) + b";"))


@sample
def gif_dimension():
    return attached(("a.gif", b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff\x2c\0\0\0\0\xff\xff\xff\xff\0\x02\x02\x4c\x01\0;"))


@sample
def bmp_huge():
    size = FILE - 100
    side = int(size**0.5) // 4 * 4
    return attached(("a.bmp", b"BM" + struct.pack("<LHHL", size, 0, 0, 1078) + struct.pack("<LllHHLLllLL", 40, side, side, 1, 8, 0, 0, 0, 0, 256, 0) + bytes(1024) + noise(side * side)))


# ---- TNEF, signatures


def tnef(attributes):
    return b"\x78\x9f\x3e\x22\x01\x00" + attributes


def attribute(level, tag, data):
    return bytes([level]) + struct.pack("<LL", tag, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)


@sample
def tnef_huge():
    data = noise(FILE - 300)
    return attached(("winmail.dat", tnef(attribute(2, 0x00069002, bytes(14)) + attribute(2, 0x00018010, b"a.exe\0") + attribute(2, 0x0006800F, data))))


@sample
def tnef_many():
    one = attribute(2, 0x00069002, bytes(14)) + attribute(2, 0x00018010, b"a.exe\0") + attribute(2, 0x0006800F, b"MZ")
    return attached(("winmail.dat", tnef(fill(one, FILE - 100))))


@sample
def tnef_nested():
    level = b"x" * (FILE - 10_000)
    for _ in range(20):
        level = tnef(attribute(2, 0x00069002, bytes(14)) + attribute(2, 0x00018010, b"winmail.dat\0") + attribute(2, 0x0006800F, level))
    return attached(("winmail.dat", cut(level)))


@sample
def tnef_nested_wide():
    level = tnef(attribute(2, 0x00069002, bytes(14)) + attribute(2, 0x0006800F, prose(1000)))
    for _ in range(5):
        level = tnef(fill(attribute(2, 0x00069002, bytes(14)) + attribute(2, 0x0006800F, level), max(len(level) * 6, 100)))
    return attached(("winmail.dat", cut(level)))


@sample
def tnef_properties():
    one = struct.pack("<LL", 0x0003_3705, 1)
    block = struct.pack("<L", FILE // 8 - 100) + fill(one, FILE - 900)
    return attached(("winmail.dat", tnef(attribute(1, 0x00069003, block))))


@sample
def tnef_rtf_bomb():
    rtf = struct.pack("<LLLL", FILE, 1 << 30, 0x75465A4C, 0) + fill(b"\xff" + b"\x00\x0f" * 8, FILE - 400)
    block = struct.pack("<L", 1) + struct.pack("<HHLL", 0x0102, 0x1009, 1, len(rtf)) + rtf
    return attached(("winmail.dat", tnef(attribute(1, 0x00069003, block))))


def der(tag, *contents):
    data = b"".join(contents)
    length = bytes([len(data)]) if len(data) < 128 else (lambda n: bytes([128 | len(n)]) + n)(len(data).to_bytes((len(data).bit_length() + 7) // 8, "big"))
    return bytes([tag]) + length + data


SIGNED = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"
DATA = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"


def p7m(octets):
    return HEAD + b"Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n\r\n" + wrapped(cut(octets))


def opaque(content, certificates=b""):
    inner = der(0x30, b"\x02\x01\x01", der(0x31), der(0x30, DATA, der(0xA0, der(4, content))), certificates, der(0x31))
    return der(0x30, SIGNED, der(0xA0, inner))


@sample
def smime_opaque_huge():
    return p7m(opaque(b"Content-Type: text/plain\r\n\r\n" + prose(FILE - 1000)))


@sample
def smime_opaque_nested():
    level = b"Content-Type: text/plain\r\n\r\n" + prose(FILE // 4)
    for _ in range(4):
        level = b"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\nContent-Transfer-Encoding: binary\r\n\r\n" + opaque(level)
    return p7m(opaque(level))


@sample
def smime_pieces():
    """Content in a million pieces, of unknown length."""
    inner = b"\x30\x80\x02\x01\x01\x31\x00\x30\x80" + DATA + b"\xa0\x80\x24\x80" + fill(b"\x04\x04abcd", FILE - 200) + bytes(6) + b"\x31\x00" + bytes(2)
    return p7m(b"\x30\x80" + SIGNED + b"\xa0\x80" + inner + bytes(4))


@sample
def smime_deep():
    return p7m(b"\x30\x80" + SIGNED + b"\xa0\x80\x30\x80\x02\x01\x01\x31\x00\x30\x80" + DATA + b"\xa0\x80" + fill(b"\x24\x80", FILE - 200))


@sample
def smime_certificates():
    certificate = der(0x30, der(0x30, b"\x02\x01\x01", der(0x30, DATA), der(0x30)), der(0x30, DATA), der(3, b"\0a"))
    return p7m(opaque(b"x", der(0xA0, fill(certificate, FILE - 500))))


@sample
def smime_signers():
    signer = der(0x30, b"\x02\x01\x01", der(0x30, der(0x30), b"\x02\x01\x01"), der(0x30, b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01"), der(0x30, b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"), der(4, b"x" * 8))
    inner = der(0x30, b"\x02\x01\x01", der(0x31), der(0x30, DATA, der(0xA0, der(4, b"x"))), der(0x31, fill(signer, FILE - 500)))
    return p7m(der(0x30, SIGNED, der(0xA0, inner)))


@sample
def smime_detached_huge():
    signature = wrapped(der(0x30, SIGNED, der(0xA0, der(0x30, b"\x02\x01\x01", der(0x31), der(0x30, DATA), der(0x31)))))
    head = b"Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=b1\r\n\r\n--b1\r\nContent-Type: text/plain\r\n\r\n"
    tail = b"\r\n--b1\r\nContent-Type: application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n\r\n" + signature + b"--b1--\r\n"
    return HEAD + head + prose(ROOM - 2000) + tail


@sample
def noise_attached():
    return attached(("a.bin", noise(FILE - 500)))


@sample
def program_noise():
    return attached(("a.exe", b"MZ" + noise(FILE - 500)))
