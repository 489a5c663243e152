#!/usr/bin/env python3
"""Many clients at once, for one machine and loopback only: idle sessions, and slow ones that send an octet a second.

crowd.py --to 127.0.0.1:2525 --idle 19000 --slow 0 --hold 60
Opens them, prints one JSON line when all stand, keeps them (slow ones that are cut off come back) for --hold seconds or
until its standard input ends, then prints how it went. Half of the slow ones are in a command, half in a message. Each slow client has its own
moment of the second; with --burst all of them send at the same moment, which no crowd on a network does.
"""
import argparse, json, resource, select, socket, sys, time

def options():
    p = argparse.ArgumentParser()
    p.add_argument("--to", default="127.0.0.1:2525")
    p.add_argument("--idle", type=int, default=0)
    p.add_argument("--slow", type=int, default=0)
    p.add_argument("--hold", type=float, default=60)
    p.add_argument("--burst", action="store_true")
    p.add_argument("--rcpt", default="user@agency.example.com")
    return p.parse_args()

class Client:
    """One session: what it says up to its rest, then nothing or an octet a second."""
    def __init__(self, n, slow, rcpt):
        self.n, self.slow, self.sock = n, slow, None
        lines = [b"EHLO crowd.example.org\r\n"]
        if slow and n % 2:
            lines += [b"MAIL FROM:<a@crowd.example.org>\r\n", b"RCPT TO:<%s>\r\n" % rcpt.encode(), b"DATA\r\n"]
        self.script = lines

    def open(self, to):
        self.at, self.ready, self.buffer = 0, False, b""
        self.sock = socket.socket()
        # 127.1.0.0/16: a port range for each address.
        self.sock.bind((f"127.1.{self.n // 200 % 250}.{self.n % 200 + 1}", 0))
        self.sock.setblocking(False)
        self.sock.connect_ex(to)

    def heard(self, data):
        """Replies so far; True when it has come to rest."""
        self.buffer += data
        while b"\n" in self.buffer:
            line, self.buffer = self.buffer.split(b"\n", 1)
            if line[3:4] == b"-" or self.ready:
                continue
            if self.at == len(self.script):
                self.ready = True
                return True
            if line[:1] not in b"23":
                return False
            self.sock.send(self.script[self.at])
            self.at += 1
        return False

def main():
    o = options()
    host, port = o.to.rsplit(":", 1)
    if not host.startswith("127."):
        sys.exit("loopback only")
    to = (host, int(port))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    poll, by_fd = select.epoll(), {}
    ready, cut, refused = set(), 0, 0

    def start(client):
        client.open(to)
        by_fd[client.sock.fileno()] = client
        poll.register(client.sock, select.EPOLLIN)

    def drop(client):
        poll.unregister(client.sock)
        del by_fd[client.sock.fileno()]
        client.sock.close()
        ready.discard(client)

    slices, turn = (1 if o.burst else 1000), 0
    waiting = [Client(n, n >= o.idle, o.rcpt) for n in range(o.idle + o.slow)]
    waking = [[c for c in waiting if c.slow and c.n % slices == turn] for turn in range(slices)]
    waiting.reverse()
    total, begun, told, tick, end = len(waiting), time.time(), None, time.time(), None
    while end is None or time.time() < end:
        while waiting and len(by_fd) - len(ready) < 200:
            start(waiting.pop())
        for fd, _ in poll.poll(0.05 if told is None else 0.001):
            client = by_fd.get(fd)
            if client is None:
                continue
            try:
                data = client.sock.recv(4096)
            except OSError:
                data = b""
            if data:
                try:
                    if client.heard(data):
                        ready.add(client)
                except OSError:
                    pass
                continue
            if client.ready:
                cut += 1
            else:
                refused += 1
            drop(client)
            if client.slow:
                waiting.append(client)
        if told is None and not waiting and len(ready) >= total:
            told = time.time()
            end, tick = told + o.hold, told
            print(json.dumps({"open": len(ready), "setup_s": round(told - begun, 1), "refused": refused}), flush=True)
        if told is None and time.time() - begun > 300:
            sys.exit(json.dumps({"open": len(ready), "failed": "not all came to stand", "refused": refused}))
        while time.time() - tick >= 1 / slices:
            tick += 1 / slices
            turn = (turn + 1) % slices
            for client in waking[turn]:
                if client in ready:
                    try:
                        client.sock.send(b"x")
                    except OSError:
                        pass
        if select.select([sys.stdin], [], [], 0)[0] and not sys.stdin.read(1):
            break
    idle_left = sum(1 for c in ready if not c.slow)
    print(json.dumps({"idle_left": idle_left, "slow_left": len(ready) - idle_left, "cut": cut, "refused": refused}), flush=True)

main()
