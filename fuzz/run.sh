#!/bin/sh
# Fuzzes every target, or those named: `fuzz/run.sh SECONDS [TARGET ...]`, by default ten seconds each.
# CI replays the corpora instead, by `cargo test`.
# With a number of executions instead, `fuzz/run.sh 10000000x`, each target runs until it has had so many.
#
# Needs `cargo install cargo-fuzz` and a C++ compiler, and no nightly: there is no unsafe code of ours for a sanitizer to
# watch. What is found is under artifacts/, with the input that shows it. New inputs go to work/NAME; `minimise` below
# makes corpus/NAME of both, the fewest that reach all there is to reach.
set -eu
cd "$(dirname "$0")"
how=${1:-10}
[ $# -gt 0 ] && shift
case $how in
    minimise) limit="" ;;
    *x) limit="-runs=${how%x}" ;;
    *) limit="-max_total_time=$how" ;;
esac
targets=${*:-$(cargo fuzz list)}
for target in $targets; do
    mkdir -p "work/$target" "artifacts/$target"
    set -- --sanitizer none --features libfuzzer "$target"
    if [ "$how" = minimise ]; then
        rm -rf "work/$target.min" && mkdir "work/$target.min"
        cargo fuzz run "$@" "work/$target.min" "work/$target" "corpus/$target" -- -merge=1 -max_len=1024
        rm -rf "corpus/$target" && mv "work/$target.min" "corpus/$target"
    else
        cargo fuzz run "$@" "work/$target" "corpus/$target" -- "$limit" -max_len=4096 -timeout=10 -rss_limit_mb=2048
    fi
done
