#!/usr/bin/env bash
# Measures how good matching is, beside Splink, and prints the table of BENCHMARKS.md. `run.sh [NAME..]` takes some of
# the records only. Sets itself up: Python packages go into target/match-quality.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=target/match-quality
if [[ ! -x $venv/bin/python ]] || ! $venv/bin/python -c 'import splink, recordlinkage' 2>/dev/null; then
    mkdir -p target
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --requirement ihe-tests/match-quality/requirements.txt
fi
cargo build --quiet --release -p ihe-tests --bin match_quality
patients="${CAUSEWAY_SHARED:-../shared}/corpus/patients"
others=(); [[ -d $patients ]] && others=(--patients "$patients")
# Splink talks a lot; what it said is shown if it did not come to the end.
log=$venv/log
"$venv/bin/python" ihe-tests/match-quality/measure.py \
    --program "${CARGO_TARGET_DIR:-target}/release/match_quality" "${others[@]}" "$@" 2>"$log" ||
    { status=$?; cat "$log" >&2; exit "$status"; }
