#!/usr/bin/env bash
# Runs the benchmarks of BENCHMARKS.md on this machine and prints their table. Everything happens on loopback and in a
# temporary folder, which is removed at the end.
#
#   ihe-tests/bench.sh [SECONDS]     seconds of each measurement, 10 if not given
#
# PATIENTS (100000), CONNECTIONS (32) and GIANT (bytes of the large document, 1 GiB) can be set in the environment;
# KEEP=1 keeps the folder. Needs nginx, and as much free disk as five times GIANT.
set -euo pipefail

seconds=${1:-10}
patients=${PATIENTS:-100000}
connections=${CONNECTIONS:-32}
giant=${GIANT:-$((1 << 30))}
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
target=${CARGO_TARGET_DIR:-$root/target}
load="$target/release/load"
gateway="$target/release/causeway"
results="$folder/results.jsonl"
https=https://127.0.0.1:18443
started=()

finish() {
    for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
    wait 2>/dev/null || true
    if [[ -z ${KEEP:-} ]]; then rm -rf "$folder"; else echo "kept: $folder" >&2; fi
}
trap finish EXIT

say() { echo "== $*" >&2; }
measure() { "$load" --folder "$folder" --json "$results" "$@" >&2; }
listening() { for _ in $(seq 100); do (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return; sleep 0.1; done; return 1; }
resident() { awk '/^VmRSS/ {print $2}' "/proc/$1/status"; }

say "building"
(cd "$root" && cargo build --release -p causeway -p ihe-tests --bin causeway --bin load) >&2
cd "$folder"

say "certificates, configuration"
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
"$load" partners --listen 127.0.0.1:18446 --directory partners
cat >causeway.toml <<END
partners = "partners"
[community]
name = "Benchmark"
home_community_id = "urn:oid:2.999.30"
repository_id = "2.999.30.9"
[listen]
https = "127.0.0.1:18443"
public_url = "$https"
[[listen.mllp]]
address = "127.0.0.1:18575"
tls = false
[[listen.mllp]]
address = "127.0.0.1:18576"
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
[[domains]]
name = "Benchmark patients"
namespace = "BENCH"
oid = "2.999.30.1"
[[sources]]
name = "admissions"
application = "ADT"
facility = "LOAD"
domains = ["BENCH"]
addresses = ["127.0.0.1"]
[[sources]]
name = "admissions over TLS"
application = "ADT"
facility = "LOAD"
domains = ["BENCH"]
certificate = "$(openssl x509 -in admissions.pem -outform der | sha256sum | cut -d' ' -f1)"
[policy.answers]
other = ["TREATMENT"]
[limits]
message_mib = 4096
[initiator]
purpose = "TREATMENT"
[log]
level = "warn"
END

say "gateway"
"$gateway" serve --config causeway.toml >gateway.log 2>&1 &
process=$!
started+=("$process")
listening 18443 || { cat gateway.log >&2; exit 1; }
sleep 2
idle=$(resident "$process")

say "$patients patients"
measure feed --name feed --address 127.0.0.1:18575 --count "$patients" --process "$process"
sleep 3
loaded=$(resident "$process")

say "ITI-55"
url=$https/RespondingGatewayXCPD
"$load" --folder "$folder" prepare-iti55 --url "$url" --count $((seconds * 12000)) --different "$patients" --output 55.bin
measure crypto --messages 55.bin --url "$url" --seconds 3
measure https --name iti55 --url "$url" --messages 55.bin --expect 'subject1' --seconds "$seconds" \
    --connections "$connections" --process "$process"
answer=$(awk -F'"bytes":' '/"name":"iti55"/ {print int($2)}' results.jsonl)
answers=$(awk -F'"answers":' '/"name":"iti55"/ {print int($2)}' results.jsonl)
size=$((answer / answers))

say "what to compare with: nginx and an echo, $size bytes"
mkdir static
head -c "$size" /dev/zero | tr '\0' x >static/answer
cat >nginx.conf <<END
# The folder is open to whoever runs this, and to nobody else.
user $(id -un) $(id -gn);
worker_processes 2;
pid $folder/nginx.pid;
error_log $folder/nginx.log;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path $folder/nginx-body;
    proxy_temp_path $folder/nginx-proxy;
    fastcgi_temp_path $folder/nginx-fastcgi;
    uwsgi_temp_path $folder/nginx-uwsgi;
    scgi_temp_path $folder/nginx-scgi;
    open_file_cache max=10;
    server {
        listen 127.0.0.1:18444 ssl;
        ssl_certificate $folder/static.pem;
        ssl_certificate_key $folder/static.key;
        ssl_client_certificate $folder/trust-store/bench/root.pem;
        ssl_verify_client on;
        root $folder/static;
    }
}
END
nginx -c "$folder/nginx.conf" -g 'daemon off;' &
started+=($!)
listening 18444
workers=$(pgrep -P "${started[-1]}" | paste -sd,)
measure https --name nginx --url https://127.0.0.1:18444/answer --seconds "$seconds" --connections "$connections" \
    --process "$workers"
"$load" --folder "$folder" echo --listen 127.0.0.1:18445 --size "$size" &
started+=($!)
listening 18445
measure https --name echo --url https://127.0.0.1:18445/ --messages 55.bin --repeat --seconds "$seconds" \
    --connections "$connections" --process "${started[-1]}"
rm 55.bin

say "documents"
mkdir twenty one giant
for number in $(seq 20); do head -c 20000 /dev/urandom | base64 >"twenty/$number.txt"; done
head -c 750000 /dev/urandom | base64 >one/document.txt
truncate -s "$giant" giant/document.txt
for patient in $(seq 0 19); do
    "$gateway" documents import --config causeway.toml --user bench --patient "P$patient^^^&2.999.30.1&ISO" twenty >/dev/null
done
unique_id() {
    "$gateway" documents import --config causeway.toml --user bench --json --patient "$1^^^&2.999.30.1&ISO" "$2" |
        sed -n 's/.*"unique_id": *"\([^"]*\)".*/\1/p' | head -1
}
unique_id P30 one >one.id
unique_id P31 giant >giant.id

say "ITI-38 with 20 documents"
url=$https/RespondingGateway
"$load" --folder "$folder" prepare-iti38 --url "$url" --count $((seconds * 6000)) --different 20 --output 38.bin
measure https --name iti38 --url "$url" --messages 38.bin --expect ExtrinsicObject --seconds "$seconds" \
    --connections "$connections" --process "$process"
rm 38.bin

say "ITI-39 of 1 MB, then of $giant bytes"
"$load" --folder "$folder" prepare-iti39 --url "$url" --count $((seconds * 1500)) --documents one.id --output 39.bin
measure https --name iti39 --url "$url" --messages 39.bin --seconds "$seconds" --connections 8 --process "$process"
"$load" --folder "$folder" prepare-iti39 --url "$url" --count 4 --documents giant.id --output 39.bin
measure https --name iti39-giant --url "$url" --messages 39.bin --seconds 120 --connections 2 --process "$process"
rm 39.bin

say "ADT over 64 connections"
measure adt --name adt --address 127.0.0.1:18575 --first 1000000 --seconds "$seconds" --process "$process"
measure adt --name adt-tls --tls --address 127.0.0.1:18576 --first 5000000 --seconds "$seconds" --process "$process"

say "fan-out to 200 partners, 10 of which hang"
"$load" --folder "$folder" partners --listen 127.0.0.1:18446 &
started+=($!)
listening 18446
for _ in 1 2 3; do
    "$gateway" discover --config causeway.toml --user bench --purpose TREATMENT --json \
        --patient 'P7^^^&2.999.30.1&ISO' >fan-out.json || true
    grep -o '"milliseconds": *[0-9]*' fan-out.json | head -1 | grep -o '[0-9]*' >>fan-out.milliseconds
done
matched=$(grep -o '"patient_id"' fan-out.json | wc -l)

say "results"
figure() { sed -n "s/.*\"name\":\"$1\".*/&/p" results.jsonl | tail -1 | grep -o "\"$2\":[0-9.]*" | cut -d: -f2; }
row() { # title, result
    local rate cpu before most
    rate=$(figure "$2" rate)
    before=$(figure "$2" resident_before_kb)
    most=$(figure "$2" resident_most_kb)
    printf '| %s | %.0f | %.1f %% | %.2f | %.2f | %.0f | %.0f → %.0f |\n' "$1" "$rate" \
        "$(awk "BEGIN {print 100 * $rate / $(figure nginx rate)}")" \
        "$(awk "BEGIN {print $(figure "$2" p50_us) / 1000}")" "$(awk "BEGIN {print $(figure "$2" p99_us) / 1000}")" \
        "$(figure "$2" cpu_us)" "$(awk "BEGIN {print $before / 1024}")" "$(awk "BEGIN {print $most / 1024}")"
}
echo "| what | answers/s | of nginx | p50 ms | p99 ms | CPU µs/answer | resident MB, before → most |"
echo "|---|---|---|---|---|---|---|"
row "nginx, static, $size bytes" nginx
row "echo (hyper and rustls), same bytes both ways" echo
row "ITI-55 among $patients patients" iti55
row "ITI-38, 20 documents" iti38
row "ITI-39, 1 MB" iti39
row "ITI-39, $giant bytes" iti39-giant
row "ADT, 64 connections" adt
row "ADT with TLS, 64 connections" adt-tls
echo
unavoidable=$(awk "BEGIN {print $(figure echo cpu_us) + $(figure crypto verification_us)}")
micros() { printf '%.1f µs' "$(figure crypto "$1")"; }
echo "- Verification alone: $(micros two_signatures_us) for two RSA signatures, $(micros verification_us) with digests, canonical forms and attributes, $(micros with_parsing_us) with parsing."
echo "- ITI-55 costs $(awk "BEGIN {print $(figure iti55 cpu_us) / $unavoidable}") times the echo and the verification together ($unavoidable µs)."
echo "- Resident when idle: $(awk "BEGIN {print $idle / 1024}") MB empty, $(awk "BEGIN {print $loaded / 1024}") MB with $patients patients."
echo "- Fan-out: $(paste -sd, fan-out.milliseconds) ms for 200 partners of which 10 hang (patience 2 s); $matched matches."
