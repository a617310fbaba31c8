#!/bin/sh
# Pushes one file, or what comes through a pipe, to a Coffre:  sh push.sh FILE DATASET    ... | sh push.sh - DATASET
# Needs sh and curl, of any age; box.curl and box.pem lie beside this script. Each push is a new snapshot, and replaces none.
# In a pipe begin with set -o pipefail (bash): nobody else notices that the program before it died.
# Ends with 0 when the box has it; 2: something is missing; 4: the box did not take it.
set -eu
umask 077
fail() {
    code=$1
    shift
    echo "push: $*" >&2
    exit "$code"
}
[ $# = 2 ] || fail 2 "say what to push, and into which data set: sh push.sh FILE DATASET"
file=$1
case $file in
    - | /*) ;;
    *) file=$PWD/$file ;;
esac
[ "$file" = - ] || [ -r "$file" ] || fail 2 "$1 cannot be read"
[ "$file" = - ] || [ ! -d "$file" ] || fail 2 "$1 is a folder: tar c '$1' | sh push.sh - $2"
cd "$(dirname "$0")"
answer=$(mktemp) || fail 2 "no room for temporary files"
trap 'rm -f "$answer"' EXIT
trap 'exit 130' INT TERM HUP
# -g: curl would take {a,b} and [1] in a file's name for several files. The status is looked at here: a curl before 7.76
# does not know fail-with-body, and would end with 0 whatever the box says.
status=$(curl -g -sS -K box.curl -o "$answer" -w '%{http_code}' -T "$file" "https://@AUTHORITY@/v1/datasets/$2") || true
[ "$status" = 201 ] || fail 4 "the box did not take it (HTTP $status): $(head -c 400 "$answer")"
echo "push: $1 is in the box, as @CLIENT@/$2"
