#!/bin/sh
# Opens the app with the service of this build, on a bus of its own: what `make run` does where Dormouse is not installed.
# Both are gone when the window is closed. Usage: try.sh DORMOUSE DORMOUSE-APP
set -eu
dormouse=$1 app=$2
root=
test "$(id -u)" = 0 || root=sudo
folder=$(mktemp -d)
chmod 755 "$folder"
cat >"$folder/bus.conf" <<END
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=$folder/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow send_type="method_call"/><allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/>
    <allow receive_type="error"/><allow receive_type="signal"/>
  </policy>
  <policy user="root"><allow own="*"/></policy>
</busconfig>
END
# Asks for the password, if there is one to be asked for, before anything runs in the background.
$root true
$root dbus-daemon --config-file="$folder/bus.conf" --nofork --nopidfile &
bus=$!
service=
tidy() {
	test -z "$service" || $root kill "$service" 2>/dev/null || :
	$root kill "$bus" 2>/dev/null || :
	$root rm -rf "$folder"
}
trap tidy EXIT
trap 'exit 130' INT TERM
tries=0
until test -S "$folder/bus"; do
	tries=$((tries + 1))
	test "$tries" -lt 100 || { echo 'The bus does not start.' >&2; exit 1; }
	sleep 0.1
done
DBUS_SYSTEM_BUS_ADDRESS=unix:path=$folder/bus
export DBUS_SYSTEM_BUS_ADDRESS
# sudo has taken the limit on core files from it, and what runs with one could not be woken.
$root sh -c 'ulimit -c unlimited 2>/dev/null || :; exec "$@"' sh \
	env DBUS_SYSTEM_BUS_ADDRESS="$DBUS_SYSTEM_BUS_ADDRESS" "$dormouse" serve --idle 86400 --trust "$(id -u)" &
service=$!
"$app"
