#!/usr/bin/env bash
# What many patients cost: loads a population by `causeway patients import`, then asks while a durable feed runs. Prints
# a row for BENCHMARKS.md. Everything happens on loopback and in a temporary folder, which is removed at the end.
#
#   ihe-tests/bench-scale.sh [PATIENTS]     100000 if not given
#
# SECONDS_EACH (10) is the length of each measurement; FOLDER an existing folder for the data (a temporary one); KEEP=1
# keeps it. Five million patients need 12 GB of disk. Build before: cargo build --release -p causeway -p ihe-tests
# --bin causeway --bin load (BUILD=1 does it).
set -euo pipefail

patients=${1:-100000}
seconds=${SECONDS_EACH:-10}
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d ${FOLDER:+-p "$FOLDER"})
target=${CARGO_TARGET_DIR:-$root/target}
load=${LOAD:-$target/release/load}
gateway="$target/release/causeway"
https=https://127.0.0.1:18543
started=()

finish() {
    for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
    wait 2>/dev/null || true
    if [[ -z ${KEEP:-} ]]; then rm -rf "$folder"; else echo "kept: $folder" >&2; fi
}
trap finish EXIT

say() { echo "== $* ($(date +%T), load $(cut -d' ' -f1 /proc/loadavg))" >&2; }
measure() { "$load" --folder "$folder" --json results.jsonl "$@" >&2; }
listening() { for _ in $(seq 600); do (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return; sleep 0.1; done; return 1; }
memory() { awk -v key="^$2:" '$0 ~ key {print $2}' "/proc/$1/status"; }
now() { date +%s.%N; }

if [[ -n ${BUILD:-} ]]; then
    (cd "$root" && cargo build --release -p causeway -p ihe-tests --bin causeway --bin load) >&2
fi
cd "$folder"
"$load" --folder "$folder" certificates
mkdir partners
cat >partners/asker.toml <<END
name = "Asking community"
network = "bench"
kind = "other"
home_community_id = "urn:oid:2.999.40"
responds = false
purposes_answered = ["TREATMENT"]
END
cat >causeway.toml <<END
partners = "partners"
[community]
name = "Benchmark"
home_community_id = "urn:oid:2.999.30"
repository_id = "2.999.30.9"
[listen]
https = "127.0.0.1:18543"
public_url = "$https"
[[listen.mllp]]
address = "127.0.0.1:18675"
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
[store]
folder = "data"
cache_mib = ${CACHE:-64}
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
END

say "$patients patients: the table"
rows=$("$load" population --count "$patients" --output people.csv | cut -d' ' -f1)
table=$(stat -c %s people.csv)

say "import of $rows records"
from=$(now)
"$gateway" patients import people.csv --source admissions --user bench --config causeway.toml >import.txt 2>import.log &
import=$!
most=0
while kill -0 "$import" 2>/dev/null; do
    peak=$(memory "$import" VmHWM 2>/dev/null || true)
    [[ -n $peak && $peak -gt $most ]] && most=$peak
    sleep 0.5
done
wait "$import" || { cat import.txt import.log >&2; exit 1; }
du -b data/causeway.* >&2
took=$(awk "BEGIN {print $(now) - $from}")
cat import.txt >&2
tail -3 import.log >&2
disk=$(du -sb data | cut -f1)
rm people.csv

say "match candidates"
measure candidates --data data --patients "$patients" --wanted 1000

say "start of the gateway"
from=$(now)
"$gateway" serve --config causeway.toml >gateway.log 2>&1 &
process=$!
started+=("$process")
listening 18543 || { cat gateway.log >&2; exit 1; }
start=$(awk "BEGIN {print 1000 * ($(now) - $from)}")
sleep 3
idle=$(memory "$process" VmRSS)

say "questions without a feed"
ask() { # command, name, connections
    measure "$1" --name "$2" --address 127.0.0.1:18675 --patients "$patients" --connections "$3" --seconds "$seconds" \
        --process "$process"
}
ask pix-query pix-alone 4
ask pdq-query pdq-alone 4

say "questions while a feed runs"
"$load" --folder "$folder" prepare-iti55 --url "$https/RespondingGatewayXCPD" --count $((seconds * 800)) \
    --population "$patients" --output 55.bin >&2
feed() {
    measure adt --name "$1" --address 127.0.0.1:18675 --first "$2" --connections 4 --seconds $((seconds + 1))
}
feed adt-pix 100000000 & feeding=$!
ask pix-query pix 4
wait "$feeding"
feed adt-pdq 200000000 & feeding=$!
ask pdq-query pdq 4
wait "$feeding"
feed adt-55 300000000 & feeding=$!
measure https --name iti55 --url "$https/RespondingGatewayXCPD" --messages 55.bin --expect subject1 --connections 4 \
    --seconds "$seconds" --process "$process"
wait "$feeding"
loaded=$(memory "$process" VmRSS)
peak=$(memory "$process" VmHWM)

figure() { grep "\"name\":\"$1\"" results.jsonl | tail -1 | grep -o "\"$2\":[0-9.]*" | cut -d: -f2; }
ms() { awk "BEGIN {printf \"%.2f / %.2f\", $(figure "$1" p50_us) / 1000, $(figure "$1" p99_us) / 1000}"; }
mb() { awk "BEGIN {printf \"%.0f\", $1 / 1024}"; }
echo "| patients | records | load/s | import, most MB | disk, bytes a record | start ms | idle MB | most MB | ITI-9 ms | ITI-9, feed | ITI-21 ms | ITI-21, feed | ITI-55, feed | feed/s beside ITI-9 | compared p50, p99, most | found | passed over |"
echo "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
echo "| $patients | $rows | $(awk "BEGIN {printf \"%.0f\", $rows / $took}") | $(mb "$most") | $(awk "BEGIN {printf \"%.0f\", $disk / $rows}") | $(awk "BEGIN {printf \"%.0f\", $start}") | $(mb "$idle") | $(mb "$peak") | $(ms pix-alone) | $(ms pix) | $(ms pdq-alone) | $(ms pdq) | $(ms iti55) | $(awk "BEGIN {printf \"%.0f\", $(figure adt-pix rate)}") | $(figure candidates compared_p50), $(figure candidates compared_p99), $(figure candidates compared_most) | $(figure candidates found)/1000 | $(figure candidates blocks_passed_over) |"
echo "table: $table bytes, data: $disk bytes, import: $took s, resident after the questions: $(mb "$loaded") MB" >&2
