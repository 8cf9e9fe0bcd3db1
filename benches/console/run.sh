#!/usr/bin/env bash
# What the console costs: its pages on many events and orders, with the plans that Postgres made for them,
# and how much the writer slows down while it is open. On a throw-away, durable Postgres of its own; nothing
# but 127.0.0.1 is used.
#
#     ORDERS=1000000 benches/console/run.sh        ten times as many events; about 8 GB of disk
#     LOAD=path/to/paidup-load PAIDUP_BIN=path/to/paidup …      instead of building them
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

ORDERS=${ORDERS:-100000}
REQUESTS=${REQUESTS:-100}      # of each page, after ten that are not measured
ROUNDS=${ROUNDS:-5}            # pairs of runs, the console closed and open; 0: none
DURATION=${DURATION:-10}       # seconds of each run
CONNECTIONS=${CONNECTIONS:-256}
TABS=${TABS:-3}                # overviews that are open
OUT=${OUT:-$here/results/$(date -u +%Y%m%dT%H%M%SZ)}
WORK_PARENT=${WORK_PARENT:-${TMPDIR:-/var/tmp}}
export STRIPE_WEBHOOK_SECRET=whsec_load_0123456789abcdefghijklmnopqrstuv
# As the events of the load are.
export STRIPE_MODE=live
token=0123456789abcdef0123456789abcdef

# shellcheck source=../throwaway.sh
source "$here/../throwaway.sh"
pg=$(find_postgres initdb)
paidup=${PAIDUP_BIN:-}
if [[ -z $paidup ]]; then
    cargo build --quiet --release --locked --manifest-path "$root/Cargo.toml"
    paidup=${CARGO_TARGET_DIR:-$root/target}/release/paidup
fi
load=${LOAD:-}
if [[ -z $load && $ROUNDS -gt 0 ]]; then
    cargo build --quiet --release --locked --manifest-path "$root/benches/load/Cargo.toml"
    load=${CARGO_TARGET_DIR:-$root/benches/load/target}/release/paidup-load
fi

mkdir -p "$OUT"
service=
tabs=()
close_tabs() {
    for tab in "${tabs[@]}"; do kill -- "-$tab" 2>/dev/null || true; done
    tabs=()
}
stop_all() {
    close_tabs
    [[ -z $service ]] || { kill "$service" && wait "$service"; } 2>/dev/null || true
}
make_folder paidup-console

pg_port=$(free_port) port=$(free_port) operator_port=$(free_port)
url=http://127.0.0.1:$port console=http://127.0.0.1:$operator_port/console
export DATABASE_URL=postgres://bench@127.0.0.1:$pg_port/postgres

start_postgres bench <<SETTINGS
shared_buffers = 1GB
max_wal_size = 4GB
session_preload_libraries = 'auto_explain'
auto_explain.log_min_duration = -1
auto_explain.log_analyze = on
auto_explain.log_buffers = on
SETTINGS
sql() { "$pg/psql" -X -q -A -t -v ON_ERROR_STOP=1 -d "$DATABASE_URL" "$@"; }

"$paidup" migrate >/dev/null
say "filling $ORDERS orders"
sql -v orders="$ORDERS" -f "$here/fill.sql"

start() {
    LISTEN=127.0.0.1:$port OPERATOR_LISTEN=127.0.0.1:$operator_port ADMIN_TOKEN=$token RUST_LOG=warn \
        "$paidup" serve >/dev/null 2>>"$OUT/paidup.log" &
    service=$!
    until curl -sf "$url/readyz" >/dev/null; do sleep 0.1; done
    cookie=$(curl -s -o /dev/null -D - -d "token=$token" "$console/login" | sed -n 's/^set-cookie: \([^;]*\).*/\1/Ip')
}
stop() { kill "$service" && wait "$service"; service=; }

middle=$((ORDERS / 2 + 1))
pages=(
    "overview" ""
    "orders, newest" "/orders"
    "orders, paid" "/orders?status=paid"
    "orders with any problem" "/orders?problem=any"
    "search by order id" "/orders?q=ORDER$middle"
    "search by PaymentIntent" "/orders?q=pi_$middle"
    "search by charge" "/orders?q=ch_$middle"
    "search by Checkout Session" "/orders?q=cs_$middle"
    "search by address" "/orders?q=customer$middle@example.com"
    "search, nothing there" "/orders?q=nothing"
    "events, newest" "/events"
    "events, parked" "/events?outcome=parked"
    "events of a type" "/events?type=charge.refunded"
    "notifications, dead" "/notifications?status=dead"
)
say "asking for pages"
start
{
    printf '%s orders, %s events; %s requests each, in milliseconds\n\n' "$ORDERS" "$((ORDERS * 10))" "$REQUESTS"
    printf '| page | median | p99 |\n| --- | --- | --- |\n'
    # The first overview begins a count of all orders, which is not to stand beside what is measured.
    curl -s -o /dev/null -b "$cookie" "$console"
    until curl -s -b "$cookie" "$console" | grep -q 'As of'; do sleep 0.2; done
    for ((place = 0; place < ${#pages[@]}; place += 2)); do
        addresses=()
        for ((count = -10; count < REQUESTS; count++)); do addresses+=("$console${pages[place + 1]}"); done
        curl -s -b "$cookie" -w '%{stderr}%{time_starttransfer} %{http_code}\n' "${addresses[@]}" 2>"$work/times" >/dev/null
        if grep -vqE ' (200|303)$' "$work/times"; then say "${pages[place]} is not there"; exit 1; fi
        tail -n +11 "$work/times" | sort -n | awk -v name="${pages[place]}" \
            '{ all[NR] = $1 * 1000 } END { printf "| %s | %.1f | %.1f |\n", name, all[int((NR + 1) / 2)], all[int(NR * 0.99)] }'
    done
} | tee "$OUT/pages.md"
stop

say "plans"
sql -c "alter system set auto_explain.log_min_duration = 0" -c "select pg_reload_conf()" >/dev/null
start
: >"$work/pg/plans"
from=$(wc -c <"$work/pg/log")
for ((place = 0; place < ${#pages[@]}; place += 2)); do
    curl -s -o /dev/null -b "$cookie" "$console${pages[place + 1]}"
done
until tail -c "+$from" "$work/pg/log" | grep -q 'from orders'; do sleep 0.2; done
sleep 2 # for the count of all orders
tail -c "+$from" "$work/pg/log" >"$OUT/plans.txt"
stop
sql -c "alter system reset auto_explain.log_min_duration" -c "select pg_reload_conf()" >/dev/null

# What a browser does with an overview: hears of a change, asks anew, and not again for two seconds.
open_tab() {
    set -m
    (
        curl -sN -b "$cookie" "$console/live" | while read -r line; do
            [[ $line == "event: changed"* ]] || continue
            now=$(date +%s%N)
            ((now - ${last:-0} >= 2000000000)) || continue
            last=$now
            curl -s -o /dev/null -b "$cookie" "$console"
        done
    ) &
    tabs+=($!)
    set +m
}
run() { # NAME SEED
    start
    if [[ $1 == open ]]; then for ((tab = 0; tab < TABS; tab++)); do open_tab; done; fi
    "$load" send --url "$url/webhook/stripe" --contestant "$1" --events $((2000 + 45000 * DURATION)) --warmup 2000 \
        --seconds "$DURATION" --connections "$CONNECTIONS" --seed "$2" --pid "$service" \
        --results "$OUT/runs.jsonl" >/dev/null 2>&1
    close_tabs
    stop
    sql -c checkpoint
}
for ((round = 1; round <= ROUNDS; round++)); do
    say "round $round of $ROUNDS"
    # Another one goes first each round.
    if ((round % 2)); then run closed "1$round"; run open "2$round"; else run open "2$round"; run closed "1$round"; fi
done
say "written to $OUT"
