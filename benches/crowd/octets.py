#!/usr/bin/env python3
"""What one octet of a slow client costs the gateway, in CPU and not in time: for one machine and loopback only.

octets.py --pid PID --to 127.0.0.1:2525 --clients 3000 --rounds 60 --in command|data
Each round sends one octet from every client. Prints the processor time of the process an octet, in nanoseconds, without
what it uses while nothing comes.
"""
import argparse, glob, json, resource, socket, sys, time

def options():
    p = argparse.ArgumentParser()
    p.add_argument("--pid", type=int, required=True)
    p.add_argument("--to", default="127.0.0.1:2525")
    p.add_argument("--clients", type=int, default=3000)
    p.add_argument("--rounds", type=int, default=60)
    p.add_argument("--in", dest="place", choices=["command", "data"], default="command")
    p.add_argument("--rcpt", default="user@agency.example.com")
    return p.parse_args()

def used(pid):
    """Processor time of all threads, in nanoseconds."""
    return sum(int(open(path).read().split()[0]) for path in glob.glob(f"/proc/{pid}/task/*/schedstat"))

def heard(client):
    data = b""
    while not (data.endswith(b"\r\n") and data.split(b"\r\n")[-2][3:4] == b" "):
        more = client.recv(4096)
        if not more:
            sys.exit("sent away: " + data.decode(errors="replace"))
        data += more

def main():
    o = options()
    host, port = o.to.rsplit(":", 1)
    if not host.startswith("127."):
        sys.exit("loopback only")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    lines = [b"EHLO crowd.example.org\r\n"]
    if o.place == "data":
        lines += [b"MAIL FROM:<a@crowd.example.org>\r\n", b"RCPT TO:<%s>\r\n" % o.rcpt.encode(), b"DATA\r\n"]
    clients = []
    for n in range(o.clients):
        client = socket.socket()
        client.bind((f"127.1.{n // 200 % 250}.{n % 200 + 1}", 0))
        client.connect((host, int(port)))
        heard(client)
        for line in lines:
            client.sendall(line)
            heard(client)
        clients.append(client)
    time.sleep(1)
    before, begun = used(o.pid), time.time()
    time.sleep(3)
    idle = (used(o.pid) - before) / (time.time() - begun)
    before, begun = used(o.pid), time.time()
    for _ in range(o.rounds):
        for client in clients:
            client.send(b"x")
        time.sleep(0.1)
    time.sleep(0.5)
    spent = used(o.pid) - before - idle * (time.time() - begun)
    print(json.dumps({"in": o.place, "octets": o.clients * o.rounds, "ns_an_octet": round(spent / (o.clients * o.rounds))}))

main()
