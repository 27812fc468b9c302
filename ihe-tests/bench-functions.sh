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

# Who asks: another community, and document systems of our own.
partners() {
    mkdir partners
    cat >partners/asker.toml <<END
name = "Asking community"
network = "bench"
kind = "other"
home_community_id = "urn:oid:2.999.40"
responds = false
purposes_answered = ["TREATMENT"]
END
    cat >partners/own.toml <<END
name = "Our own document systems"
network = "bench"
kind = "local"
home_community_id = "urn:oid:2.999.30"
responds = false
END
}

# The gateway's configuration, with its ports for HTTPS and MLLP. It ends in [store], which standard input goes on with.
configuration() {
    {
        cat <<END
partners = "partners"
[community]
name = "Benchmark"
home_community_id = "urn:oid:2.999.30"
repository_id = "2.999.30.9"
[listen]
https = "127.0.0.1:$1"
public_url = "https://127.0.0.1:$1"
[[listen.mllp]]
address = "127.0.0.1:$2"
tls = false
[tls]
certificate = "gateway.pem"
key = "gateway.key"
[signing]
certificate = "gateway.pem"
key = "gateway.key"
[trust]
folder = "trust-store"
[trust.networks.bench]
revocation = "when-published"
[[domains]]
name = "Benchmark patients"
namespace = "BENCH"
oid = "2.999.30.1"
[[domains]]
name = "A clinic"
namespace = "CLINIC"
oid = "2.999.30.2"
[[sources]]
name = "admissions"
application = "ADT"
facility = "LOAD"
addresses = ["127.0.0.1"]
[policy.answers]
other = ["TREATMENT"]
[initiator]
purpose = "TREATMENT"
[log]
level = "warn"
[store]
folder = "data"
END
        cat
    } >causeway.toml
}
