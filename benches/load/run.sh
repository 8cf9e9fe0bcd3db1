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
MIX=${MIX:-0}                              # 1: several kinds of event, duplicates, refunds
STARTS=${STARTS:-10}                       # how often the start is timed; 0: not at all
OUT=${OUT:-$here/results/$(date -u +%Y%m%dT%H%M%SZ)}
# More than any contestant can send in the time, so that none runs out.
PAIDUP_EVENTS_PER_SECOND_MAX=45000
PEER_EVENTS_PER_SECOND_MAX=12000

# shellcheck source=common.sh
source "$here/common.sh"

{
    machine
    echo "$ROUNDS rounds of $DURATION s each after $WARMUP events of warm-up; $CONNECTIONS connections; mix: $MIX; ids: $ids; LEAN: $LEAN; database connections: axum-plain $AXUM_CONNECTIONS, node $NODE_CONNECTIONS in $NODE_PROCESSES process(es), pgbench $PGBENCH_CLIENTS"
} >"$OUT/facts.txt"

[[ $MIX == 1 ]] && sending=(--mix)

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
