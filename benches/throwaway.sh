# A throw-away Postgres on a free port of 127.0.0.1, in a folder that is removed at the end, for the
# benchmarks. Sourced, with WORK_PARENT set; `stop_all` is to end what the script itself has started.

say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
die() { say "$*"; exit 1; }

# find_postgres PROGRAM…: the directory that has all of them.
find_postgres() {
    local candidate program
    for candidate in "${PG_BIN:-}" "$(pg_config --bindir 2>/dev/null || true)" \
        $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) \
        "$(dirname "$(command -v initdb 2>/dev/null || echo /nowhere/initdb)")"; do
        for program in "$@"; do [[ -n $candidate && -x $candidate/$program ]] || continue 2; done
        printf '%s\n' "$candidate"
        return
    done
    die "no PostgreSQL server binaries found; set PG_BIN to the directory of $*"
}

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
# make_folder NAME: $work, for the cluster and whatever else.
make_folder() {
    work=$(mktemp -d "$WORK_PARENT/$1.XXXXXX")
    chmod 755 "$work"
    as_postgres=()
    mkdir "$work/pg"
    if [[ $(id -u) == 0 ]]; then
        # The server refuses to run as root.
        as_postgres=(runuser -u postgres --)
        chown postgres: "$work/pg"
    fi
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}
clean_up() {
    local status=$?
    trap - EXIT
    stop_all
    if [[ -f $work/pg/data/postmaster.pid ]]; then
        (cd / && "${as_postgres[@]}" "$pg/pg_ctl" -D "$work/pg/data" -m immediate -w stop >/dev/null 2>&1) || true
    fi
    rm -rf "$work"
    exit "$status"
}

# start_postgres USER: on $pg_port, with further settings from the standard input. Its programs are in $pg.
start_postgres() {
    say "starting Postgres"
    (cd / && "${as_postgres[@]}" "$pg/initdb" -D "$work/pg/data" -U "$1" -A trust -E UTF8 --locale=C >/dev/null)
    cat - <(printf "listen_addresses = '127.0.0.1'\nport = %s\nunix_socket_directories = ''\n" "$pg_port") |
        (cd / && "${as_postgres[@]}" tee -a "$work/pg/data/postgresql.conf" >/dev/null)
    (cd / && "${as_postgres[@]}" "$pg/pg_ctl" -D "$work/pg/data" -l "$work/pg/log" -w start >/dev/null)
}
