#!/usr/bin/env bash
# Runs the benchmarks of documents of BENCHMARKS.md: a registry with a million entries, submissions, and one large
# document among many small ones. Everything happens on loopback and in a temporary folder, which is removed at the end.
#
#   ihe-tests/bench-documents.sh [SECONDS]     seconds of each measurement, 10 if not given
#
# ENTRIES (1000000), PATIENTS (100000), CONNECTIONS (32) and GIANT (bytes of the large document, 1 GiB) can be set in
# the environment; KEEP=1 keeps the folder. Needs nginx, and disk for five times GIANT and 10 kB for each entry.
set -euo pipefail

seconds=${1:-10}
entries=${ENTRIES:-1000000}
patients=${PATIENTS:-100000}
connections=${CONNECTIONS:-32}
giant=${GIANT:-$((1 << 30))}
source "$(dirname "$0")/bench-common.sh"

# Ten entries in a submission, ten thousand submissions in a batch: what is signed beforehand has to fit into memory.
each=10
batch=10000
say "$entries entries, registered by a repository elsewhere (ITI-42)"
url=$https/DocumentRegistry
registered=0
while ((registered < entries)); do
    "$load" --folder "$folder" prepare-iti42 --url "$url" --count "$batch" --each "$each" --output 42.bin \
        --first $((registered / each % patients))
    measure https --identity source --name "iti42" --url "$url" --messages 42.bin --expect ResponseStatusType:Success \
        --seconds 600 --connections "$connections" --process "$process"
    registered=$((registered + batch * each))
    if ((registered == batch * each)); then first_batch=$(tail -1 results.jsonl); fi
done
echo "${first_batch/\"iti42\"/\"iti42-first\"}" >>results.jsonl
grep '"name":"iti42"' results.jsonl | tail -1 >>results.jsonl
sleep 5
full=$(resident "$process")
disk=$(du -sm data | cut -f1)

say "FindDocuments (ITI-38) of one patient among $patients"
url=$https/RespondingGateway
"$load" --folder "$folder" prepare-iti38 --url "$url" --count $((seconds * 4000)) --different "$patients" --output 38.bin
measure https --name find --url "$url" --messages 38.bin --expect ExtrinsicObject --seconds "$seconds" \
    --connections "$connections" --process "$process"
rm 38.bin

say "what to compare with: nginx, 4096 bytes"
nginx_static 4096

say "submissions of one document of 4 KiB (ITI-41)"
url=$https/DocumentRepository
"$load" --folder "$folder" prepare-iti41 --url "$url" --count $((seconds * 3000)) --different "$patients" \
    --output 41.bin --ids provided.ids
measure https --identity source --name provide --url "$url" --messages 41.bin --expect ResponseStatusType:Success \
    --seconds "$seconds" --connections "$connections" --process "$process"
answers=$(awk -F'"answers":' '/"name":"provide"/ {print int($2)}' results.jsonl)
rm 41.bin
# Those that were sent for certain: connections take messages in order.
head -n $((answers - connections)) provided.ids >kept.ids

say "retrievals of such documents (ITI-39)"
url=$https/RespondingGateway
"$load" --folder "$folder" prepare-iti39 --url "$url" --count $((seconds * 4000)) --documents kept.ids --output 39.bin
measure https --name retrieve --url "$url" --messages 39.bin --expect ResponseStatusType:Success --seconds "$seconds" \
    --connections "$connections" --process "$process"

say "$giant bytes in and out while 50 connections retrieve"
"$load" --folder "$folder" prepare-iti41 --url "$https/DocumentRepository" --count 1 --size "$giant" --output giant.bin \
    --ids giant.ids
among() { # name, arguments of the one large exchange
    "$load" --folder "$folder" prepare-iti39 --url "$url" --count 60000 --documents kept.ids --output others.bin
    # The program itself, not `measure`: killing a function's shell would leave it running.
    "$load" --folder "$folder" --json "$results" https --name "$1-others" --url "$url" --messages others.bin \
        --expect ResponseStatusType:Success --seconds 600 --connections 50 >&2 &
    local others=$!
    sleep 2
    measure https --name "$1" "${@:2}" --seconds 600 --connections 1 --process "$process"
    kill "$others" 2>/dev/null || true
    wait "$others" 2>/dev/null || true
}
among giant-in --identity source --url "$https/DocumentRepository" --messages giant.bin --expect ResponseStatusType:Success
rm giant.bin
"$load" --folder "$folder" prepare-iti39 --url "$url" --count 1 --documents giant.ids --output giant-out.bin
among giant-out --url "$url" --messages giant-out.bin

say "results"
echo "| what | answers/s | of nginx | p50 ms | p99 ms | CPU µs/answer | resident MB, before → most |"
echo "|---|---|---|---|---|---|---|"
row "nginx, static, 4096 bytes" nginx
row "ITI-42, $each entries each, first $((batch * each))" iti42-first
row "ITI-42, $each entries each, last $((batch * each)) of $entries" iti42
row "FindDocuments (ITI-38) among $entries entries" find
row "ITI-41, 4 KiB" provide
row "ITI-39, 4 KiB" retrieve
row "ITI-41, $giant bytes, among 50 others" giant-in
row "ITI-39, $giant bytes, among 50 others" giant-out
echo
echo "- $entries entries of $patients patients take $disk MB on disk; resident with all of them: $(awk "BEGIN {print $full / 1024}") MB."
