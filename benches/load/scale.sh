#!/usr/bin/env bash
# How paidup's rate, latency and memory go with the number of connections, the events that come a second,
# the size of bodies, the orders that are there already, and the processes that share one Postgres: one
# sweep each, on a throw-away cluster with durable settings. Writes a table and a drawing for each sweep;
# the peers run beside it where connections are varied. docs/internals/performance.md has what came out. Nothing but
# 127.0.0.1 is used.
#
#     benches/load/scale.sh [connections] [rates] [bodies] [orders] [processes]      (none: all of them)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

# --- what can be set -----------------------------------------------------------------------------
ROUNDS=${ROUNDS:-1}
DURATION=${DURATION:-5}                    # seconds of each measured run
WARMUP=${WARMUP:-2000}                     # events before them, not measured
SWEEP_CONNECTIONS=${SWEEP_CONNECTIONS:-"1 4 16 64 256 1000 2000"}
SWEEP_CONTESTANTS=${SWEEP_CONTESTANTS:-"paidup-postgres paidup-sqlite pgbench axum-plain node"}
SWEEP_RATES=${SWEEP_RATES:-"500 1000 2000 3000 4000 5000"}   # events that are due a second
SWEEP_BODY_KIB=${SWEEP_BODY_KIB:-"1 2 4 16 64 256"}
SWEEP_ORDERS=${SWEEP_ORDERS:-"1000 10000 100000 1000000 10000000"}   # the last: 12 GB, minutes to fill
SWEEP_PROCESSES=${SWEEP_PROCESSES:-"1 2 3"}
# Drawings go here; docs/images is where docs/internals/performance.md looks.
OUT=${OUT:-$here/results/scale-$(date -u +%Y%m%dT%H%M%SZ)}
IMAGES=${IMAGES:-$OUT}
PAIDUP_EVENTS_PER_SECOND_MAX=${PAIDUP_EVENTS_PER_SECOND_MAX:-20000}
PEER_EVENTS_PER_SECOND_MAX=8000
PGBENCH_CLIENTS_MAX=64                      # each is a session of the server
CONTESTANTS=$SWEEP_CONTESTANTS
# Signed before they are sent, so in memory.
BODY_BYTES_IN_ALL=1500000000

# shellcheck source=common.sh
source "$here/common.sh"
machine >"$OUT/facts.txt"

# sweep NAME AXIS: makes the table and the drawing of what was just measured.
sweep() {
    mv "$OUT/runs.jsonl" "$OUT/$1.jsonl"
    "$load" scale --results "$OUT/$1.jsonl" --x "$2" --svg "$IMAGES/scale-$1.svg" | tee "$OUT/$1.md"
}

connections() {
    local round contestant
    for ((round = 1; round <= ROUNDS; round++)); do
        for CONNECTIONS in $SWEEP_CONNECTIONS; do
            for contestant in $SWEEP_CONTESTANTS; do
                say "$CONNECTIONS connections: $contestant"
                sending=(--x "$CONNECTIONS")
                if [[ $contestant != pgbench ]]; then
                    "run_${contestant//-/_}" "$round"
                elif ((CONNECTIONS <= PGBENCH_CLIENTS_MAX)); then
                    PGBENCH_CLIENTS=$CONNECTIONS run_pgbench "$round" "${sending[@]}"
                fi
            done
        done
    done
    sweep connections connections
}

rates() {
    local round rate
    CONNECTIONS=256
    for ((round = 1; round <= ROUNDS; round++)); do
        for rate in $SWEEP_RATES; do
            say "$rate events a second"
            sending=(--x "$rate" --rate "$rate")
            run_paidup_postgres "$round"
        done
    done
    sweep rates "events due a second"
}

bodies() {
    local round kib most_as_set=$PAIDUP_EVENTS_PER_SECOND_MAX
    CONNECTIONS=64
    for ((round = 1; round <= ROUNDS; round++)); do
        for kib in $SWEEP_BODY_KIB; do
            say "bodies of $kib KiB"
            sending=(--x "$kib" --body-bytes $((kib * 1024)))
            PAIDUP_EVENTS_PER_SECOND_MAX=$((BODY_BYTES_IN_ALL / (kib * 1024) / DURATION))
            ((PAIDUP_EVENTS_PER_SECOND_MAX < most_as_set)) || PAIDUP_EVENTS_PER_SECOND_MAX=$most_as_set
            WARMUP=200 run_paidup_postgres "$round"
            WARMUP=200 run_paidup_sqlite "$round"
        done
    done
    PAIDUP_EVENTS_PER_SECOND_MAX=$most_as_set
    sweep bodies "KiB a body"
}

orders() {
    local round count
    CONNECTIONS=256
    for count in $SWEEP_ORDERS; do
        say "filling in $count orders"
        migrated_database
        "$pg/psql" -X -q -v ON_ERROR_STOP=1 -v "orders=$count" -d "$(database_url load)" -f "$here/fill.sql"
        sql postgres checkpoint
        for ((round = 1; round <= ROUNDS; round++)); do
            say "over $count orders"
            sending=(--x "$count")
            measure_postgres "$round"
        done
    done
    sweep orders "orders there before"
}

processes() {
    local round count number others others_port
    CONNECTIONS=256
    for ((round = 1; round <= ROUNDS; round++)); do
        for count in $SWEEP_PROCESSES; do
            say "$count processes on one Postgres"
            migrated_database
            sending=(--x "$count")
            others=()
            for ((number = 2; number <= count; number++)); do
                others_port=$(free_port)
                serve_postgres "$others_port" "$(free_port)"
                others+=($!)
                "$load" wait --url "http://127.0.0.1:$others_port/readyz" --seconds 30
                sending+=(--url "http://127.0.0.1:$others_port/webhook/stripe")
            done
            measure_postgres "$round"
            ((count == 1)) || kill "${others[@]}"
            ((count == 1)) || wait "${others[@]}" || true
        done
    done
    sweep processes "processes"
}

for what in "${@:-}"; do
    case $what in
        '') connections; rates; bodies; orders; processes ;;
        connections | rates | bodies | orders | processes) "$what" ;;
        *) die "no such sweep: $what; there are connections, rates, bodies, orders and processes" ;;
    esac
done
cat "$OUT/facts.txt"
say "written to $OUT and $IMAGES"
