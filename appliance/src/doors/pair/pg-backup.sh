#!/bin/bash
# Backs up one PostgreSQL database to a Coffre, without a file in between: pg-backup.sh DATABASE [options of pg_dump]
# Needs bash, curl and pg_dump; box.curl and box.pem lie beside this script. The options must leave the dump on standard output.
# pipefail: without it nobody would notice that pg_dump died, and half a dump would look like a backup.
set -euo pipefail
cd "$(dirname "$0")"
[ $# -ge 1 ] || { echo "pg-backup: say which database" >&2; exit 2; }
pg_dump "$@" | {
    # The push begins with the first byte: where pg_dump gives none it has said why, and nothing is pushed.
    LC_ALL=C IFS= read -r -d '' -n 1 first || { echo "pg-backup: no dump, so nothing was pushed" >&2; exit 1; }
    { printf '%s' "$first"; cat; } |
        curl -sS -K box.curl -T - "https://@AUTHORITY@/v1/datasets/${COFFRE_DATASET:-postgres}"
}
