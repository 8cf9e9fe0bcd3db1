# What run.sh and scale.sh share: the builds, a throw-away Postgres cluster with durable settings on a free
# port of 127.0.0.1, and the services that are measured. Sourced; OUT is where logs and results go.

# --- what can be set for both, beside what they say themselves ---------------------------------------
AXUM_CONNECTIONS=${AXUM_CONNECTIONS:-16}   # database connections of (b)
NODE_CONNECTIONS=${NODE_CONNECTIONS:-16}   # … and of (c)
NODE_PROCESSES=${NODE_PROCESSES:-1}
PGBENCH_CLIENTS=${PGBENCH_CLIENTS:-32}     # of (a)
LEAN=${LEAN:-0}                            # 1: (c) writes only the event and the order
RANDOM_IDS=${RANDOM_IDS:-0}                # 1: ids that do not begin with the time
PRIME=${PRIME:-1}                          # 0: do not fill the write-ahead log beforehand
# On a real disk: a database in memory would make fsync free.
WORK_PARENT=${WORK_PARENT:-${TMPDIR:-/var/tmp}}

# shellcheck source=../throwaway.sh
source "$root/benches/throwaway.sh"
pg=$(find_postgres initdb pgbench)

ids=by-time
((RANDOM_IDS == 0)) || ids=random

has() { [[ " $CONTESTANTS " == *" $1 "* ]]; }
if has node && ! command -v node >/dev/null; then
    say "node is not installed: peer (c) is left out"
    CONTESTANTS=${CONTESTANTS/node/}
fi

say "building"
load_target=${CARGO_TARGET_DIR:-$here/target}
cargo build --quiet --release --locked --manifest-path "$here/Cargo.toml" --target-dir "$load_target"
load=$load_target/release/paidup-load
paidup=${PAIDUP_BIN:-}
if [[ -z $paidup ]] && { has paidup-postgres || has paidup-sqlite; }; then
    paidup_target=${CARGO_TARGET_DIR:-$root/target}
    cargo build --quiet --release --locked --manifest-path "$root/Cargo.toml" --target-dir "$paidup_target"
    paidup=$paidup_target/release/paidup
fi
if has node && [[ ! $here/node/node_modules/.package-lock.json -nt $here/node/package-lock.json ]]; then
    (cd "$here/node" && npm ci --silent --no-audit --no-fund)
fi

# --- a cluster of our own ------------------------------------------------------------------------
mkdir -p "$OUT"
service=
stop_service() {
    [[ -n $service ]] || return 0
    kill "$service" 2>/dev/null || true
    local tries
    for tries in $(seq 150); do
        kill -0 "$service" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$service" 2>/dev/null || true
    wait "$service" 2>/dev/null || true
    service=
}
stop_all() { stop_service; }
make_folder paidup-load
case $(stat --file-system --format=%T "$work") in
    tmpfs | ramfs) say "warning: $WORK_PARENT is in memory, fsync costs nothing there; set WORK_PARENT" ;;
esac
pg_port=$(free_port)
port=$(free_port)
operator_port=$(free_port)
url=http://127.0.0.1:$port

start_postgres load <<SETTINGS
max_connections = 200
# Durable: what was answered 200 survives the loss of power.
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 512MB
max_wal_size = 4GB
min_wal_size = 4GB
checkpoint_timeout = 15min
SETTINGS

database_url() { printf 'postgres://load@127.0.0.1:%s/%s' "$pg_port" "$1"; }
sql() { PGOPTIONS='-c client_min_messages=warning' "$pg/psql" -X -q -A -t -v ON_ERROR_STOP=1 -d "$(database_url "$1")" -c "$2"; }
fresh_database() {
    sql postgres "drop database if exists load with (force)"
    sql postgres "create database load"
    sql postgres "checkpoint"
}
migrated_database() {
    fresh_database
    DATABASE_URL=$(database_url load) "$paidup" migrate >>"$OUT/paidup.log" 2>&1
}
peer_schema() {
    local file
    for file in "$root"/migrations/postgres/*.sql; do
        "$pg/psql" -X -q -v ON_ERROR_STOP=1 -d "$(database_url load)" -f "$file"
    done
    # The peers know nothing of disputes, and weigh nothing: no index of what is to be weighed for them.
    sql load "alter table order_changes alter amount_disputed set default 0;
              alter table orders alter weighed set default true"
}

# A server that has run for a while writes its log into old files; a new one must make them. So
# make them before the first contestant.
if [[ $PRIME == 1 ]]; then
    say "filling the write-ahead log"
    sql postgres "create table prime as select n, repeat(md5(n::text), 60) as filler from generate_series(1, 1200000) as n"
    sql postgres "drop table prime"
    sql postgres "checkpoint"
fi

# --- the machine ---------------------------------------------------------------------------------
setting() { sql postgres "show $1"; }
fsync_line=$("$pg/pg_test_fsync" -s 1 -f "$work/fsync" 2>/dev/null |
    awk -v method="$(setting wal_sync_method)" '$1 == method && !seen++ { $1 = ""; print }' || true)
machine() {
    echo "Processor:$(awk -F: '/model name/ && !seen++ { print $2 }' /proc/cpuinfo), $(nproc) cores, shared by the load, the service and Postgres"
    echo "Memory: $(awk '/MemTotal/ { printf "%.1f GiB", $2 / 1048576 }' /proc/meminfo), Linux $(uname -r), disk $(stat --file-system --format=%T "$work")"
    echo "Busy before the run (load average, 1 min): $(cut -d' ' -f1 /proc/loadavg)"
    echo "PostgreSQL $(setting server_version): fsync $(setting fsync), synchronous_commit $(setting synchronous_commit), full_page_writes $(setting full_page_writes), wal_sync_method $(setting wal_sync_method), shared_buffers $(setting shared_buffers), max_wal_size $(setting max_wal_size)"
    echo "One 8 KB write and sync by pg_test_fsync:${fsync_line:- unknown}"
    echo "$(rustc --version 2>/dev/null || echo 'rustc: unknown'); node $(node --version 2>/dev/null || echo 'not installed')"
    [[ -z $paidup ]] || "$paidup" --version
}

# --- contestants ---------------------------------------------------------------------------------
export STRIPE_WEBHOOK_SECRET=whsec_load_0123456789abcdefghijklmnopqrstuv
# As the events of the load are.
export STRIPE_MODE=live

# measure NAME EVENTS_PER_SECOND_MAX SEED WHERE…: the service in $service is sent the load. `sending` holds
# further options of `send`.
sending=()
measure() {
    local name=$1 most=$2 seed=$3
    shift 3
    "$load" wait --url "$url/readyz" --seconds 30
    timeout $((DURATION + 240)) "$load" send --url "$url/webhook/stripe" --contestant "$name" \
        --events $((WARMUP + most * DURATION)) --warmup "$WARMUP" --seconds "$DURATION" \
        --connections "$CONNECTIONS" --seed "$seed" --ids "$ids" --pid "$service" \
        --results "$OUT/runs.jsonl" "${sending[@]}" "$@" >&2
    stop_service
}

# serve_postgres PORT OPERATOR_PORT: starts one more paidup on the database; $! is it.
serve_postgres() {
    DATABASE_URL=$(database_url load) LISTEN=127.0.0.1:$1 OPERATOR_LISTEN=127.0.0.1:$2 \
        "$paidup" serve >>"$OUT/paidup.log" 2>&1 &
}
measure_postgres() { # SEED
    serve_postgres "$port" "$operator_port"
    service=$!
    measure paidup-postgres "$PAIDUP_EVENTS_PER_SECOND_MAX" "$1" --postgres "$(database_url load)"
}
run_paidup_postgres() {
    migrated_database
    measure_postgres "$1"
}
run_paidup_sqlite() {
    rm -f "$work"/paidup.db*
    DATABASE_URL=sqlite://$work/paidup.db LISTEN=127.0.0.1:$port OPERATOR_LISTEN=127.0.0.1:$operator_port \
        "$paidup" serve >>"$OUT/paidup.log" 2>&1 &
    service=$!
    measure paidup-sqlite "$PAIDUP_EVENTS_PER_SECOND_MAX" "$1" --sqlite "$work/paidup.db"
    rm -f "$work"/paidup.db*
}
run_axum_plain() {
    fresh_database
    peer_schema
    DATABASE_URL=$(database_url load) LISTEN=127.0.0.1:$port DATABASE_CONNECTIONS=$AXUM_CONNECTIONS \
        "$load_target/release/axum-plain" >>"$OUT/axum-plain.log" 2>&1 &
    service=$!
    measure axum-plain "$PEER_EVENTS_PER_SECOND_MAX" "$1" --postgres "$(database_url load)"
}
run_node() {
    fresh_database
    peer_schema
    DATABASE_URL=$(database_url load) LISTEN=127.0.0.1:$port DATABASE_CONNECTIONS=$NODE_CONNECTIONS \
        PROCESSES=$NODE_PROCESSES LEAN=$LEAN NODE_ENV=production \
        node "$here/node/server.js" >>"$OUT/node.log" 2>&1 &
    service=$!
    measure node "$PEER_EVENTS_PER_SECOND_MAX" "$1" --postgres "$(database_url load)"
}
# run_pgbench SEED [OPTION…]: options of `paidup-load pgbench`.
run_pgbench() {
    local seed=$1
    shift
    fresh_database
    peer_schema
    local from body flags
    from=$("$load" place --postgres "$(database_url load)")
    body=$("$load" print --seed "$seed")
    rm -rf "$work/pgbench"
    mkdir "$work/pgbench"
    flags=(-n -M prepared -c "$PGBENCH_CLIENTS" -j $((PGBENCH_CLIENTS > 1 ? 2 : 1)) -f "$here/pgbench.sql"
        "--define=body=$body" --define=made=0 --define="random_ids=$RANDOM_IDS")
    "$pg/pgbench" "${flags[@]}" -T 2 "$(database_url load)" >"$work/pgbench/warmup" 2>>"$OUT/pgbench.log"
    timeout $((DURATION + 120)) "$pg/pgbench" "${flags[@]}" -T "$DURATION" --log --log-prefix="$work/pgbench/log" \
        "$(database_url load)" >"$work/pgbench/output" 2>>"$OUT/pgbench.log"
    "$load" pgbench --output "$work/pgbench/output" --warmup-output "$work/pgbench/warmup" \
        --log-prefix "$work/pgbench/log" --from "$from" --postgres "$(database_url load)" \
        --results "$OUT/runs.jsonl" "$@" >>"$OUT/pgbench.log"
    tail -n 1 "$work/pgbench/output" >&2
}
