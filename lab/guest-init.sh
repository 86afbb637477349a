#!/bin/sh
# The virtual machine's first program: loads what cards need, and then does what it finds in /host, the host's
# folder: each file NUMBER.command, from 1 on, beside all others. What it says goes to NUMBER.out and NUMBER.err
# there, its exit code to NUMBER.code once it has ended.
export PATH=/host:/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
modprobe -a virtio_pci 9p 9pnet_virtio virtio_blk xhci_pci usb_storage sd_mod sdhci_pci mmc_block \
  crc32c_generic ext4 vfat nls_cp437 nls_ascii nls_utf8
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 host /host || poweroff -f
# Nobody may wait for a card that is asked for in vain: the kernel looks at readers by itself.
echo 500 > /sys/module/block/parameters/events_dfl_poll_msecs
cd /host || poweroff -f
touch up
number=1
while :; do
  until [ -e "$number.command" ]; do sleep 0.05; done
  {
    sh "$number.command" > "$number.out" 2> "$number.err" < /dev/null
    echo $? > "$number.part"
    mv "$number.part" "$number.code"
  } &
  number=$((number + 1))
done
