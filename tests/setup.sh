#!/bin/sh
# Installs what the build, the demo and the tests need on Debian 12, and nothing that is there already.
# Called by the Makefile; safe to call again. Answers with one sentence when something cannot be had.
set -eu

need=""
want() { # package, and a test whether it is there
    package=$1; shift
    "$@" >/dev/null 2>&1 || need="$need $package"
}
want pkg-config        command -v pkg-config
want gcc               command -v cc
want libc6-dev         test -e /usr/include/stdlib.h
want libssl-dev        pkg-config --exists openssl
want openssl           command -v openssl
want curl              command -v curl
want ca-certificates   test -e /etc/ssl/certs/ca-certificates.crt
if [ "${1:-all}" = all ]; then
    want swaks             command -v swaks
    # Only recommended by swaks, which cannot speak TLS without it.
    want libnet-ssleay-perl perl -MNet::SSLeay -e 1
    want postfix           test -x /usr/sbin/postfix
    want slapd             test -x /usr/sbin/slapd
    want python3-dkim      /usr/bin/python3 -c 'import dkim'
    want python3-aiosmtplib /usr/bin/python3 -c 'import aiosmtplib'
    # Postfix logs in with it.
    want libsasl2-modules  ls /usr/lib/*/sasl2/libplain.so
    # Other readers of mail, beside which ours is held.
    want libmime-tools-perl perl -MMIME::Parser -e 1
    want ripmime           command -v ripmime
    want mpack             command -v munpack
    want prometheus        command -v promtool
    want clamav-daemon     test -x /usr/sbin/clamd
    want clamav-testfiles  test -e /usr/share/clamav-testfiles/clam.exe
    want c-icap            test -x /usr/bin/c-icap
    want libc-icap-mod-virus-scan test -e /etc/c-icap/virus_scan.conf
    want nsd               test -x /usr/sbin/nsd
    want ldnsutils         command -v ldns-signzone
    # What Exim and OpenSMTPD (below) are linked with.
    library() { ls /usr/lib/*/"$1" /lib/*/"$1"; }
    want libgnutls-dane0   library libgnutls-dane.so.0
    want libidn12          library libidn.so.12
    want libnsl2           library libnsl.so.2
    want libevent-2.1-7    library libevent-2.1.so.7
fi

if [ -n "$need" ]; then
    command -v apt-get >/dev/null || { echo "setup: please install:$need" >&2; exit 1; }
    as_root=""
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || { echo "setup: as root: apt-get install$need" >&2; exit 1; }
        as_root="sudo"
    fi
    # Postfix, Prometheus, NSD and slapd are wanted as programs, not as services: nothing may take a port on this machine.
    # invoke-rc.d asks policy-rc.d; 101 means "do not start". A policy that is there already is left alone.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
        $as_root chmod 755 $policy
        trap '$as_root rm -f $policy' EXIT
    fi
    echo "setup: installing$need"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update
    # shellcheck disable=SC2086  # a list of words
    $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq -o DPkg::Lock::Timeout=300 \
        install --yes --no-install-recommends $need >/dev/null
    # Nor at the next boot.
    for service in postfix prometheus nsd slapd; do
        case "$need" in
        *" $service"*) [ -d /run/systemd/system ] && $as_root systemctl --quiet disable "$service" || true ;;
        esac
    done
fi

# Exim and OpenSMTPD as programs of the tests. Their packages and Postfix's exclude each other (each is *the* mail server
# of a machine), so they are not installed but unpacked side by side below target/; the tests run them in a mount
# namespace of their own, with the users and folders they expect. What cannot be had is skipped by the tests.
if [ "${1:-all}" = all ] && command -v apt-get >/dev/null; then
    peers=$(cd "$(dirname "$0")/.." && pwd)/target/peers
    for package in exim4-daemon-light opensmtpd; do
        [ -e "$peers/$package" ] && continue
        echo "setup: unpacking $package below target/"
        fetched=$(mktemp -d)
        if (cd "$fetched" && { apt-get -qq download "$package" || { ${as_root:-} apt-get -qq update && apt-get -qq download "$package"; }; }) \
            >/dev/null 2>&1 && mkdir -p "$peers" && dpkg-deb -x "$fetched"/"$package"_*.deb "$fetched/tree"; then
            chmod 755 "$fetched/tree"
            mv "$fetched/tree" "$peers/$package"
        else
            echo "setup: $package cannot be had; its tests are skipped" >&2
        fi
        rm -rf "$fetched"
    done
fi

# Node's nodemailer, where Node is there: a client of the tests, below target/, pinned. Its own scripts are not run.
nodemailer=10.6.0
if [ "${1:-all}" = all ]; then
    tools=$(cd "$(dirname "$0")/.." && pwd)/target/tools/node
    if [ -e "$tools/node_modules/nodemailer" ]; then
        :
    elif command -v node >/dev/null && command -v npm >/dev/null && mkdir -p "$tools" &&
        npm install --silent --prefix "$tools" --no-audit --no-fund --ignore-scripts "nodemailer@$nodemailer" >/dev/null 2>&1; then
        echo "setup: nodemailer $nodemailer below target/"
    else
        echo "setup: nodemailer cannot be had (Node and npm are needed); its test is skipped" >&2
    fi
fi

command -v cargo >/dev/null || { echo "setup: Rust is missing; see https://rustup.rs (1.95 or newer)" >&2; exit 1; }
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")
have=$(rustc --version | cut -d' ' -f2)
oldest=$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n1)
[ "$oldest" = "$wanted" ] || { echo "setup: rustc $have is too old; $wanted or newer is needed (rustup update)" >&2; exit 1; }
