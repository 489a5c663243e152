#!/bin/bash
# Adapter of Lũy Tre for the peer bench: copy or link it into the bench's subjects/ as gateway.sh (queued) and
# gateway-cut.sh (cut-through). GATEWAY_BIN names the release binary, GATEWAY_HOME the source tree with rules/.
# W1 runs with `[inspect] checks = []` and no authentication, W2 and W3 with everything on. connections_per_address and pregreet are set
# for the bench: many sessions come from few addresses.
. "$(dirname "$0")/lib.sh"
case $(basename "$0") in *cut*) delivery=cut-through ;; *) delivery=queued ;; esac
case $1 in
    start)
        case $WORKLOAD in
            W1|W4|W5) inspect='checks = []
authenticate = false' ;;
            *) inspect='' ;;
        esac
        engine=
        if [ "$WORKLOAD" = W3 ] && [ -z "${GATEWAY_NO_AV:-}" ]; then
            start_clamd
            engine='[[engine]]
id = "clamav"
kind = "clamd"
address = "127.0.0.1:3310"'
            # GATEWAY_SEES=attachments: what Rspamd shows clamd by its defaults, and more (docs/decisions/0093).
            [ -z "${GATEWAY_SEES:-}" ] || engine="$engine
sees = \"$GATEWAY_SEES\""
        fi
        # A folder of its own: the gateway watches where its configuration lies, and the log is written to $RUN.
        mkdir -p "$RUN/trust" "$RUN/etc"
        cat > "$RUN/etc/luytre.toml" <<C
hostname = "mx.agency.example.com"
data_dir = "$RUN/data"
[log]
format = "json"
[[listener]]
address = "127.0.0.1:$PORT"
role = "mx"
xclient_networks = ["127.0.0.0/8"]
[dns]
servers = ["$DNS_HOST:$DNS_PORT"]
[inspect]
$inspect
[verdict]
malware = "reject"
[limits]
pregreet = "0 ms"
connections = 20000
connections_per_address = 20000
disk_free = "16 MiB"
[rules]
spam = ["$GATEWAY_HOME/rules/spam"]
yara = ["$GATEWAY_HOME/rules/yara"]
[smime]
trust = ["$RUN/trust"]
[http]
address = "127.0.0.1:8925"
$engine
[[agency]]
id = "agency"
name = "Agency"
domains = ["agency.example.com"]
next_hops = [{ address = "$SINK_HOST:$SINK_PORT", tls = "none", delivery = "$delivery" }]
C
        component gateway "$GATEWAY_BIN" serve --config "$RUN/etc/luytre.toml" >> "$RUN/log" 2>&1 </dev/null &
        wait_port "$PORT" ;;
    version) "$GATEWAY_BIN" --version ;;
esac
