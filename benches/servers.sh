# What the measurements share: a folder of their own, servers on private ports of the loopback, and their end.
# To be sourced. Sets root, work, pids; needs the servers of scripts/install-test-servers.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d /tmp/seatlock-bench.XXXXXX)
results=$work/results
peers=${PEERS:-$root/../shared/peers}
pids=()

fail() { echo "$(basename "$0"): $*" >&2; exit 1; }

cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    if [ -d "$work/pg/data" ]; then
        as_postgres "$bin/pg_ctl" -D "$work/pg/data" -m immediate stop >/dev/null 2>&1 || true
    fi
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Writes one result down, and shows it.
note() { echo "$1 $2" | tee -a "$results"; }

# The program as it is shipped, unless SEATLOCK names one that is built already.
build() {
    seatlock=${SEATLOCK:-}
    [ -n "$seatlock" ] && return
    echo "building" >&2
    (cd "$root" && cargo build --release --locked --quiet ${features:+--features "$features"})
    seatlock=$root/target/release/seatlock
}

# PostgreSQL refuses to run as root.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"
    else
        "$@"
    fi
}

# A PostgreSQL that is never analyzed, as on the first minutes of an on-sale. Sets bin and pg_port. Lines of
# postgresql.conf may be in postgres_settings.
start_postgres() {
    bin=$(dirname "$(ls -1 /usr/lib/postgresql/*/bin/postgres | sort -V | tail -1)")
    pg_port=$(free_port)
    mkdir -p "$work/pg"
    chmod 755 "$work"
    [ "$(id -u)" = 0 ] && chown postgres:postgres "$work/pg"
    [ -e "$work/pg/data/PG_VERSION" ] ||
        (cd "$work/pg" && as_postgres "$bin/initdb" -D "$work/pg/data" -U app -A trust --no-sync -E UTF8 --locale=C.UTF-8 >/dev/null)
    cat >>"$work/pg/data/postgresql.conf" <<CONF
port = $pg_port
listen_addresses = '127.0.0.1'
unix_socket_directories = '$work/pg'
max_connections = 200
shared_preload_libraries = 'pg_stat_statements'
autovacuum = off
${postgres_settings:-}
CONF
    (cd "$work/pg" && as_postgres "$bin/pg_ctl" -D "$work/pg/data" -l "$work/pg/log" -w start >/dev/null)
}

sql() { "$bin/psql" -qAt -h 127.0.0.1 -p "$pg_port" -U app "$@"; }

# The peers, on their own database: the reference (sets reference_port) and the tables of pgbench().
start_peers() {
    sql postgres -c 'CREATE DATABASE peer'
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" -q install -r "$peers/fastapi_reference/requirements.txt"
    export DATABASE_URL="postgresql+psycopg2://app@127.0.0.1:$pg_port/peer"
    export REDIS_URL="redis://127.0.0.1:$redis_port/3" PYTHONDONTWRITEBYTECODE=1
    (cd "$peers/fastapi_reference" && "$work/venv/bin/python" app.py 20 50000)
    reference_port=$(free_port)
    (cd "$peers/fastapi_reference" && exec "$work/venv/bin/uvicorn" app:app --workers 2 \
        --port "$reference_port" --log-level warning >"$work/reference.log" 2>&1) &
    pids+=($!)
    sql peer -f "$peers/pgbench/schema.sql" 2>/dev/null
    for _ in $(seq 100); do
        (exec 3<>"/dev/tcp/127.0.0.1/$reference_port") 2>/dev/null && break
        sleep 0.1
    done
}

pgbench() { # transactions per second of a script: first seat, script, clients
    (cd "$peers/pgbench" && as_postgres "$bin/pgbench" -h 127.0.0.1 -p "$pg_port" -U app -n -M prepared \
        -D n=0 -D base="$1" -f "$2" -c "$3" -j 1 -T "$seconds" peer) | sed -n 's/^tps = \([0-9.]*\).*/\1/p'
}

# Sets redis_port.
start_redis() {
    redis_port=$(free_port)
    mkdir -p "$work/redis"
    redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$work/redis" --save '' --daemonize no >/dev/null &
    pids+=($!)
}

# A RabbitMQ node of its own, below its own port mapper. Sets amqp_url.
start_rabbitmq() {
    local amqp_port epmd_port dist_port as=()
    amqp_port=$(free_port) epmd_port=$(free_port) dist_port=$(free_port)
    mkdir -p "$work/rabbitmq"/{mnesia,log,home}
    printf 'listeners.tcp.1 = 127.0.0.1:%s\n' "$amqp_port" >"$work/rabbitmq/rabbitmq.conf"
    if [ "$(id -u)" = 0 ]; then
        chown -R rabbitmq:rabbitmq "$work/rabbitmq"
        as=(setpriv --reuid=rabbitmq --regid=rabbitmq --clear-groups --)
    fi
    (cd "$work/rabbitmq" && exec env HOME="$work/rabbitmq/home" RABBITMQ_NODENAME=bench@localhost \
        RABBITMQ_CONFIG_FILE="$work/rabbitmq/rabbitmq.conf" RABBITMQ_MNESIA_BASE="$work/rabbitmq/mnesia" \
        RABBITMQ_LOG_BASE="$work/rabbitmq/log" RABBITMQ_ENABLED_PLUGINS_FILE="$work/rabbitmq/plugins" \
        RABBITMQ_DIST_PORT="$dist_port" ERL_EPMD_PORT="$epmd_port" ERL_EPMD_ADDRESS=127.0.0.1 \
        RABBITMQ_CONF_ENV_FILE=/dev/null \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+sbwt none +sbwtdcpu none +sbwtdio none" "${as[@]}" /usr/lib/rabbitmq/bin/rabbitmq-server \
        >"$work/rabbitmq.log" 2>&1) &
    pids+=($!)
    for _ in $(seq 600); do
        (exec 3<>"/dev/tcp/127.0.0.1/$amqp_port") 2>/dev/null && break
        sleep 0.1
    done
    amqp_url=amqp://guest:guest@127.0.0.1:$amqp_port/%2f
}

# Starts the service with these variables and waits until it is ready. Sets port, url and service (its pid).
start_service() {
    port=${port:-$(free_port)}
    url=http://127.0.0.1:$port
    mkdir -p "$work/run"
    (cd "$work/run" && exec env -i PATH="$PATH" BIND="127.0.0.1:$port" RUST_LOG=warn "$@" \
        "$seatlock" serve >>"$work/service.log" 2>&1) &
    service=$!
    pids+=("$service")
    for _ in $(seq 100); do
        "$seatlock" healthcheck "$url/readyz" >/dev/null 2>&1 && return
        sleep 0.1
    done
    fail "the service does not start: $(cat "$work/service.log")"
}

stop_service() {
    kill -INT "$service"
    wait "$service" 2>/dev/null || true
}

# Anonymous memory of the service in kB.
resident() { awk '/RssAnon/ { print $2 }' "/proc/$service/status"; }
