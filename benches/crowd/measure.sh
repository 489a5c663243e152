#!/bin/bash
# How a crowd of idle and of slow clients weighs on the gateway and on everybody else. One machine, loopback only.
#   GATEWAY_BIN=target/release/luytre LOADGEN=.../loadgen benches/crowd/measure.sh [ROUNDS]
# LOADGEN is the peer bench's load generator (`send` and `sink`). Prints JSON lines:
# memory with 20,000 sessions of which 1,000 deliver; latencies without and with 5,000 clients of an octet a second, in turns.
set -u
here=$(cd "$(dirname "$0")" && pwd)
home=$(cd "$here/../.." && pwd)
rounds=${1:-3}
ulimit -n "$(ulimit -Hn)"
# As many idle ones as make 20,000 with the active, or as the machine's limit of open files leaves.
idle=$(( $(ulimit -n) < 22000 ? $(ulimit -n) - 1500 : 19000 ))
dir=$(mktemp -d)
mkdir -p "$dir/etc" "$dir/trust"
cat > "$dir/etc/luytre.toml" <<C
hostname = "mx.agency.example.com"
data_dir = "$dir/data"
[[listener]]
address = "127.0.0.1:2625"
[dns]
servers = ["127.0.0.1:1"]
[inspect]
checks = []
authenticate = false
[limits]
pregreet = "0 ms"
connections = 25000
connections_per_address = 25000
disk_free = "16 MiB"
[rules]
spam = ["$home/rules/spam"]
yara = ["$home/rules/yara"]
[smime]
trust = ["$dir/trust"]
[http]
address = "127.0.0.1:8926"
[[agency]]
id = "agency"
domains = ["agency.example.com"]
next_hops = [{ address = "127.0.0.1:2626", tls = "none" }]
C
"$LOADGEN" sink --listen 127.0.0.1:2626 --ctl 127.0.0.1:2627 > "$dir/sink" 2>&1 & sink=$!
"$GATEWAY_BIN" serve --config "$dir/etc/luytre.toml" > "$dir/log" 2>&1 & gateway=$!
crowd=
trap 'kill $sink $gateway $crowd 2>/dev/null; rm -rf "$dir"' EXIT
until curl -sf http://127.0.0.1:8926/readyz > /dev/null; do sleep 0.2; kill -0 $gateway || { cat "$dir/log"; exit 1; }; done

# PSS of the gateway and its inspectors, in MiB.
pss() { for p in $gateway $(pgrep -P $gateway); do awk '/^Pss:/ {print $2}' /proc/$p/smaps_rollup; done | awk '{s += $1} END {printf "%.0f", s / 1024}'; }
rss() { awk '/^VmRSS/ {printf "%.0f", $2 / 1024}' /proc/$gateway/status; }
peak() { awk '/^VmHWM/ {printf "%.0f", $2 / 1024}' /proc/$gateway/status; }
kernel() { awk '/^TCP:/ {print $11 * 4096 / 1048576}' /proc/net/sockstat; }
send() { "$LOADGEN" send --to 127.0.0.1:2625 --size 4096 --run "r$RANDOM" "$@" 2> /dev/null | tail -1; }
stand() { # opens a crowd and waits until it stands
    rm -f "$dir/stop" "$dir/crowd"; mkfifo "$dir/stop"
    python3 "$here/crowd.py" --to 127.0.0.1:2625 --hold 3600 "$@" < "$dir/stop" > "$dir/crowd" & crowd=$!
    exec 9> "$dir/stop"
    until [ -s "$dir/crowd" ] || ! kill -0 $crowd 2>/dev/null; do sleep 0.2; done
}
leave() { exec 9>&-; wait $crowd; tail -1 "$dir/crowd"; crowd=; }

echo "{\"what\":\"empty\",\"pss_mib\":$(pss),\"rss_mib\":$(rss)}"
stand --idle $idle
echo "{\"what\":\"$idle idle\",\"pss_mib\":$(pss),\"rss_mib\":$(rss),\"tcp_mib\":$(kernel)}"
(sleep 5; echo "{\"what\":\"$idle idle, 1,000 active\",\"pss_mib\":$(pss),\"rss_mib\":$(rss),\"tcp_mib\":$(kernel),\"open\":$(curl -s http://127.0.0.1:8926/metrics | awk '/^luytre_sessions_open/ {s += $2} END {print s}')}") &
send --conns 1000 --seconds 10 --per-conn 0
wait $!
echo "{\"what\":\"peak\",\"rss_mib\":$(peak)}"
leave
for round in $(seq "$rounds"); do
    echo "{\"what\":\"without slow clients\",\"round\":$round}"
    send --conns 20 --seconds 10 --rate 200
    stand --slow 5000
    echo "{\"what\":\"with 5,000 slow clients\",\"round\":$round}"
    send --conns 20 --seconds 10 --rate 200
    leave
done
