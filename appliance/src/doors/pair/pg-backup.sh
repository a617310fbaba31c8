#!/bin/bash
# Backs up one PostgreSQL database to a Coffre, without a file in between: pg-backup.sh DATABASE [options of pg_dump]
# Needs bash, curl and pg_dump; box.curl and box.pem lie beside this script. The options must leave the dump on standard output.
# Each database goes into a data set of its own, postgres-DATABASE, or into the one that COFFRE_DATASET names.
# Ends with 0 when the box has the backup; 2: something is not set; 4: the box did not take it; else pg_dump failed.
# pipefail: without it nobody would notice that pg_dump died, and half a dump would look like a backup.
set -euo pipefail
cd "$(dirname "$0")"
case ${1:-} in
    '' | -*) echo "pg-backup: say which database, and then options of pg_dump" >&2; exit 2 ;;
esac

# Data sets have small letters, digits and hyphens. Where something else had to go, a sum keeps a_b and a-b apart.
name=$(printf '%s' "$1" | LC_ALL=C tr 'A-Z' 'a-z' | LC_ALL=C tr -c 'a-z0-9-' '-' | cut -c 1-23)
if [ "$name" != "$1" ]; then
    sum=$(printf '%s' "$1" | cksum)
    name=$(printf '%s' "$name" | cut -c 1-12)-${sum%% *}
fi
set_name=${COFFRE_DATASET:-postgres-$name}
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# The status is looked at here: a curl before 7.76 does not know fail-with-body, and would end with 0 whatever the box says.
push() {
    local status
    status=$(curl -sS -K box.curl -o "$answer" -w '%{http_code}' -T - "https://@AUTHORITY@/v1/datasets/$set_name") || true
    if [ "$status" != 201 ]; then
        echo "pg-backup: the box did not take it (HTTP $status): $(head -c 400 "$answer")" >&2
        return 4
    fi
}

pg_dump "$@" | {
    # The push begins with the first byte: where pg_dump gives none it has said why, and nothing is pushed.
    LC_ALL=C IFS= read -r -d '' -n 1 first || { echo "pg-backup: no dump, so nothing was pushed" >&2; exit 1; }
    { printf '%s' "$first"; cat; } | push
}
echo "pg-backup: $1 is in the box, as @CLIENT@/$set_name"
