#!/usr/bin/env python3
"""Runs hostile messages through whole caged inspectors and tells what each cost: `run.py --binary target/release/luytre`.

One `luytre scan` with one inspector a message: first a small letter (the start is not counted), then the message. Told are the wall
time between the two answers, the inspector's CPU time, its highest resident set (VmHWM) and address space (VmPeak), the action, and
`FAILED` where an inspector died or was killed. Bounds: 10 s and 512 MiB; anything over makes the exit code 1.

    run.py --binary B                     every generated message (samples.py; WORST_MIB=50 is their size)
    run.py --binary B --only pdf_         those whose names begin so
    run.py --binary B --samples FOLDER    every file below FOLDER, as a message or attached to one
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

import samples

SECONDS, MEBIBYTES = 10.0, 512
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TICKS = os.sysconf("SC_CLK_TCK")
CONFIG = """
hostname = "gw.agency.test"
language = "en"
data_dir = "{folder}/data"
[[listener]]
address = "127.0.0.1:0"
[limits]
message = "50 MiB"
[inspect]
workers = 1
deadline = "2 min"
[rules]
spam = ["{root}/rules/spam"]
yara = ["{root}/rules/yara"]
hashes = ["{root}/rules/hashes"]
[smime]
trust = ["{root}/certs/trust"]
[[agency]]
id = "agency"
domains = ["agency.test"]
next_hops = [{{ address = "127.0.0.1:25" }}]
"""


def inspectors(parent):
    """What the inspectors below `parent` have used: {pid: (VmHWM, VmPeak in MiB, CPU seconds)}."""
    found = {}
    try:
        children = set()
        for thread in os.listdir(f"/proc/{parent}/task"):
            with open(f"/proc/{parent}/task/{thread}/children") as file:
                children.update(file.read().split())
        for pid in children:
            with open(f"/proc/{pid}/status") as file:
                status = dict(line.split(":", 1) for line in file if ":" in line)
            with open(f"/proc/{pid}/stat") as file:
                stat = file.read().rsplit(")", 1)[1].split()
            kib = lambda key: int(status[key].split()[0]) / 1024
            found[pid] = (kib("VmHWM"), kib("VmPeak"), (int(stat[11]) + int(stat[12])) / TICKS)
    except (OSError, KeyError, ValueError, IndexError):
        pass  # A process that has just ended.
    return found


def scan(binary, folder, path):
    """What inspecting the message in the file `path` cost."""
    command = [binary, "scan", "--config", f"{folder}/luytre.toml", "--json", f"{folder}/0.eml", path]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    most, base, done = {}, {}, threading.Event()

    def watch():
        while not done.is_set():
            for pid, now in inspectors(run.pid).items():
                most[pid] = tuple(map(max, now, most.get(pid, now)))
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    run.stdout.readline()
    began, base = time.monotonic(), dict(most)
    answer = run.stdout.readline()
    wall = time.monotonic() - began
    done.set()
    watcher.join()
    errors = run.communicate()[1]
    report = json.loads(answer) if answer else {"action": "NO ANSWER " + errors[-200:], "findings": []}
    codes = {finding["code"]: finding.get("detail", "") for finding in report["findings"] or []}
    used = {pid: now for pid, now in most.items()}
    return {
        "seconds": round(wall, 2),
        "cpu": round(sum(now[2] for now in used.values()) - sum(now[2] for now in base.values()), 2),
        "rss": round(max((now[0] for now in used.values()), default=0)),
        "space": round(max((now[1] for now in used.values()), default=0)),
        "action": report["action"],
        "failed": codes.get("inspect.failed") or (None if answer else errors[-200:] or "no answer"),
        "codes": sorted(code for code in codes if code.islower() and not code.startswith("yara.")),
    }


def messages(arguments):
    """(name, function that makes the octets)"""
    if not arguments.samples:
        for name, make in samples.SAMPLES.items():
            if name.startswith(tuple(arguments.only.split(","))) and name not in arguments.skip.split(","):
                yield name, make
        return
    for folder, _, files in sorted(os.walk(arguments.samples)):
        for file in sorted(files):
            path = os.path.join(folder, file)

            def make(path=path):
                with open(path, "rb") as opened:
                    data = opened.read()
                is_mail = path.endswith((".eml", ".msg.txt")) or data[:200].lower().startswith((b"from:", b"received:", b"return-path:", b"delivered-to:"))
                return data if is_mail else samples.attached((os.path.basename(path).replace('"', "_"), data))

            yield os.path.relpath(path, arguments.samples), make


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=f"{ROOT}/target/release/luytre")
    parser.add_argument("--only", default="")
    parser.add_argument("--skip", default="")
    parser.add_argument("--samples", default="")
    parser.add_argument("--out", help="a line of JSON a message goes here too")
    arguments = parser.parse_args()
    over = []
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/luytre.toml", "w") as file:
            file.write(CONFIG.format(folder=folder, root=ROOT))
        with open(f"{folder}/0.eml", "wb") as file:
            file.write(samples.text(b"hello\r\n"))
        print(f"{'message':40} {'MiB':>5} {'s':>7} {'CPU s':>7} {'RSS':>5} {'space':>5}  action, findings", flush=True)
        for name, make in messages(arguments):
            try:
                message = make()
                assert len(message) <= samples.ROOM + (64 << 10), len(message)
            except Exception as error:
                print(f"{name}: not made: {error!r}", flush=True)
                continue
            with open(f"{folder}/1.eml", "wb") as file:
                file.write(message)
            found = scan(arguments.binary, folder, f"{folder}/1.eml")
            bad = found["failed"] or found["seconds"] > SECONDS or found["rss"] > MEBIBYTES
            tail = f"FAILED {found['failed']}" if found["failed"] else " ".join(found["codes"])
            mark = "!" if bad else " "
            mebibytes = len(message) / (1 << 20)
            print(
                f"{name[:40]:40} {mebibytes:5.1f} {found['seconds']:7.2f} {found['cpu']:7.2f} {found['rss']:5} {found['space']:5} {mark}{found['action']} {tail[:160]}",
                flush=True,
            )
            if arguments.out:
                with open(arguments.out, "a") as file:
                    file.write(json.dumps({"message": name, "mebibytes": round(mebibytes, 1), **found}) + "\n")
            if bad:
                over.append(name)
    print(f"{len(over)} over the bounds: {' '.join(over)}")
    sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
