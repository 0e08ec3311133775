#!/usr/bin/env bash
# The long form of the test that changes a policy every 50 ms under load beside an exact model; prints what it came to.
#
# bench/reload/run.sh [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/../.."
export TIDEGATE_RELOAD_SECONDS="${1:-60}"
cargo test --locked -p tidegate-server --test it -- --nocapture every_answer_is_what_its_version_says
