#!/usr/bin/env bash
# The whole comparison in one run: paidup on Postgres and on SQLite, and beside it (a) pgbench,
# (b) an axum handler with a transaction for each event, (c) the usual Node handler; all on one
# throw-away Postgres cluster with durable settings, interleaved, repeated, the medians in one table.
# README.md beside this says what the numbers mean. Nothing but 127.0.0.1 is used.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

# --- what can be set -----------------------------------------------------------------------------
ROUNDS=${ROUNDS:-3}
DURATION=${DURATION:-15}                   # seconds of each measured run
WARMUP=${WARMUP:-5000}                     # events before them, not measured
CONNECTIONS=${CONNECTIONS:-256}
CONTESTANTS=${CONTESTANTS:-"paidup-postgres paidup-sqlite pgbench axum-plain node"}
AXUM_CONNECTIONS=${AXUM_CONNECTIONS:-16}   # database connections of (b)
NODE_CONNECTIONS=${NODE_CONNECTIONS:-16}   # … and of (c)
NODE_PROCESSES=${NODE_PROCESSES:-1}
LEAN=${LEAN:-0}                            # 1: (c) writes only the event and the order
MIX=${MIX:-0}                              # 1: several kinds of event, duplicates, refunds
STARTS=${STARTS:-10}                       # how often the start is timed; 0: not at all
PRIME=${PRIME:-1}                          # 0: do not fill the write-ahead log beforehand
OUT=${OUT:-$here/results/$(date -u +%Y%m%dT%H%M%SZ)}
# On a real disk: a database in memory would make fsync free.
WORK_PARENT=${WORK_PARENT:-${TMPDIR:-/var/tmp}}
# More than any contestant can send in the time, so that none runs out.
PAIDUP_EVENTS_PER_SECOND_MAX=45000
PEER_EVENTS_PER_SECOND_MAX=12000

say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
die() { say "$*"; exit 1; }

# --- what must be there --------------------------------------------------------------------------
find_postgres() {
    local candidate
    for candidate in "${PG_BIN:-}" "$(pg_config --bindir 2>/dev/null || true)" \
        $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) \
        "$(dirname "$(command -v initdb 2>/dev/null || echo /nowhere/initdb)")"; do
        if [[ -n $candidate && -x $candidate/initdb && -x $candidate/pgbench ]]; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    die "no PostgreSQL server binaries found; set PG_BIN to the directory of initdb and pgbench"
}
pg=$(find_postgres)

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
work=$(mktemp -d "$WORK_PARENT/paidup-load.XXXXXX")
chmod 755 "$work"
case $(stat --file-system --format=%T "$work") in
    tmpfs | ramfs) say "warning: $WORK_PARENT is in memory, fsync costs nothing there; set WORK_PARENT" ;;
esac
as_postgres=()
service=
mkdir "$work/pg"
if [[ $(id -u) == 0 ]]; then
    # The server refuses to run as root.
    as_postgres=(runuser -u postgres --)
    chown postgres: "$work/pg"
fi

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
clean_up() {
    local status=$?
    trap - EXIT
    stop_service
    if [[ -f $work/pg/data/postmaster.pid ]]; then
        (cd / && "${as_postgres[@]}" "$pg/pg_ctl" -D "$work/pg/data" -m immediate -w stop >/dev/null 2>&1) || true
    fi
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

free_port() {
    local tries port
    for tries in $(seq 100); do
        port=$((20000 + RANDOM % 10000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s\n' "$port"
            return
        fi
    done
    die "no free port"
}
pg_port=$(free_port)
port=$(free_port)
operator_port=$(free_port)
url=http://127.0.0.1:$port

say "starting Postgres"
(cd / && "${as_postgres[@]}" "$pg/initdb" -D "$work/pg/data" -U load -A trust -E UTF8 --locale=C >"$OUT/initdb.log")
cat >"$work/settings" <<SETTINGS
listen_addresses = '127.0.0.1'
port = $pg_port
unix_socket_directories = ''
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
cat "$work/settings" | (cd / && "${as_postgres[@]}" tee -a "$work/pg/data/postgresql.conf" >/dev/null)
(cd / && "${as_postgres[@]}" "$pg/pg_ctl" -D "$work/pg/data" -l "$work/pg/log" -w start >/dev/null)

database_url() { printf 'postgres://load@127.0.0.1:%s/%s' "$pg_port" "$1"; }
sql() { PGOPTIONS='-c client_min_messages=warning' "$pg/psql" -X -q -A -t -v ON_ERROR_STOP=1 -d "$(database_url "$1")" -c "$2"; }
fresh_database() {
    sql postgres "drop database if exists load with (force)"
    sql postgres "create database load"
    sql postgres "checkpoint"
}
peer_schema() {
    local file
    for file in "$root"/migrations/postgres/*.sql; do
        "$pg/psql" -X -q -v ON_ERROR_STOP=1 -d "$(database_url load)" -f "$file"
    done
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
{
    echo "Processor:$(awk -F: '/model name/ && !seen++ { print $2 }' /proc/cpuinfo), $(nproc) cores, shared by the load, the service and Postgres"
    echo "Memory: $(awk '/MemTotal/ { printf "%.1f GiB", $2 / 1048576 }' /proc/meminfo), Linux $(uname -r), disk $(stat --file-system --format=%T "$work")"
    echo "Busy before the run (load average, 1 min): $(cut -d' ' -f1 /proc/loadavg)"
    echo "PostgreSQL $(setting server_version): fsync $(setting fsync), synchronous_commit $(setting synchronous_commit), full_page_writes $(setting full_page_writes), wal_sync_method $(setting wal_sync_method), shared_buffers $(setting shared_buffers), max_wal_size $(setting max_wal_size)"
    echo "One 8 KB write and sync by pg_test_fsync:${fsync_line:- unknown}"
    echo "$(rustc --version 2>/dev/null || echo 'rustc: unknown'); node $(node --version 2>/dev/null || echo 'not installed')"
    [[ -n $paidup ]] && "$paidup" --version
    echo "$ROUNDS rounds of $DURATION s each after $WARMUP events of warm-up; $CONNECTIONS connections; mix: $MIX; LEAN: $LEAN; database connections: axum-plain $AXUM_CONNECTIONS, node $NODE_CONNECTIONS in $NODE_PROCESSES process(es), pgbench 32"
} >"$OUT/facts.txt"

# --- contestants ---------------------------------------------------------------------------------
export STRIPE_WEBHOOK_SECRET=whsec_load_0123456789abcdefghijklmnopqrstuv
mix=()
[[ $MIX == 1 ]] && mix=(--mix)

# measure NAME EVENTS_PER_SECOND_MAX SEED WHERE…: the service in $service is sent the load.
measure() {
    local name=$1 most=$2 seed=$3
    shift 3
    "$load" wait --url "$url/readyz" --seconds 30
    timeout $((DURATION + 240)) "$load" send --url "$url/webhook/stripe" --contestant "$name" \
        --events $((WARMUP + most * DURATION)) --warmup "$WARMUP" --seconds "$DURATION" \
        --connections "$CONNECTIONS" --seed "$seed" --pid "$service" \
        --results "$OUT/runs.jsonl" "${mix[@]}" "$@" >&2
    stop_service
}

run_paidup_postgres() {
    fresh_database
    DATABASE_URL=$(database_url load) "$paidup" migrate >>"$OUT/paidup.log" 2>&1
    DATABASE_URL=$(database_url load) LISTEN=127.0.0.1:$port OPERATOR_LISTEN=127.0.0.1:$operator_port \
        "$paidup" serve >>"$OUT/paidup.log" 2>&1 &
    service=$!
    measure paidup-postgres "$PAIDUP_EVENTS_PER_SECOND_MAX" "$1" --postgres "$(database_url load)"
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
run_pgbench() {
    fresh_database
    peer_schema
    local from body flags
    from=$("$load" place --postgres "$(database_url load)")
    body=$("$load" print --seed "$1")
    rm -rf "$work/pgbench"
    mkdir "$work/pgbench"
    flags=(-n -M prepared -c 32 -j 2 -f "$here/pgbench.sql" "--define=body=$body")
    "$pg/pgbench" "${flags[@]}" -T 2 "$(database_url load)" >"$work/pgbench/warmup" 2>>"$OUT/pgbench.log"
    timeout $((DURATION + 120)) "$pg/pgbench" "${flags[@]}" -T "$DURATION" --log --log-prefix="$work/pgbench/log" \
        "$(database_url load)" >"$work/pgbench/output" 2>>"$OUT/pgbench.log"
    "$load" pgbench --output "$work/pgbench/output" --warmup-output "$work/pgbench/warmup" \
        --log-prefix "$work/pgbench/log" --from "$from" --postgres "$(database_url load)" \
        --results "$OUT/runs.jsonl" >>"$OUT/pgbench.log"
    tail -n 1 "$work/pgbench/output" >&2
}
run_start() { # NAME URL
    DATABASE_URL=$2 "$paidup" migrate >>"$OUT/paidup.log" 2>&1
    DATABASE_URL=$2 LISTEN=127.0.0.1:$port OPERATOR_LISTEN=127.0.0.1:$operator_port \
        "$load" start --label "$1" --ready "$url/readyz" --times "$STARTS" -- "$paidup" serve \
        >"$OUT/start-$1.json" 2>>"$OUT/paidup.log"
}

# --- the run -------------------------------------------------------------------------------------
starts=()
if ((STARTS > 0)); then
    if has paidup-postgres; then
        say "timing the start, Postgres"
        fresh_database
        run_start paidup-postgres "$(database_url load)"
        starts+=(--starts "$OUT/start-paidup-postgres.json")
    fi
    if has paidup-sqlite; then
        say "timing the start, SQLite"
        run_start paidup-sqlite "sqlite://$work/paidup.db"
        starts+=(--starts "$OUT/start-paidup-sqlite.json")
    fi
fi

read -r -a contestants <<<"$CONTESTANTS"
for ((round = 1; round <= ROUNDS; round++)); do
    # Another one goes first each round.
    for ((place = 0; place < ${#contestants[@]}; place++)); do
        contestant=${contestants[(place + round - 1) % ${#contestants[@]}]}
        say "round $round of $ROUNDS: $contestant"
        case $contestant in
            paidup-postgres) run_paidup_postgres "$round" ;;
            paidup-sqlite) run_paidup_sqlite "$round" ;;
            pgbench) run_pgbench "$round" ;;
            axum-plain) run_axum_plain "$round" ;;
            node) run_node "$round" ;;
            *) die "no such contestant: $contestant" ;;
        esac
    done
done

"$load" report --results "$OUT/runs.jsonl" --facts "$OUT/facts.txt" "${starts[@]}" \
    --markdown "$OUT/table.md" --json "$OUT/table.json" | tee "$OUT/table.txt"
say "written to $OUT"
