#!/usr/bin/env bash
# Runs every fuzz target, or those named, for some seconds each, one after the other, and prints a table.
# Usage: run.sh [seconds] [target...]
set -uo pipefail
cd "$(dirname "$0")"
seconds=${1:-40}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cd targets && ls -- *.rs | sed 's/\.rs$//')

# Targets are built without a sanitizer: the product has no unsafe code, and so a stable toolchain suffices.
cargo fuzz build --fuzz-dir . --sanitizer none || exit 1
logs=$(mktemp -d)
printf '%-16s %10s %9s %7s %8s  %s\n' target executions per-sec edges corpus result
failed=0
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target"
    # A single input may take 5 seconds and 1 GiB at most.
    cargo fuzz run --fuzz-dir . --sanitizer none "$target" -- -max_total_time="$seconds" -max_len=65536 \
        -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 >"$logs/$target" 2>&1
    result=ok
    if grep -q '^SUMMARY: libFuzzer' "$logs/$target"; then
        failed=1
        result=$(sed -n 's/^SUMMARY: libFuzzer: //p' "$logs/$target" | head -1)
        result="$result: $(sed -n 's/^.*Test unit written to //p' "$logs/$target")"
    elif ! grep -q '^stat::number_of_executed_units' "$logs/$target"; then
        failed=1
        result="did not run: $logs/$target"
    fi
    stat() { sed -n "s/^stat::$1: *//p" "$logs/$target"; }
    last=$(grep -E '^#[0-9]+' "$logs/$target" | tail -1)
    printf '%-16s %10s %9s %7s %8s  %s\n' "$target" "$(stat number_of_executed_units)" \
        "$(stat average_exec_per_sec)" "$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' <<<"$last")" \
        "$(sed -n 's/.* corp: \([0-9]*\).*/\1/p' <<<"$last")" "$result"
done
exit $failed
