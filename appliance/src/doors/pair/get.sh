#!/bin/sh
# Brings the newest complete snapshot of a data set back from a Coffre:  sh get.sh DATASET FILE
# Needs sh and curl, of any age; box.curl and box.pem lie beside this script. A file that is there stays as it is.
# Ends with 0 when FILE is there and whole; 2: something is missing; 4: the box did not give it. Then there is no FILE.
set -eu
umask 077
fail() {
    code=$1
    shift
    echo "get: $*" >&2
    exit "$code"
}
[ $# = 2 ] || fail 2 "say which data set, and where to: sh get.sh DATASET FILE"
to=$2
case $to in
    /*) ;;
    *) to=$PWD/$to ;;
esac
[ ! -e "$to" ] || fail 2 "$2 is there already: take another name"
part=$to.part-$$
(set -C && : >"$part") || fail 2 "$2 cannot be written there"
trap 'rm -f "$part"' EXIT
trap 'exit 130' INT TERM HUP
cd "$(dirname "$0")"
ended=0
status=$(curl -g -sS -K box.curl -o "$part" -w '%{http_code}' "https://@AUTHORITY@/v1/datasets/$1/snapshots/latest") || ended=$?
[ "$status" = 200 ] || fail 4 "the box did not give it (HTTP $status): $(head -c 400 "$part")"
[ "$ended" = 0 ] || fail 4 "it broke off on its way (curl ended with $ended)"
# An empty snapshot makes no file of curl; ours is there. ln, because it never replaces what came meanwhile.
if ! ln "$part" "$to" 2>/dev/null; then
    [ ! -e "$to" ] && mv "$part" "$to" || fail 2 "$2 is there already: take another name"
fi
echo "get: $2 is back ($(wc -c <"$to" | tr -d ' ') bytes)"
