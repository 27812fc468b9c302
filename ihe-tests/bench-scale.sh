#!/usr/bin/env bash
# What many patients cost: loads a population by `causeway patients import`, then asks while a durable feed runs. Prints
# a row for BENCHMARKS.md. Everything happens on loopback and in a temporary folder, which is removed at the end.
#
#   ihe-tests/bench-scale.sh [PATIENTS]     100000 if not given
#
# SECONDS_EACH (10) is the length of each measurement; FOLDER an existing folder for the data (a temporary one); KEEP=1
# keeps it. MEMORY is what the import is told (--memory), CACHE the gateway's cache_mib; without them it is what the
# program takes by itself. MIXED=1 gives the patients in no order. Five million need 12 GB of disk.
source "$(dirname "$0")/bench-functions.sh"

patients=${1:-100000}
seconds=${SECONDS_EACH:-10}
https=https://127.0.0.1:18543
now() { date +%s.%N; }

say "building"
build
cd "$folder"
"$load" --folder "$folder" certificates
partners
configuration 18543 18675 <<<"${CACHE:+cache_mib = $CACHE}"

say "$patients patients: the table"
rows=$("$load" population --count "$patients" ${MIXED:+--mixed} --output people.csv | cut -d' ' -f1)
table=$(stat -c %s people.csv)

say "import of $rows records"
from=$(now)
"$gateway" patients import people.csv --source admissions --user bench --config causeway.toml \
    ${MEMORY:+--memory "$MEMORY"} >import.txt 2>import.log &
import=$!
most=0 written=0 ticks=0
# What the process said of itself last, before it was gone.
while kill -0 "$import" 2>/dev/null; do
    peak=$(memory "$import" VmHWM 2>/dev/null || true)
    bytes=$(awk '/^write_bytes/ {print $2}' "/proc/$import/io" 2>/dev/null || true)
    if [[ -n $peak && -n $bytes ]]; then
        most=$peak written=$bytes ticks=$(awk '{print $14 + $15}' "/proc/$import/stat")
    fi
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
# ITI-45, for which messages are signed beforehand, as many as may be answered.
ask_v3() { # name
    measure https --identity source --name "$1" --url "$https/PIXManager" --messages 45.bin --expect 'code="AA"' \
        --connections 4 --seconds "$seconds" --process "$process"
}
sign_v3() { # first message
    "$load" --folder "$folder" prepare-iti45 --url "$https/PIXManager" --count $((seconds * 4000)) --first "$1" \
        --population "$patients" --output 45.bin >&2
}
sign_v3 0
ask_v3 pix-v3-alone

say "questions while a feed runs"
"$load" --folder "$folder" prepare-iti55 --url "$https/RespondingGatewayXCPD" --count $((seconds * 800)) \
    --population "$patients" --output 55.bin >&2
feed() {
    measure adt --name "$1" --address 127.0.0.1:18675 --first "$2" --connections 4 --seconds $((seconds + 1))
}
feed adt-pix 100000000 & feeding=$!
ask pix-query pix 4
wait "$feeding"
sign_v3 $((seconds * 4000))
feed adt-pix-v3 400000000 & feeding=$!
ask_v3 pix-v3
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

ms() { awk "BEGIN {printf \"%.2f / %.2f\", $(figure "$1" p50_us) / 1000, $(figure "$1" p99_us) / 1000}"; }
mb() { awk "BEGIN {printf \"%.0f\", $1 / 1024}"; }
echo "| patients | records | load/s | import, most MB | disk, bytes a record | start ms | idle MB | most MB | ITI-9 ms | ITI-9, feed | ITI-45 ms | ITI-45, feed | ITI-21 ms | ITI-21, feed | ITI-55, feed | feed/s beside ITI-9 | compared p50, p99, most | found | passed over |"
echo "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
echo "| $patients | $rows | $(awk "BEGIN {printf \"%.0f\", $rows / $took}") | $(mb "$most") | $(awk "BEGIN {printf \"%.0f\", $disk / $rows}") | $(awk "BEGIN {printf \"%.0f\", $start}") | $(mb "$idle") | $(mb "$peak") | $(ms pix-alone) | $(ms pix) | $(ms pix-v3-alone) | $(ms pix-v3) | $(ms pdq-alone) | $(ms pdq) | $(ms iti55) | $(awk "BEGIN {printf \"%.0f\", $(figure adt-pix rate)}") | $(figure candidates compared_p50), $(figure candidates compared_p99), $(figure candidates compared_most) | $(figure candidates found)/1000 | $(figure candidates blocks_passed_over) |"
each() { awk "BEGIN {printf \"%.0f\", $1 / $rows}"; }
echo "import: $took s, $(each "$written") bytes written and $(each "$((ticks * 10000))") us of processor time a record" >&2
echo "table: $table bytes, data: $disk bytes, resident after the questions: $(mb "$loaded") MB" >&2
echo "processor time of an answer: ITI-9 $(figure pix-alone cpu_us) us, ITI-45 $(figure pix-v3-alone cpu_us) us, ITI-21 $(figure pdq-alone cpu_us) us" >&2
