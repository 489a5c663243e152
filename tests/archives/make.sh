#!/bin/sh
# Makes the samples of this folder anew: the EICAR test file in every format that is opened, each sample packed with xz
# and written in base64, so that no scanner of a source tree trips over it. Needs Debian's 7zip, genisoimage, mtools,
# dosfstools, exfatprogs, gcab, arj, jlha-utils, lzip, lz4, zstd, ncompress, cpio, rpm, ntfs-3g, gdisk, qemu-utils, and
# rars from PyPI for rar.
# Usage: tests/archives/make.sh FOLDER
set -eu
out=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
printf '%s%s%s' 'X5O!P%@AP[4\PZX54(P^)7CC)7}$' 'EICAR-STANDARD-' 'ANTIVIRUS-TEST-FILE!$H+H*' > eicar.com
printf 'Kinh gui anh chi, xin xem tep dinh kem.\n' > loi-nhan.txt
keep() { xz -9 -c "$1" | base64 -w 76 > "$out/$1.b64"; }

for method in Copy LZMA LZMA2 PPMd BZip2 Deflate Deflate64; do
    7zz a -bso0 -m0=$method "7z-$method.7z" loi-nhan.txt eicar.com && keep "7z-$method.7z"
done
7zz a -bso0 -m0=BCJ2 -m1=LZMA -m2=LZMA -m3=LZMA 7z-bcj2.7z eicar.com && keep 7z-bcj2.7z
7zz a -bso0 -m0=Swap2 -m1=LZMA2 7z-swap2.7z eicar.com && keep 7z-swap2.7z
7zz a -bso0 -phoso2026 7z-aes.7z loi-nhan.txt eicar.com && keep 7z-aes.7z
7zz a -bso0 -phoso2026 -mhe=on 7z-aes-names.7z eicar.com && keep 7z-aes-names.7z
for method in Copy Deflate Deflate64 BZip2 LZMA PPMd ZSTD XZ; do
    7zz a -bso0 -tzip -mm=$method "zip-$method.zip" loi-nhan.txt eicar.com 2>/dev/null >&2 && keep "zip-$method.zip" || true
done
7zz a -bso0 -tzip -phoso2026 zip-crypto.zip eicar.com && keep zip-crypto.zip
for bits in 128 192 256; do
    7zz a -bso0 -tzip -phoso2026 -mem=AES$bits zip-aes$bits.zip eicar.com && keep zip-aes$bits.zip
done
7zz a -bso0 -ttar plain.tar eicar.com && keep plain.tar
for kind in v7 ustar gnu posix; do tar --format=$kind -cf tar-$kind.tar loi-nhan.txt eicar.com && keep tar-$kind.tar; done
cp eicar.com holes.bin && truncate -s 1M holes.bin && cat eicar.com >> holes.bin
for kind in 0.0 0.1 1.0; do
    tar --format=posix --sparse --sparse-version=$kind -cf tar-sparse$kind.tar holes.bin && keep tar-sparse$kind.tar
done
tar --format=gnu --sparse -cf tar-sparse-gnu.tar holes.bin && keep tar-sparse-gnu.tar
for tool in gzip bzip2 xz lzma lzip lz4 zstd compress; do
    case $tool in gzip) end=gz ;; bzip2) end=bz2 ;; lzip) end=lz ;; zstd) end=zst ;; compress) end=Z ;; *) end=$tool ;; esac
    cat eicar.com loi-nhan.txt > eicar.txt
    case $tool in lzma) xz --format=lzma -c eicar.txt ;; compress) compress -f -c eicar.txt ;; *) $tool -c eicar.txt ;; esac > stream.txt.$end
    keep stream.txt.$end
done
for kind in newc odc bin; do ls eicar.com loi-nhan.txt | cpio -o -H $kind > cpio-$kind.cpio 2>/dev/null && keep cpio-$kind.cpio; done
ar rc library.a loi-nhan.txt eicar.com && keep library.a
gcab -c mszip.cab -z loi-nhan.txt eicar.com >/dev/null && keep mszip.cab
gcab -c -n stored.cab loi-nhan.txt eicar.com >/dev/null && keep stored.cab
arj a -y stored.arj -m0 eicar.com >/dev/null && keep stored.arj
arj a -y packed.arj -m1 eicar.com loi-nhan.txt >/dev/null && keep packed.arj
arj a -y fastest.arj -m4 eicar.txt >/dev/null && keep fastest.arj
arj a -y -ghoso2026 arj-crypto.arj -m1 eicar.com >/dev/null && keep arj-crypto.arj
for method in 1 5 6 7; do jlha aqo$method lh$method.lzh eicar.txt && keep lh$method.lzh; done
cat > goi.spec <<'SPEC'
%define _binary_payload w9.gzdio
Name: goi
Version: 1
Release: 1
Summary: goi
License: none
BuildArch: noarch
%description
goi
%install
install -D %{from}/eicar.com %{buildroot}/opt/eicar.com
%files
/opt/eicar.com
SPEC
rpmbuild -bb --quiet --define "_topdir $work/rpm" --define "from $work" goi.spec
cp rpm/RPMS/noarch/goi-1-1.noarch.rpm goi.rpm && keep goi.rpm

mkdir files && cp eicar.com files/ && mkdir files/thu-muc && cp loi-nhan.txt "files/thu-muc/Tài liệu mật.txt"
genisoimage -quiet -o plain.iso files && keep plain.iso
genisoimage -quiet -J -R -o joliet.iso files && keep joliet.iso
genisoimage -quiet -udf -o bridge.iso files && keep bridge.iso
for bits in 12 16 32; do
    case $bits in 12) size=1 ;; 16) size=16 ;; 32) size=40 ;; esac
    truncate -s ${size}M fat$bits.img && mkfs.fat -F $bits -s 1 fat$bits.img >/dev/null
    mcopy -i fat$bits.img eicar.com ::"Hồ sơ mời họp.com" && mmd -i fat$bits.img ::thu && mcopy -i fat$bits.img loi-nhan.txt ::thu/
    keep fat$bits.img
done
truncate -s 4M ntfs.img && mkntfs -q -F -f ntfs.img >/dev/null 2>&1 && ntfscp -q -f ntfs.img eicar.com moi-hop.com >/dev/null 2>&1
keep ntfs.img
# One partition that begins at the second megabyte.
truncate -s 1M mbr.img && cat fat12.img >> mbr.img
printf '\000\000\002\000\001\000\000\000\000\010\000\000\000\010\000\000' | dd of=mbr.img bs=1 seek=446 conv=notrunc status=none
printf '\125\252' | dd of=mbr.img bs=1 seek=510 conv=notrunc status=none
keep mbr.img
qemu-img convert -O vpc -o subformat=fixed mbr.img fixed.vhd && keep fixed.vhd
qemu-img convert -O vpc -o subformat=dynamic mbr.img dynamic.vhd && keep dynamic.vhd
qemu-img convert -O vhdx -o subformat=dynamic mbr.img dynamic.vhdx && keep dynamic.vhdx

python3 - <<'PY'
import hashlib
import rars
members = [(name, open(name, "rb").read()) for name in ("loi-nhan.txt", "eicar.com")]
for name, options in {
    "rar15.rar": {"format": "rar15"}, "rar20.rar": {"format": "rar20"}, "rar4.rar": {"format": "rar29"},
    "rar4-stored.rar": {"format": "rar29", "store": True}, "rar4-solid.rar": {"format": "rar29", "solid": True},
    "rar4-aes.rar": {"format": "rar29", "password": "hoso2026"},
    "rar5.rar": {}, "rar5-stored.rar": {"store": True}, "rar5-solid.rar": {"solid": True},
    "rar5-aes.rar": {"password": "hoso2026"}, "rar5-aes-names.rar": {"password": "hoso2026", "encrypt_headers": True},
}.items():
    builder = rars.RarBuilder(**options)
    for member, data in members:
        builder.add_bytes(data, member)
    open(name, "wb").write(builder.to_bytes())
long = open("eicar.com", "rb").read() + b"".join(hashlib.sha256(bytes([n])).digest() for n in range(64))
for name, options in {"vol5": {}, "vol5-aes": {"password": "hoso2026"}}.items():
    builder = rars.RarBuilder(volume_size=900, **options)
    builder.add_bytes(long, "eicar.txt")
    builder.write_volumes(name + ".rar")
PY
for rar in rar*.rar; do keep "$rar"; done

# A disk with a GUID table; volumes of kinds that nothing here writes to without mounting them.
truncate -s 3M gpt.img && sgdisk -n 1:2048:4095 -t 1:0700 gpt.img >/dev/null
dd if=fat12.img of=gpt.img bs=1M seek=1 conv=notrunc status=none && keep gpt.img
truncate -s 4M exfat.img && mkfs.exfat -b 65536 -c 4096 exfat.img >/dev/null
python3 "$here/by_hand.py"
for name in exfat.img udf.img lzx.cab quantum.cab; do keep "$name"; done
mkdir -p "$out/volumes" && out="$out/volumes"
for volume in vol*.rar; do keep "$volume"; done
