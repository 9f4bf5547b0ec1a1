#!/bin/sh
# Bring up a Docker engine where none answers: Debian or Ubuntu, as root.
#
#   scripts/docker-engine.sh [--data-root DIR] [--log FILE]
#
# Does nothing (in a few milliseconds) when an engine answers already. Otherwise it installs the distribution's
# docker.io, starts dockerd (as a systemd service where systemd runs, as a detached process elsewhere) and waits until
# it answers. The engine is a service of the machine: it is left running afterwards.
set -eu

data_root=""
log="/var/log/dockerd.log"
wait_seconds=60

usage() {
    sed -n '2,8s/^# \{0,1\}//p' "$0"
}

fail() {
    echo "docker-engine: $*" >&2
    exit 1
}

say() {
    echo "docker-engine: $*" >&2
}

while [ $# -gt 0 ]; do
    case "$1" in
    --data-root) data_root="${2:?--data-root needs a folder}" && shift 2 ;;
    --log) log="${2:?--log needs a file}" && shift 2 ;;
    -h | --help) usage && exit 0 ;;
    *) echo "docker-engine: unknown argument '$1'" >&2 && usage >&2 && exit 2 ;;
    esac
done

case "${DOCKER_HOST:-}" in
"") socket=/var/run/docker.sock ;;
unix://*) socket="${DOCKER_HOST#unix://}" ;;
*)
    # A remote engine is somebody else's to start.
    docker info >/dev/null 2>&1 && exit 0
    fail "DOCKER_HOST=$DOCKER_HOST does not answer, and this script starts local engines only; unset DOCKER_HOST"
    ;;
esac

# The client library talks to the socket itself, so that is what is asked, not the docker command and its contexts.
engine_answers() {
    [ -S "$socket" ] || return 1
    if command -v python3 >/dev/null; then
        python3 -I -S - "$socket" <<'PYTHON' 2>/dev/null
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(5)
    connection.connect(sys.argv[1])
    connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
    sys.exit(b" 200 " not in connection.recv(64))
PYTHON
    else
        DOCKER_HOST="unix://$socket" docker info >/dev/null 2>&1
    fi
}

if engine_answers; then
    exit 0
fi
[ "$(id -u)" -eq 0 ] || fail "no engine answers on $socket, and only root can start one: run 'sudo $0'"

# --- install ----------------------------------------------------------------------------------------------------------

policy=/usr/sbin/policy-rc.d
own_policy=""
# shellcheck disable=SC2317  # called by the trap
cleanup() {
    [ -z "$own_policy" ] || rm -f "$policy"
}
trap cleanup EXIT

if ! command -v dockerd >/dev/null; then
    command -v apt-get >/dev/null || fail "dockerd is missing and this is neither Debian nor Ubuntu (no apt-get):" \
        "install Docker Engine by hand, see https://docs.docker.com/engine/install/"
    say "installing docker.io (about 250 MB) ..."
    if [ ! -e "$policy" ] && [ ! -d /run/systemd/system ]; then
        # Without systemd the package would start dockerd with its own options: it is started below.
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        own_policy=yes
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2 || fail "apt-get update failed (see above): is the network up and /etc/apt/sources.list right?"
    apt-get install -y -qq --no-install-recommends docker.io >"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        fail "apt-get install docker.io failed (see above and $log)"
    }
    cleanup
    own_policy=""
fi

# --- start ------------------------------------------------------------------------------------------------------------

if [ ! -e /sys/fs/cgroup/cgroup.controllers ] && ! ls /sys/fs/cgroup/*/tasks >/dev/null 2>&1; then
    say "no cgroups are mounted; mounting them"
    mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null || {
        apt-get install -y -qq cgroupfs-mount >&2 && cgroupfs-mount
    } || fail "cgroups cannot be mounted; Docker cannot run here: use the sandbox Local() instead"
fi

# Waits until the engine answers; fails early when the process $1 (where given) has died.
wait_for_engine() {
    tries=$((wait_seconds * 10))
    while [ "$tries" -gt 0 ]; do
        engine_answers && return 0
        [ -z "${1:-}" ] || kill -0 "$1" 2>/dev/null || return 1
        sleep 0.1
        tries=$((tries - 1))
    done
    return 1
}

start_detached() {
    say "starting dockerd, log in $log"
    mkdir -p "$(dirname "$log")"
    # A pid file of a dead daemon would stop the new one when another process has that number by now.
    pid_file=/var/run/docker.pid
    if [ -f "$pid_file" ] && ! grep -qs dockerd "/proc/$(cat "$pid_file")/comm"; then
        rm -f "$pid_file"
    fi
    set -- --host "unix://$socket" ${data_root:+--data-root "$data_root"} "$@"
    # shellcheck disable=SC2086
    setsid nohup dockerd "$@" >>"$log" 2>&1 </dev/null &
    wait_for_engine $!
}

if [ -d /run/systemd/system ]; then
    if [ -n "$data_root" ]; then
        mkdir -p /etc/systemd/system/docker.service.d
        printf '[Service]\nExecStart=\nExecStart=%s -H fd:// --data-root "%s"\n' "$(command -v dockerd)" "$data_root" \
            >/etc/systemd/system/docker.service.d/branchwise.conf
        systemctl daemon-reload
    fi
    systemctl enable --now docker >&2 || fail "systemctl could not start docker: see 'journalctl -u docker'"
    wait_for_engine || fail "docker did not answer on $socket within $wait_seconds s: see 'journalctl -u docker'"
elif ! start_detached; then
    # Kernels without netfilter cannot have Docker's bridge network. The sandboxes have no network and need none.
    started=""
    if grep -qiE 'iptables|network controller|bridge' "$log"; then
        say "no bridge network is possible here; starting without"
        start_detached --bridge=none --iptables=false --ip6tables=false && started=yes
    fi
    if [ -z "$started" ]; then
        tail -n 15 "$log" >&2
        fail "dockerd did not answer on $socket within $wait_seconds s (its log: $log)"
    fi
fi
say "an engine answers on $socket; it is left running as a service of this machine"
