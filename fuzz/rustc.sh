#!/bin/sh
# What cargo runs as the compiler of the fuzz targets: libFuzzer is to see what is reached in paidup, in
# what reads its JSON and in the targets. To build all else that way too takes four times as long.
case " $* " in
    *" --crate-name paidup "* | *" --crate-name serde_json "* | *"fuzz_targets/"*)
        exec "$@" -Cpasses=sancov-module \
            -Cllvm-args=-sanitizer-coverage-level=4 \
            -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
            -Cllvm-args=-sanitizer-coverage-pc-table \
            -Cllvm-args=-sanitizer-coverage-trace-compares
        ;;
    *) exec "$@" ;;
esac
