#!/bin/sh
# Backs up one database of Odoo, with its files, to a Coffre. Needs sh and curl.
#
#   ODOO_DB=production sh odoo-backup.sh
#
# The master password of Odoo stands in ODOO_MASTER_FILE, or in ODOO_MASTER_PASSWORD. Odoo must allow its database manager
# to this machine (list_db is not False). TMPDIR needs room for one backup. Each database goes into a data set of its own,
# odoo-DATABASE, or into the one that COFFRE_DATASET names.
# Ends with 0 when the box has the backup; 2: something is not set; 3: Odoo gave no backup; 4: the box did not take it.
set -eu
umask 077

ODOO_URL=${ODOO_URL:-http://127.0.0.1:8069}
ODOO_DB=${ODOO_DB:-}
ODOO_MASTER_FILE=${ODOO_MASTER_FILE:-/etc/coffre/odoo-master}
ODOO_MASTER_PASSWORD=${ODOO_MASTER_PASSWORD:-}
COFFRE_DATASET=${COFFRE_DATASET:-}

fail() {
    code=$1
    shift
    echo "odoo-backup: $*" >&2
    exit "$code"
}

command -v curl >/dev/null || fail 2 "curl is not installed"
[ -n "$ODOO_DB" ] || fail 2 "set ODOO_DB to the name of the database"
if [ -z "$COFFRE_DATASET" ]; then
    # Data sets have small letters, digits and hyphens. Where something else had to go, a sum keeps a_b and a-b apart.
    name=$(printf '%s' "$ODOO_DB" | LC_ALL=C tr 'A-Z' 'a-z' | LC_ALL=C tr -c 'a-z0-9-' '-' | cut -c 1-27)
    if [ "$name" != "$ODOO_DB" ]; then
        sum=$(printf '%s' "$ODOO_DB" | cksum)
        name=$(printf '%s' "$name" | cut -c 1-16)-${sum%% *}
    fi
    COFFRE_DATASET=odoo-$name
fi
if [ -z "$ODOO_MASTER_PASSWORD" ]; then
    [ -r "$ODOO_MASTER_FILE" ] || fail 2 "$ODOO_MASTER_FILE cannot be read: write the master password of Odoo into it"
    ODOO_MASTER_PASSWORD=$(cat "$ODOO_MASTER_FILE")
fi

work=$(mktemp -d) || fail 2 "no folder for temporary files"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

cat >"$work/box.pem" <<'END_OF_CERTIFICATE'
@PEM@
END_OF_CERTIFICATE
# Neither password is an argument: arguments show in the list of processes.
printf 'user = "%s:%s"\ncacert = "%s"\n' '@CLIENT@' '@SECRET@' "$work/box.pem" >"$work/box.curl"
printf '%s' "$ODOO_MASTER_PASSWORD" >"$work/master"

status=$(curl -sS -o "$work/backup.zip" -w '%{http_code}' \
    --data-urlencode "master_pwd@$work/master" \
    --data-urlencode "name=$ODOO_DB" \
    --data-urlencode "backup_format=zip" \
    "$ODOO_URL/web/database/backup") || fail 3 "Odoo does not answer at $ODOO_URL, or broke off"
[ "$status" = 200 ] || fail 3 "Odoo answered HTTP $status instead of a backup"

# Odoo says 200 also when it refuses, and sends a page. Only a whole zip is a backup.
begins=$(head -c 4 "$work/backup.zip" | od -An -tx1 | tr -d ' \n')
if [ "$begins" != 504b0304 ]; then
    why=$(tr '\n' ' ' <"$work/backup.zip" | sed -n 's/.*class="alert alert-danger"[^>]*>\([^<]*\)<.*/\1/p' | head -c 200)
    fail 3 "Odoo sent a page instead of a backup${why:+ ($why)}; check the master password and the name of the database"
fi
tail -c 65557 "$work/backup.zip" | od -An -v -tx1 | tr -d ' \n' | grep -q 504b0506 ||
    fail 3 "the backup from Odoo is cut off: the zip has no end"

status=$(curl -g -sS -o "$work/receipt" -w '%{http_code}' -K "$work/box.curl" -T "$work/backup.zip" \
    "https://@AUTHORITY@/v1/datasets/$COFFRE_DATASET") || true
[ "$status" != 000 ] || fail 4 "the box does not answer at @AUTHORITY@"
[ "$status" = 201 ] || fail 4 "the box did not take it (HTTP $status): $(head -c 400 "$work/receipt")"
echo "odoo-backup: $ODOO_DB is in the box, as @CLIENT@/$COFFRE_DATASET ($(wc -c <"$work/backup.zip" | tr -d ' ') bytes)"
