#!/usr/bin/env bash
# Passes every check and test of paidup on a fresh machine: format, lints, and all tests on both databases.
#
#     ./test.sh                          everything, the short form of the trials and of fuzzing too
#     ./test.sh --test it signature      what follows goes to `cargo test`
#     ./test.sh trials                   the short form of every trial (docs/internals/testing.md)
#     ./test.sh trials kill --long       the long form of one, with a release build
#     ./test.sh trials --list            which there are
#     ./test.sh fuzz                     each fuzz target for 20 s (docs/internals/testing.md)
#     ./test.sh fuzz fold --long         one for 10 minutes
#
# The tests make databases of their own on a Postgres server. That is the one TEST_DATABASE_URL names
# (a user who may create databases); without it, a throw-away server that this script starts and removes.
# Python, with the packages of tests/it/peers in a folder of this run's own, is the other side of
# notifications and of signatures; PAIDUP_TEST_PYTHON names one that has them already.
# Chromium, its chromedriver and axe-core are for the console; PAIDUP_TEST_AXE names an axe.min.js.
# What the machine lacks is installed where that is possible (root on Debian or Ubuntu), else named.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"

scratch=""   # the throw-away server's directory, once there is one
peers=""     # the Python environment's directory, once there is one
axe=""       # axe-core's directory, once there is one
fuzzed=""    # where fuzzing has its databases, once there is one
pg_bin=""    # where its programs are
target=${CARGO_TARGET_DIR:-$PWD/target}   # of every package
child=""     # the process group of the running step

say() { printf '\n== %s\n' "$*" >&2; }

die() {
    printf '\ntest.sh: %s\n' "$1" >&2
    shift
    if (($#)); then printf '  %s\n' "$@" >&2; fi
    exit 1
}

cleanup() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    if [[ -n $child ]]; then
        kill -TERM -- "-$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    if [[ -n $scratch ]]; then
        stop_postgres
        rm -rf "$scratch"
    fi
    if [[ -n $peers ]]; then rm -rf "$peers"; fi
    if [[ -n $axe ]]; then rm -rf "$axe"; fi
    if [[ -n $fuzzed ]]; then rm -rf "$fuzzed"; fi
    exit "$status"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs one step in a process group of its own, so that a signal to this script ends all of it at once.
step() {
    say "$*"
    set -m
    "$@" </dev/null &
    child=$!
    set +m
    local status=0
    wait "$child" || status=$?
    child=""
    return "$status"
}

# apt_install PACKAGE…: false where this script may not install packages.
apt_install() {
    ((EUID == 0)) && command -v apt-get >/dev/null || return 1
    say "apt-get install $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq -o Dpkg::Options::=--force-confold "$@"
}

# ---- what is needed to build -------------------------------------------------------------------

need_compiler() {
    command -v cc >/dev/null && return
    apt_install build-essential ||
        die "no C compiler: SQLite and the TLS library are built from C." \
            "Debian, Ubuntu: apt-get install build-essential" \
            "Fedora:         dnf install gcc" \
            "macOS:          xcode-select --install"
}

need_cargo() {
    if ! command -v cargo >/dev/null && [[ -x ${CARGO_HOME:-${HOME:-}/.cargo}/bin/cargo ]]; then
        PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    fi
    command -v cargo >/dev/null ||
        die "no cargo: get Rust from https://rustup.rs, then run this again."
    if ! cargo fmt --version &>/dev/null || ! cargo clippy --version &>/dev/null; then
        if command -v rustup >/dev/null; then rustup component add rustfmt clippy || true; fi
        cargo fmt --version &>/dev/null && cargo clippy --version &>/dev/null ||
            die "cargo lacks rustfmt or clippy: rustup component add rustfmt clippy"
    fi
}

# ---- Postgres ----------------------------------------------------------------------------------

# Sets pg_bin to the directory of a server's programs: the one on PATH, else the newest installed.
find_postgres() {
    local dir
    local -a places=()
    # Where a link on PATH leads is first: beside the link not all of the programs need be.
    if dir=$(command -v pg_ctl); then
        places+=("$(dirname "$(readlink -f "$dir" || echo "$dir")")" "$(dirname "$dir")")
    fi
    while IFS= read -r dir; do places+=("$dir"); done < <(
        printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -rV
        printf '%s\n' /usr/local/pgsql/bin
        printf '%s\n' {/opt/homebrew,/usr/local,/home/linuxbrew/.linuxbrew}/opt/postgresql@*/bin | sort -rV
        printf '%s\n' {/opt/homebrew,/usr/local,/home/linuxbrew/.linuxbrew}/opt/postgresql/bin
        printf '%s\n' /Applications/Postgres.app/Contents/Versions/latest/bin
    )
    for dir in "${places[@]}"; do
        if [[ -x $dir/pg_ctl && -x $dir/initdb && -x $dir/postgres ]]; then
            pg_bin=$dir
            return 0
        fi
    done
    return 1
}

need_postgres() {
    find_postgres && return
    # Debian's package would make and start a server of its own, unless it is told this beforehand.
    if ((EUID == 0)) && command -v apt-get >/dev/null &&
        [[ ! -e /etc/postgresql-common/createcluster.conf ]]; then
        mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    fi
    if apt_install postgresql && find_postgres; then return; fi
    die "no PostgreSQL server here, and half of the tests need one. Either install it:" \
        "Debian, Ubuntu: apt-get install postgresql" \
        "Fedora:         dnf install postgresql-server" \
        "macOS:          brew install postgresql@17" \
        "(it need not run: this script starts a throw-away one), or name one that runs:" \
        "TEST_DATABASE_URL=postgres://postgres@127.0.0.1:5432/postgres ./test.sh"
}

# Postgres refuses to run as root.
server_user() {
    if ((EUID != 0)); then
        id -un
    elif id postgres &>/dev/null; then
        echo postgres
    else
        id paidup-test &>/dev/null || useradd --system --no-create-home paidup-test >&2
        echo paidup-test
    fi
}

as_server() {
    (
        cd "$scratch"
        if ((EUID != 0)); then
            exec "$@"
        elif command -v runuser >/dev/null; then
            exec runuser -u "$pg_user" -- "$@"
        else
            exec su "$pg_user" -s /bin/sh -c 'exec "$0" "$@"' -- "$@"
        fi
    )
}

stop_postgres() {
    # Immediately, and without a word: nobody will ask for this data again.
    if [[ -f $scratch/data/postmaster.pid ]]; then
        as_server "$pg_bin/pg_ctl" -D data -m immediate -w stop >/dev/null 2>&1 || true
    fi
}

port_is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

start_postgres() {
    # Nothing of the caller's own settings may reach the server or the tests' connections to it.
    unset ${!PG*}
    # In /tmp whatever TMPDIR says: another user has to get there, and a socket's path must be short.
    scratch=$(mktemp -d /tmp/paidup-test.XXXXXX)
    pg_user=$(server_user)
    if ((EUID == 0)); then chown "$pg_user" "$scratch"; fi

    say "a throw-away Postgres in $scratch ($("$pg_bin/postgres" --version))"
    as_server "$pg_bin/initdb" -D data --username=postgres --auth=trust --encoding=UTF8 --locale=C \
        --no-sync >"$scratch/initdb.log" 2>&1 || { cat "$scratch/initdb.log" >&2; die "initdb failed"; }
    cat >>"$scratch/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$scratch'
max_connections = 200
CONF

    # Somebody else may take the port between the look and the start: then another one.
    local port
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        port=$((20000 + RANDOM % 12000))
        if port_is_taken "$port"; then continue; fi
        if as_server "$pg_bin/pg_ctl" -D data -o "-p $port" -l server.log -w start >/dev/null 2>&1; then
            export TEST_DATABASE_URL=postgres://postgres@127.0.0.1:$port/postgres
            return
        fi
    done
    cat "$scratch/server.log" >&2 || true
    die "Postgres did not start; its log stands above"
}

# ---- the other side of notifications and signatures ----------------------------------------------

need_python() {
    if [[ -n ${PAIDUP_TEST_PYTHON:-} ]]; then
        say "Python: the one that PAIDUP_TEST_PYTHON names"
        export PAIDUP_TEST_PYTHON
        return
    fi
    peers=$(mktemp -d "${TMPDIR:-/tmp}/paidup-peers.XXXXXX")
    if ! python3 -m venv "$peers" >/dev/null 2>&1; then
        # Debian's Python comes without what makes an environment.
        apt_install python3 python3-venv && python3 -m venv --clear "$peers" ||
            die "no Python that can make an environment (python3 -m venv): it is the mail server, the" \
                "receiver and the other reader of signatures." \
                "Debian, Ubuntu: apt-get install python3 python3-venv" \
                "Fedora:         dnf install python3" \
                "macOS:          brew install python3"
    fi
    say "pip install -r tests/it/peers/requirements.txt"
    "$peers/bin/python" -m pip install --quiet --requirement tests/it/peers/requirements.txt ||
        die "pip cannot install tests/it/peers/requirements.txt: is there a network?"
    export PAIDUP_TEST_PYTHON=$peers/bin/python
}

# ---- the trials ----------------------------------------------------------------------------------

# The clock of one trial is bent by a library.
need_faketime() {
    local library
    for library in /usr/lib/*/faketime/libfaketime.so.1 /usr/lib{64,}/faketime/libfaketime.so.1; do
        if [[ -f $library ]]; then return; fi
    done
    apt_install faketime ||
        die "no libfaketime here; the trial of a wrong clock needs it." \
            "Debian, Ubuntu: apt-get install faketime" \
            "Fedora:         dnf install libfaketime"
}

# Not empty where the tests were just run, which build paidup too. To build it alone after them would be to
# build its libraries anew: they have more features beside the tests.
paidup_is_built=""

# trials ARGUMENT…: builds paidup and the program that tries it, side by side, and runs that.
trials() {
    local profile=debug argument python=needed
    local -a release=()
    # Of the trials only `forged` has its other side in Python.
    if (($#)); then python=""; fi
    for argument in "$@"; do
        case $argument in
            --long)
                profile=release
                release=(--release)
                if (($# == 1)); then python=needed; fi
                ;;
            forged) python=needed ;;
        esac
    done
    if [[ -n $python ]]; then need_python; fi
    if [[ $profile == release || -z $paidup_is_built ]]; then
        step cargo build --locked --bin paidup "${release[@]}"
    fi
    step cargo build --locked --manifest-path tests/trials/Cargo.toml --target-dir "$target" "${release[@]}"
    # The trials start servers of their own, as root as another user; one needs strace, one pgbouncer. Without
    # these they say what was not tried.
    if ((EUID == 0)); then server_user >/dev/null; fi
    command -v strace >/dev/null || apt_install strace || true
    command -v "${PGBOUNCER:-pgbouncer}" /usr/sbin/pgbouncer >/dev/null || RUNLEVEL=1 apt_install pgbouncer || true
    export PG_BIN=$pg_bin
    need_faketime
    step "$target/$profile/paidup-trials" "$@"
}

# ---- fuzzing -------------------------------------------------------------------------------------

readonly FUZZ_TARGETS=(signature event fold handler)

# fuzz [NAME…] [--long]: builds the targets of fuzz/ and runs each, or those named, from the seeds that are
# committed. fuzz/rustc.sh gives the stable compiler the flags by which libFuzzer sees what is reached. It has no
# sanitizers, and paidup no unsafe code. An input that fails is kept in fuzz/artifacts.
fuzz() {
    local seconds=20 argument name
    local -a names=()
    for argument in "$@"; do
        case $argument in
            --long) seconds=600 ;;
            *)
                [[ " ${FUZZ_TARGETS[*]} " == *" $argument "* ]] ||
                    die "there is no fuzz target $argument; there are: ${FUZZ_TARGETS[*]}"
                names+=("$argument")
                ;;
        esac
    done
    if ((${#names[@]} == 0)); then names=("${FUZZ_TARGETS[@]}"); fi
    command -v c++ >/dev/null || apt_install build-essential ||
        die "no C++ compiler: libFuzzer is built from C++." \
            "Debian, Ubuntu: apt-get install build-essential" \
            "Fedora:         dnf install gcc-c++" \
            "macOS:          xcode-select --install"
    RUSTC_WRAPPER=$PWD/fuzz/rustc.sh step cargo build --locked --manifest-path fuzz/Cargo.toml \
        --target-dir "$target"
    # In memory where there is such a folder: the disk is not what is tried here.
    if [[ -d /dev/shm && -w /dev/shm ]]; then
        fuzzed=$(mktemp -d /dev/shm/paidup-fuzz.XXXXXX)
    else
        fuzzed=$(mktemp -d "${TMPDIR:-/tmp}/paidup-fuzz.XXXXXX")
    fi
    for name in "${names[@]}"; do
        mkdir -p "fuzz/corpus/$name" fuzz/artifacts
        local -a more=()
        if [[ -f fuzz/words/$name ]]; then more=(-dict="fuzz/words/$name"); fi
        # A history is short, and is to have many events from the start.
        if [[ $name == fold ]]; then more+=(-max_len=80 -len_control=0); else more+=(-max_len=4096); fi
        TMPDIR=$fuzzed step "$target/debug/$name" "fuzz/corpus/$name" "fuzz/seeds/$name" "${more[@]}" \
            -artifact_prefix="fuzz/artifacts/$name-" -max_total_time="$seconds" -timeout=20 -print_final_stats=1
    done
}

# ---- the dependencies ----------------------------------------------------------------------------

readonly CARGO_DENY_VERSION=0.20.2

# Bans, licences and sources by deny.toml. Advisories change without the code: see SECURITY.md. A cargo-deny of
# our own is kept in the target folder: not optimized, for to build it takes many times as long as to run it.
dependencies() {
    local -a deny=(cargo deny)
    if ! "${deny[@]}" --version &>/dev/null; then
        local root=$target/cargo-deny
        step cargo install --quiet --debug --locked --no-default-features --version "$CARGO_DENY_VERSION" \
            cargo-deny --config profile.dev.debug=false --root "$root"
        deny=("$root/bin/cargo-deny")
    fi
    step "${deny[@]}" --locked check bans licenses sources
}

# ---- the browser -------------------------------------------------------------------------------

readonly AXE_VERSION=4.14.1

need_browser() {
    local chromium=""
    local name
    for name in "${PAIDUP_TEST_CHROMIUM:-}" chromium chromium-browser google-chrome; do
        if [[ -n $name ]] && chromium=$(command -v "$name"); then break; fi
    done
    if [[ -z $chromium ]] || ! command -v "${PAIDUP_TEST_CHROMEDRIVER:-chromedriver}" >/dev/null; then
        apt_install chromium chromium-driver && chromium=$(command -v chromium) ||
            die "no Chromium with its chromedriver: the console is tested in a real browser." \
                "Debian:  apt-get install chromium chromium-driver" \
                "Fedora:  dnf install chromium chromedriver" \
                "macOS:   brew install --cask chromium chromedriver" \
                "or set PAIDUP_TEST_CHROMIUM and PAIDUP_TEST_CHROMEDRIVER"
    fi
    export PAIDUP_TEST_CHROMIUM=$chromium
}

need_axe() {
    axe=$(mktemp -d "${TMPDIR:-/tmp}/paidup-axe.XXXXXX")
    command -v npm >/dev/null || apt_install npm ||
        die "no npm, which fetches axe-core: install Node.js, or set PAIDUP_TEST_AXE to an axe.min.js"
    say "npm install axe-core@$AXE_VERSION"
    npm install --prefix "$axe" --no-save --ignore-scripts --no-audit --no-fund --silent "axe-core@$AXE_VERSION" ||
        die "npm cannot install axe-core: is there a network? Or set PAIDUP_TEST_AXE to an axe.min.js"
    export PAIDUP_TEST_AXE=$axe/node_modules/axe-core/axe.min.js
}

# ---- the run -----------------------------------------------------------------------------------

need_compiler
need_cargo
if [[ ${1:-} == fuzz ]]; then
    shift
    fuzz "$@"
    exit
fi
if [[ ${1:-} == trials ]]; then
    shift
    need_postgres
    trials "$@"
    exit
fi
if [[ -n ${TEST_DATABASE_URL:-} ]]; then
    say "Postgres: the one that TEST_DATABASE_URL names"
    export TEST_DATABASE_URL
else
    need_postgres
    start_postgres
fi

need_python
need_browser
if [[ -n ${PAIDUP_TEST_AXE:-} ]]; then
    say "axe-core: the one that PAIDUP_TEST_AXE names"
    export PAIDUP_TEST_AXE
else
    need_axe
fi

dependencies
step cargo fmt --check
step cargo clippy --locked --all-targets -- -D warnings
step cargo test --locked "$@"
paidup_is_built=yes
if (($# == 0)); then
    need_postgres
    for package in tests/trials benches/load; do
        step cargo fmt --check --manifest-path $package/Cargo.toml
        step cargo clippy --locked --all-targets --manifest-path $package/Cargo.toml --target-dir "$target" \
            -- -D warnings
    done
    step cargo test --locked --manifest-path benches/load/Cargo.toml --target-dir "$target"
    step cargo fmt --check --manifest-path fuzz/Cargo.toml
    trials
    fuzz
fi
say "all passed"
