#!/bin/bash
# boot.sh CARD.img [PATTERN]
# Boots a raw card image in a virtual machine, copy-on-write, with the kernel, the initrd and the root
# that the card's own boot partition names, until PATTERN (an extended regular expression) shows on the
# console. By default that is systemd's word that root is mounted for reading and writing.
# Ends with 0 when it is seen; with 1 and the end of the console when the boot fails, ends or takes
# longer than LIMIT seconds. CONSOLE names a file that keeps all that was said.
# Needs qemu-system-aarch64, mtools, sfdisk and python3; no root. The card's kernel must know virtio
# disks, as Debian's does and Raspberry Pi's own does not. The Pi's firmware is not run.
set -euo pipefail
card=$(readlink -f "$1") pattern=${2:-'(Finished|Started).*Remount Root and Kernel File Systems'}
limit=${LIMIT:-1800}
trouble='Kernel panic|Gave up waiting for|emergency mode|\(initramfs\)|Failed to start .*Remount Root|lab: .* DAMAGED'
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}") qemu=
trap '[ -z "$qemu" ] || kill "$qemu" 2> /dev/null || :; rm -rf "$work"' EXIT
console=${CONSOLE:-$work/console}

start=$(sfdisk -J "$card" | python3 -c '
import json, sys
print(json.load(sys.stdin)["partitiontable"]["partitions"][0]["start"])')
fat="$card@@$((start * 512))"
mcopy -n -i "$fat" ::config.txt ::cmdline.txt "$work/"
kernel=$(sed -n 's/^kernel=//p' "$work/config.txt" | tail -1)
initrd=$(awk '$1 == "initramfs" { print $2 }' "$work/config.txt" | tail -1)
if [ -z "$kernel" ] || [ -z "$initrd" ]; then
  echo "the card's config.txt names no kernel or no initramfs" >&2; exit 1
fi
mcopy -n -i "$fat" "::$kernel" "$work/kernel"
mcopy -n -i "$fat" "::$initrd" "$work/initrd"
# All that the card says, but for consoles that this machine lacks and for silence.
words=$(tr -s ' \n' '\n' < "$work/cmdline.txt" | grep -vE '^(console=|quiet$|splash$)' | tr '\n' ' ')

: > "$console"
# The machine's clock counts its instructions (4 ns each): on a busy host it is late instead of
# running into time-outs of its own.
TMPDIR=$work qemu-system-aarch64 -M virt -cpu cortex-a72 -m 1024 -accel tcg -icount shift=2 \
  -nodefaults -display none -no-reboot -serial "file:$console" -kernel "$work/kernel" -initrd "$work/initrd" \
  -append "$words systemd.show_status=true console=ttyAMA0 panic=-1" \
  -drive "if=none,id=card,file=$card,format=raw,snapshot=on" -device virtio-blk-pci,drive=card 2> "$work/qemu" &
qemu=$!
said() { sed 's/\x1b\[[0-9;?]*[A-Za-z]//g; s/\r//g' "$console"; }
verdict="not seen within $limit s"
while ((SECONDS < limit)); do
  running=yes
  kill -0 $qemu 2> /dev/null || running=
  if said | grep -Eaq "$pattern"; then
    echo "after $SECONDS s: $(said | grep -Ea "$pattern" | tail -1)"
    exit 0
  elif said | grep -Eaq "$trouble"; then
    verdict="trouble after $SECONDS s"; break
  elif [ -z "$running" ]; then
    verdict="the machine stopped after $SECONDS s; $(cat "$work/qemu")"; break
  fi
  sleep 1
done
{ echo "$verdict: $pattern"; said | tail -25; } >&2
exit 1
