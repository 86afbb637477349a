#!/bin/bash
# udisks.sh CARDKEEP
# cardkeep from an account that may not open the card (nobody's), through the real UDisks2 and
# polkit: denied without a rule, a backup and a restore with one, and what of the two is equal. The card
# is a loop device without any filesystem, which a backup copies whole and ends with 9 for.
# The daemons talk on a bus of their own; the rules and /run are those of a namespace of its own, so that
# nothing of the machine is changed and nothing is left behind. Needs root, loop devices, and the packages
# udisks2, polkitd and dbus.
set -euo pipefail
if [ -z "${CARDKEEP_UDISKS_INSIDE:-}" ]; then
  [ "$EUID" = 0 ] || { echo "run it with sudo" >&2; exit 1; }
  exec env CARDKEEP_UDISKS_INSIDE=1 unshare --mount --pid --fork --mount-proc "$0" "$@"
fi
program=$(readlink -f "$1") size=$((64 << 20))
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}") loop= other=
finish() {
  for device in $loop $other; do losetup --detach "$device" || :; done
  rm -rf "$work"
}
trap finish EXIT
chmod 755 "$work"
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=755 rules /etc/polkit-1/rules.d
mkdir -p /run/dbus

cp "$program" "$work/cardkeep"
mkdir -m 777 "$work/own"
head -c "$size" /dev/urandom > "$work/card"
truncate -s "$size" "$work/target"
loop=$(losetup --find --show "$work/card")
other=$(losetup --find --show "$work/target")

export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/dbus/system_bus_socket
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$work/cardkeep" "$@"; }
step() { printf '\n== %s\n' "$1"; }
# Runs a command that must end with a code.
expect() {
  local code=$1 found=0
  shift
  "$@" || found=$?
  [ "$found" = "$code" ] || { echo "ended with $found, not $code: $*" >&2; exit 1; }
}

step "without a bus"
expect 4 as_nobody info "$loop"

step "daemons"
# What udev would note of the two, without which UDisks2 does not look at them. udev itself would look at
# every disk of the machine, and at what others do with theirs.
mkdir -p /run/udev/data
for device in "$loop" "$other"; do
  echo I:1 > "/run/udev/data/b$(cat "/sys/block/${device##*/}/dev")"
done
dbus-uuidgen --ensure
dbus-daemon --system --nopidfile --fork
/usr/lib/polkit-1/polkitd --no-debug > "$work/polkitd.log" 2>&1 &
/usr/libexec/udisks2/udisksd > "$work/udisksd.log" 2>&1 &
for _ in $(seq 50); do
  udisksctl info -b "$other" > "$work/info" 2>&1 && break
  sleep 0.2
done
grep -E 'Device:|DeviceNumber:|Size:' "$work/info" || { cat "$work/info" "$work"/*.log >&2; exit 1; }

step "without a rule: nobody is asked to agree, and it says so"
expect 4 as_nobody info "$loop"
expect 4 as_nobody restore --yes "$work/card" "$other"
cmp -n "$size" "$work/target" /dev/zero

step "with a rule"
cat > /etc/polkit-1/rules.d/10-cardkeep-lab.rules << 'END'
polkit.addRule(function(action, subject) {
  if (action.id.indexOf("org.freedesktop.udisks2.open-device") == 0 && subject.user == "nobody")
    return polkit.Result.YES;
});
END
chmod 644 /etc/polkit-1/rules.d/10-cardkeep-lab.rules
sleep 2
expect 9 as_nobody backup --quiet "$loop" "$work/own/card.img"
cmp "$work/card" "$work/own/card.img" && echo "the backup is the card, byte by byte"
expect 9 as_nobody restore --quiet --yes "$work/own/card.img" "$other"
cmp "$work/card" "$work/target" && echo "the restored card is the original, byte by byte"

step "who holds the card exclusively keeps it"
python3 - "$other" "$work/cardkeep" "$work/own/card.img" << 'END'
import os, subprocess, sys
device, program, image = sys.argv[1:]
held = os.open(device, os.O_RDWR | os.O_EXCL)
command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program, "restore", "--yes", "--quiet"]
code = subprocess.run(command + [image, device]).returncode
os.close(held)
sys.exit(f"ended with {code}, not an error" if code == 0 else 0)
END
step "all as it should be"
