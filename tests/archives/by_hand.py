"""Samples that no free program makes: files put into an exFAT volume, a UDF volume without ISO 9660, and cabinets in LZX
and Quantum. Works in the current folder, on what make.sh left there."""
import struct

EICAR = open("eicar.com", "rb").read()


def exfat():
    disk = bytearray(open("exfat.img", "rb").read())
    number = lambda at: int.from_bytes(disk[at:at + 4], "little")
    table, heap, root = number(80) << 9, number(88) << 9, number(96)
    cluster = 1 << (9 + disk[109])
    place = lambda n: heap + (n - 2) * cluster

    def entry(name, first, size, folder=False, run=False):
        units = name.encode("utf-16le")
        names = b"".join(b"\xc1\0" + units[n:n + 30].ljust(30, b"\0") for n in range(0, len(units), 30))
        head = struct.pack("<BBHH26x", 0x85, 1 + len(names) // 32, 0, 0x10 if folder else 0x20)
        stream = struct.pack("<BBBB4xQ4xIQ", 0xC0, 3 if run else 1, 0, len(name), size, first, size)
        return head + stream + names

    at = place(root)
    while disk[at]:
        at += 32
    # A folder, and a file that was deleted by its first entry alone.
    put = entry("thư mục", 100, cluster, folder=True)
    gone = bytearray(entry("xóa.txt", 100, 5, run=True))
    gone[0] &= 0x7F
    put += gone
    disk[at:at + len(put)] = put
    # A file in two clusters that do not follow each other, and one without a chain.
    long = EICAR + b"\n" * cluster
    put = entry("Hồ sơ mời họp của văn phòng.com", 110, len(long)) + entry("b.com", 130, len(EICAR), run=True)
    disk[place(100):place(100) + len(put)] = put
    disk[place(110):place(111)] = long[:cluster]
    disk[place(115):place(115) + len(long) - cluster] = long[cluster:]
    disk[place(130):place(130) + len(EICAR)] = EICAR
    for chain, following in ((100, 0xFFFFFFFF), (110, 115), (115, 0xFFFFFFFF)):
        disk[table + 4 * chain:table + 4 * chain + 4] = following.to_bytes(4, "little")
    open("exfat.img", "wb").write(disk)


def udf():
    """The bridge image without what makes it an ISO 9660 one."""
    disk = bytearray(open("bridge.iso", "rb").read())
    sectors = [bytes(disk[n * 2048:(n + 1) * 2048]) for n in range(16, 32)]
    kept = [s for s in sectors if s[1:6] in (b"BEA01", b"NSR02", b"NSR03", b"TEA01")]
    for n in range(16):
        disk[(16 + n) * 2048:(17 + n) * 2048] = kept[n] if n < len(kept) else bytes(2048)
    open("udf.img", "wb").write(disk)


def cabinet(name, coding, block, size):
    file = struct.pack("<IIHHHH", size, 0, 0, 0, 0, 0x20) + b"eicar.com\0"
    data = struct.pack("<IHH", 0, len(block), size) + block
    files = 36 + 8
    start = files + len(file)
    head = struct.pack("<4sIIIIIBBHHHHH", b"MSCF", 0, start + len(data), 0, files, 0, 3, 1, 1, 1, 0, 0, 0)
    folder = struct.pack("<IHH", start, 1, coding)
    open(name, "wb").write(head + folder + file + data)


def lzx():
    """One block that is stored: no translation, kind 3, its length, three distances, the octets (MS-PATCH §2)."""
    bits = "0" + "011" + f"{len(EICAR):024b}" + "0000"
    words = b"".join(int(bits[n:n + 16], 2).to_bytes(2, "little") for n in range(0, 32, 16))
    cabinet("lzx.cab", 3 | 15 << 8, words + struct.pack("<III", 1, 1, 1) + EICAR, len(EICAR))


class Model:
    def __init__(self, first, length):
        self.symbols = [[first + n, length - n] for n in range(length + 1)]
        self.halvings = 4

    def count(self, upto):
        for n in range(upto):
            self.symbols[n][1] += 8
        assert self.symbols[0][1] <= 3800, "short texts need no scaling"


class Coder:
    def __init__(self):
        self.low, self.high, self.waiting, self.bits = 0, 0xFFFF, 0, ""

    def bit(self, bit):
        self.bits += bit + ("1" if bit == "0" else "0") * self.waiting
        self.waiting = 0

    def put(self, model, symbol):
        at = next(n for n, (known, _) in enumerate(model.symbols) if known == symbol)
        span, total = self.high - self.low + 1, model.symbols[0][1]
        before, behind = model.symbols[at][1], model.symbols[at + 1][1]
        self.low, self.high = self.low + behind * span // total, self.low + before * span // total - 1
        model.count(at + 1)
        while True:
            if (self.low ^ self.high) & 0x8000 == 0:
                self.bit("1" if self.low & 0x8000 else "0")
            elif self.low & 0x4000 and not self.high & 0x4000:
                self.waiting += 1
                self.low, self.high = self.low & 0x3FFF, self.high | 0x4000
            else:
                return
            self.low, self.high = self.low << 1 & 0xFFFF, self.high << 1 & 0xFFFF | 1

    def end(self):
        self.waiting += 1
        self.bit("0" if self.low < 0x4000 else "1")
        bits = self.bits + "0" * (-len(self.bits) % 8 + 16)
        return int(bits, 2).to_bytes(len(bits) // 8, "big")


def quantum():
    coder, selector = Coder(), Model(0, 7)
    literals = [Model(64 * n, 64) for n in range(4)]
    for octet in EICAR:
        coder.put(selector, octet >> 6)
        coder.put(literals[octet >> 6], octet)
    cabinet("quantum.cab", 2 | 15 << 8, coder.end(), len(EICAR))


exfat()
udf()
lzx()
quantum()
