# What the benchmarks of a gateway in use share: a gateway with patients in a temporary folder, the load generator, what
# its answers are compared with. Read by bench.sh and bench-documents.sh, which set `seconds`, `patients` and
# `connections`.
source "$(dirname "${BASH_SOURCE[0]}")/bench-functions.sh"
https=https://127.0.0.1:18443

say "building"
build
cd "$folder"

say "certificates, configuration"
"$load" --folder "$folder" certificates
partners
"$load" partners --listen 127.0.0.1:18446 --directory partners
configuration 18443 18575 <<END
[[listen.mllp]]
address = "127.0.0.1:18576"
[[sources]]
name = "admissions over TLS"
application = "ADT"
facility = "LOAD"
certificate = "$(openssl x509 -in admissions.pem -outform der | sha256sum | cut -d' ' -f1)"
[limits]
message_mib = 4096
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

# nginx with two workers, a static file of so many bytes: the measure of all rates.
nginx_static() {
    mkdir static
    head -c "$1" /dev/zero | tr '\0' x >static/answer
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
}

# Rows of the table.
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
