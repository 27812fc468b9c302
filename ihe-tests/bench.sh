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
source "$(dirname "$0")/bench-common.sh"

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
nginx_static "$size"
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
echo "- Verification alone, nothing remembered: $(micros two_signatures_us) for two RSA signatures, $(micros verification_us) with digests, canonical forms and attributes, $(micros with_parsing_us) with parsing."
echo "- ITI-55 costs $(awk "BEGIN {print $(figure iti55 cpu_us) / $unavoidable}") times the echo and the verification together ($unavoidable µs)."
echo "- Resident when idle: $(awk "BEGIN {print $idle / 1024}") MB empty, $(awk "BEGIN {print $loaded / 1024}") MB with $patients patients."
echo "- Fan-out: $(paste -sd, fan-out.milliseconds) ms for 200 partners of which 10 hang (patience 2 s); $matched matches."
