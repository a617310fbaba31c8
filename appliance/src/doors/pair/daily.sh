#!/bin/sh
# Runs a command every day, from now on and after each restart:  sh daily.sh NAME PROGRAM [WORD...]
#
# It becomes a systemd timer (root's of the system, anybody else's of their own), a launchd agent on a Mac, or a line of
# crontab where there is neither. COFFRE_AT=HH:MM says when (01:30); where the machine was off then, timer and agent run
# it when it is on again. What has that name already stays as it is. Ends with 0 when it is set; 2: something is missing.
set -eu
fail() {
    echo "daily: $*" >&2
    exit 2
}
[ $# -ge 2 ] || fail "say a name, and the command: sh daily.sh documents /home/me/coffre/push.sh ..."
name=coffre-$1
shift
case $name in
    *[!a-z0-9-]*) fail "a name has small letters, digits and hyphens" ;;
esac
at=${COFFRE_AT:-01:30}
case $at in
    [01][0-9]:[0-5][0-9] | 2[0-3]:[0-5][0-9]) ;;
    *) fail "COFFRE_AT is a time like 01:30" ;;
esac
hour=${at%:*}
minute=${at#*:}
case $1 in
    /*) ;;
    *) fail "write the whole path of $1: the schedule runs it in another folder" ;;
esac
[ -x "$1" ] || fail "$1 is no program: name its interpreter first, /bin/sh for instance"
for word in "$@"; do
    case $word in
        *'
'*) fail "a word with a line break cannot be scheduled" ;;
    esac
done

# Writes what comes in to a file that must not be there yet; the same file again is fine.
new_file() {
    fresh=$(cat)
    if [ -e "$1" ]; then
        [ "$(cat "$1")" = "$fresh" ] || fail "$1 is there already and stays as it is; take another name"
        return 0
    fi
    mkdir -p "$(dirname "$1")"
    (set -C && printf '%s\n' "$fresh" >"$1") || fail "$1 cannot be written"
}

# The words as systemd reads them: in quotes, what has a meaning there doubled or escaped.
for_systemd() {
    for word in "$@"; do
        printf '"%s" ' "$(printf '%s' "$word" | sed 's/[\\"]/\\&/g; s/[%$]/&&/g')"
    done
}

for_launchd() {
    for word in "$@"; do
        printf '        <string>%s</string>\n' \
            "$(printf '%s' "$word" | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g')"
    done
}

# As the shell of cron reads them; a % would end the line.
for_cron() {
    for word in "$@"; do
        printf "'%s' " "$(printf '%s' "$word" | sed "s/'/'\\\\''/g; s/%/\\\\%/g")"
    done
}

with_systemd() {
    new_file "$folder/$name.service" <<END
[Unit]
Description=Backup to the Coffre: $name
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart=$(for_systemd "$@")
END
    new_file "$folder/$name.timer" <<END
[Unit]
Description=Backup to the Coffre, every day: $name

[Timer]
OnCalendar=*-*-* $at:00
RandomizedDelaySec=10min
Persistent=true

[Install]
WantedBy=timers.target
END
    systemctl $scope daemon-reload
    systemctl $scope enable --now "$name.timer"
}

if [ "$(uname)" = Darwin ]; then
    agent=$HOME/Library/LaunchAgents/net.$name.plist
    new_file "$agent" <<END
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
    <key>Label</key><string>net.$name</string>
    <key>ProgramArguments</key><array>
$(for_launchd "$@")
    </array>
    <key>StartCalendarInterval</key><dict>
        <key>Hour</key><integer>${hour#0}</integer><key>Minute</key><integer>${minute#0}</integer>
    </dict>
    <key>StandardErrorPath</key><string>/tmp/net.$name.log</string>
</dict></plist>
END
    launchctl load -w "$agent"
    echo "daily: every day at $at ($agent); now: launchctl start net.$name"
elif [ "$(id -u)" = 0 ] && systemctl list-timers >/dev/null 2>&1; then
    folder=/etc/systemd/system scope=
    with_systemd "$@"
    echo "daily: every day at $at ($folder/$name.timer); now: systemctl start $name; what it said: journalctl -u $name"
elif systemctl --user list-timers >/dev/null 2>&1; then
    folder=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user scope=--user
    with_systemd "$@"
    # Without this it would run only while this user is logged in.
    loginctl enable-linger >/dev/null 2>&1 ||
        echo "daily: it runs while you are logged in; an administrator can change that: loginctl enable-linger $(id -un)" >&2
    echo "daily: every day at $at ($folder/$name.timer); now: systemctl --user start $name"
elif command -v crontab >/dev/null; then
    line="$minute $hour * * * $(for_cron "$@")# $name"
    had=$(crontab -l 2>/dev/null || true)
    if printf '%s\n' "$had" | grep -qxF "$line"; then
        echo "daily: it was set already"
        exit 0
    fi
    ! printf '%s\n' "$had" | grep -q "# $name\$" || fail "crontab has a line of $name already, which stays; take another name"
    { [ -z "$had" ] || printf '%s\n' "$had"; printf '%s\n' "$line"; } | crontab -
    echo "daily: every day at $at (crontab -l)"
else
    fail "this machine has neither systemd nor launchd nor cron: enter the command in its own task scheduler"
fi
