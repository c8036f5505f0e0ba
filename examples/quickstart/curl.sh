#!/usr/bin/env bash
# Requests one line, shows where to pay for it, and waits until it is active. Needs bash and curl.
#
#   export API=http://127.0.0.1:3000 AUTH='Authorization: Bearer tuco_…'    # `make run` prints both
#   bash examples/quickstart/curl.sh '{"firstName":"Ada","lastName":"Lovelace","channelType":"phone"}'
set -euo pipefail

: "${API:?Set API.}" "${AUTH:?Set AUTH.}"
[[ $AUTH == *": "* ]] || { echo "AUTH must be a header: 'Authorization: Bearer' and an API key." >&2 && exit 1; }
line=${1:-'{"firstName":"Ada","lastName":"Lovelace","channelType":"phone"}'}
# One key for one line. Save it before the first call, so that every retry uses the same key.
key=${KEY:-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')}
deadline=$((SECONDS + ${GIVE_UP_AFTER_S:-600}))

directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

# call METHOD PATH [CURL OPTION…]: sets $status and $reply; the status is 000 if there was no whole response.
call() {
    : >"$directory/headers"
    : >"$directory/reply"
    status=$(curl -sS -m 35 -X "$1" "$API$2" -H "$AUTH" -D "$directory/headers" -o "$directory/reply" \
        -w '%{http_code}' "${@:3}") || { status=000 && : >"$directory/reply"; }
    reply=$(<"$directory/reply")
}

# field NAME: the first string of that name in the reply. Programs use a JSON parser.
field() {
    grep -oE "\"$1\": *\"([^\"\\\\]|\\\\.)*\"" <<<"$reply" | head -n 1 | sed -E 's/^"[^"]*": *"(.*)"$/\1/; s/\\(["\\/])/\1/g' || true
}

retry_after() { tr -d '\r' <"$directory/headers" | awk -F ': ' 'tolower($1) == "retry-after" && $2 ~ /^[0-9]+$/ { print $2 }'; }

# Sleeps as long as the server asks for, 2 seconds if it does not say.
wait_a_little() {
    local seconds
    seconds=$(retry_after)
    ((SECONDS < deadline)) || stop "Still $1 after a long wait. Run this again with KEY=$key."
    sleep "${seconds:-2}"
}

stop() {
    echo "$1" >&2
    exit 1
}

echo "Idempotency key: $key" >&2

# --- create ---

while :; do
    call POST /api/line-requests -H "Idempotency-Key: $key" -d "$line"
    case $status in
    201) [ -z "$(field _id)" ] || break ;;
    400) [ -z "$(field error)" ] || stop "Fix the request: $(field error)" ;;
    401) stop "The API key is missing, unknown, expired or revoked. Check AUTH." ;;
    403)
        if [ "$(field status)" = subscription_required ]; then
            stop "$(field message) Subscribe at $(field redirect)."
        fi
        [ -z "$(field status)" ] || stop "$(field message)"
        ;;
    404) stop "There is no such path. Check API." ;;
    409)
        holder=$(field _id) url=$(field paymentLinkUrl)
        pay="Read $holder again for its payment link"
        [ -z "$url" ] || pay="Pay at $url"
        [ -z "$holder" ] || stop "$(field message) $pay or cancel $holder, then run this again."
        ;;
    413) stop "The line is too large. Send at most 64 KiB." ;;
    502) [ -z "$(field error)" ] || stop "$(field error) Nothing is charged. An operator has to fix this in Stripe." ;;
    esac
    # 429, 500, 503, a proxy's error or no whole response. The same key never makes a second line.
    wait_a_little "without a response ($status)"
done

# --- pay and poll ---

id=$(field _id)
shown=
while :; do
    state=$(field status)
    case $state in
    active)
        echo "Line $id is active."
        exit 0
        ;;
    failed) stop "Line $id could not be provisioned. The operator retries or releases it, and refunds what was paid." ;;
    canceled)
        free=
        [ "$(field paymentStatus)" != canceled ] || free=" Nothing will be charged."
        stop "Line request $id was canceled.$free Request the line again with a new key."
        ;;
    esac
    url=$(field paymentUrl)
    if [ -n "$url" ] && [ "$url" != "$shown" ]; then
        echo "Pay here: $url"
        shown=$url
    fi
    wait_a_little "${state:-without a response ($status)}"
    call GET "/api/line-requests/$id"
    case $status in
    401 | 404) stop "Line request $id cannot be read with this API key ($status)." ;;
    esac
done
