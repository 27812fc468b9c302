#!/usr/bin/env bash
# Fills corpus/<target>/ with seeds: samples of the shared corpus, read in place, and the small ones of seeds/.
set -euo pipefail
cd "$(dirname "$0")"
samples=${CAUSEWAY_SHARED:-../../../shared}/corpus
longest=65536 # bytes; longer samples make every run slow and add little

# add TARGET FILE...: whole files.
add() {
    local target=$1 file
    shift
    mkdir -p "corpus/$target"
    for file in "$@"; do
        if [ -f "$file" ] && [ "$(stat -c %s "$file")" -le $longest ]; then
            cp "$file" "corpus/$target/$(basename "$(dirname "$file")")-$(basename "$file")"
        fi
    done
}

# frame TARGET BEFORE AFTER FILE...: files with something before and behind; LENGTH stands for the file's length.
frame() {
    local target=$1 before=$2 after=$3 file
    shift 3
    mkdir -p "corpus/$target"
    for file in "$@"; do
        if [ -f "$file" ] && [ "$(stat -c %s "$file")" -le $longest ]; then
            { printf "${before//LENGTH/$(stat -c %s "$file")}"; cat "$file"; printf "$after"; } \
                > "corpus/$target/framed-$(basename "$file")"
        fi
    done
}

# body FILE...: bodies behind the Content-Type that their delimiter, or their first byte, calls for.
body() {
    local file head delimiter target
    mkdir -p corpus/mtom corpus/package corpus/submission
    for file in "$@"; do
        [ -f "$file" ] && [ "$(stat -c %s "$file")" -le $longest ] || continue
        delimiter=$({ grep -a -m 1 '^--' "$file" || true; } | tr -d '\r' | sed 's/^--//; s/ *$//')
        head='application/soap+xml; charset=UTF-8'
        [ -z "$delimiter" ] || head="multipart/related; type=\"application/xop+xml\"; boundary=\"$delimiter\""
        for target in mtom package submission; do
            { printf '%s\nA' "$head"; cat "$file"; } > "corpus/$target/$(basename "$file")"
        done
    done
}

for list in seeds/*.txt; do
    target=$(basename "$list" .txt)
    mkdir -p "corpus/$target"
    split --lines=1 --numeric-suffixes --suffix-length=3 "$list" "corpus/$target/line-"
done
add saml seeds/saml.xml
add cda_header seeds/cda.xml
add cda_view seeds/cda.xml

if [ ! -d "$samples" ]; then
    echo "no shared corpus at $samples (set CAUSEWAY_SHARED): only the seeds of seeds/ are there" >&2
    exit 0
fi
soap=("$samples"/{xcpd,xca-query,xca-retrieve,xdr-provide-register,xds-stored-query}/*.xml)
v2=("$samples"/hl7v2-*/*.hl7)
add xml "$samples"/{saml,xcpd,atna-audit,xca-retrieve}/*.xml
add soap_envelope "${soap[@]}" "$samples"/saml/*.xml
add saml "$samples"/saml/*.xml "${soap[@]}"
add hl7v2_message "${v2[@]}"
add patient_files "$samples"/hl7v2-pix-feed/*.hl7 "$samples"/patients/*.csv ../../config/connectathon/patients.csv
add pix_feed_v2 "$samples"/hl7v2-pix-feed/*.hl7
add pix_query_v2 "$samples"/hl7v2-pix-{query,feed}/*.hl7
add pdq_query_v2 "$samples"/hl7v2-pdq/*.hl7
add xcpd_request "$samples"/xcpd/*.xml
add xcpd_response "$samples"/xcpd/*.xml
add adhoc_query "$samples"/{xds-stored-query,xca-query}/*.xml
add retrieve "$samples"/{xca-retrieve,metadata-update}/*.xml
add provide "$samples"/{xdr-provide-register,xds-register,metadata-update}/*.xml
add atna_message "$samples"/atna-audit/*.xml
add cda_header "$samples"/ccda/*.xml
add cda_view "$samples"/ccda/*.xml
add fhir "$samples"/fhir-*/*.{json,xml}
frame fhir_pixm 'PUT identifier=urn:oid:1.3.6.1.4.1.21367.13.20.1000%%7CIHERED-994\n' '' "$samples"/fhir-pixm/*.{json,xml}
frame fhir_pdqm 'POST family=x\n' '' "$samples"/fhir-{match,pdqm}/*.json
add mhd "$samples"/fhir-mhd/*.{json,xml}
frame mllp 'A\x0b' '\x1c\r' "${v2[@]}"
frame syslog 'ALENGTH ' '' "$samples"/atna-audit/*.xml
body "$samples"/mtom/*.txt "$samples"/{xca-retrieve,xdr-provide-register}/*.xml
