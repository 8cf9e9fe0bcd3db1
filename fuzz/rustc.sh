#!/bin/sh
# What cargo runs as the compiler of the fuzz targets: libFuzzer is to see what is reached in paidup and in
# the targets. All else is built as for the tests, once for both. The debug information is what this build
# of paidup differs in from the tests' (Cargo.toml), so that neither can end in the other's place.
case " $* " in
    *" --crate-name paidup "*debuginfo=line-tables-only* | *" fuzz_targets/"*)
        exec "$@" -Cpasses=sancov-module \
            -Cllvm-args=-sanitizer-coverage-level=4 \
            -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
            -Cllvm-args=-sanitizer-coverage-pc-table \
            -Cllvm-args=-sanitizer-coverage-trace-compares
        ;;
    *) exec "$@" ;;
esac
