# What all benchmarks share: a temporary folder, the programs, what was started and has to end. Read by the scripts.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$(mktemp -d ${FOLDER:+-p "$FOLDER"})
target=${CARGO_TARGET_DIR:-$root/target}
load=${LOAD:-$target/release/load}
gateway="$target/release/causeway"
results="$folder/results.jsonl"
started=()

finish() {
    for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
    wait 2>/dev/null || true
    if [[ -z ${KEEP:-} ]]; then rm -rf "$folder"; else echo "kept: $folder" >&2; fi
}
trap finish EXIT

say() { echo "== $* ($(date +%T), load $(cut -d' ' -f1 /proc/loadavg))" >&2; }
build() { (cd "$root" && cargo build --release -p causeway -p ihe-tests --bin causeway --bin load) >&2; }
measure() { "$load" --folder "$folder" --json "$results" "$@" >&2; }
listening() { for _ in $(seq 600); do (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return; sleep 0.1; done; return 1; }
memory() { awk -v key="^$2:" '$0 ~ key {print $2}' "/proc/$1/status"; }
resident() { memory "$1" VmRSS; }
figure() { grep "\"name\":\"$1\"" results.jsonl | tail -1 | grep -o "\"$2\":[0-9.]*" | cut -d: -f2; }

# The partner that asks.
asker() {
    mkdir partners
    cat >partners/asker.toml <<END
name = "Asking community"
network = "bench"
kind = "other"
home_community_id = "urn:oid:2.999.40"
responds = false
purposes_answered = ["TREATMENT"]
END
}
