#!/bin/sh
# Backs folders up to a Coffre with restic:  sh restic-backup.sh FOLDER...
# restic.env, box.pem and restic-password lie beside this script. The repository is made the first time. Ends as restic does;
# 2: something is missing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
fail() {
    echo "restic-backup: $*" >&2
    exit 2
}
[ $# -ge 1 ] || fail "say which folders: sh restic-backup.sh ~/Documents"
# launchd and cron know a short path.
PATH=$PATH:/usr/local/bin:/opt/homebrew/bin
command -v restic >/dev/null || fail "restic is not installed"
[ -s "$here/restic-password" ] || fail "$here/restic-password is empty or missing: it is the password of your backups"
COFFRE_DIR=$here
. "$here/restic.env"

# Two that make the repository at once would leave a key that opens nothing: one makes it, the other waits for it.
if ! restic cat config >/dev/null 2>&1; then
    if mkdir "$here/init.lock" 2>/dev/null; then
        trap 'rmdir "$here/init.lock"' EXIT
        trap 'exit 130' INT TERM HUP
        restic cat config >/dev/null 2>&1 || restic init
        rmdir "$here/init.lock"
        trap - EXIT INT TERM HUP
    else
        tries=0
        until restic cat config >/dev/null 2>&1; do
            tries=$((tries + 1))
            [ $tries -lt 30 ] || fail "the repository is not there yet; if nothing else makes it now, remove $here/init.lock"
            sleep 2
        done
    fi
fi
restic backup "$@"
