#!/bin/bash
# bootable.sh OUT.tar.zst
# A root tree that boots: Debian arm64 with the Raspberry Pi's firmware, its packages installed and
# configured by their own scripts, which run through qemu-user. Some ten minutes on two idle cores,
# nearly all of it waiting for emulated programs.
# `card.sh` makes a card of it, `boot.sh` boots the card.
# The tree reports by itself at each boot, on the console, in lines that begin with "lab:".
# Needs root, mmdebstrap, qemu-user-static, arch-test, zstd, and Debian's archive keyring.
# PKGS may name other packages.
set -euo pipefail
out=$(readlink -f "$1")
suite=${SUITE:-bookworm}
export LC_ALL=C.UTF-8 SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1735689600}
pkgs=${PKGS:-systemd-sysv,udev,dbus,kmod,raspi-firmware,linux-image-arm64,initramfs-tools,zstd,e2fsprogs,dosfstools,fdisk,parted,ifupdown,iproute2,cron,logrotate,sudo,nano,less,man-db,ca-certificates,sqlite3,git,python3}
disk=43415244 # the disk's id, which card.sh gives the card
# The mirrors are the ones that this system's own apt uses.
# shellcheck disable=SC2016  # apt's words, not the shell's
mirror_of() { apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
  awk -v r="$1" '$2==r{print $1; exit}'; }
mirror=${MIRROR:-$(mirror_of "$suite")} security=${SECURITY:-$(mirror_of "$suite-security")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Programs of the tree run as if they were native.
binfmt=/proc/sys/fs/binfmt_misc
[ -e $binfmt/register ] || mount -t binfmt_misc binfmt_misc $binfmt
[ -e $binfmt/qemu-aarch64 ] || cat /usr/lib/binfmt.d/qemu-aarch64.conf > $binfmt/register
arch-test arm64 > /dev/null || { echo "programs for arm64 do not run here" >&2; exit 1; }

# Files that the tree gets before its packages are configured.
seed=$work/seed
mkdir -p "$seed"/{.host/bin,.host/lib,boot/firmware,etc/default,etc/initramfs-tools/{conf.d,hooks}}
# Unpacking is the dearest thing to emulate: dpkg finds the host's own dpkg-deb first.
cp /usr/bin/dpkg-deb "$seed/.host/"
ldd /usr/bin/dpkg-deb | awk '/=>/{print $3} /ld-linux/{print $1}' | xargs cp -L -t "$seed/.host/lib"
printf '#!/bin/sh\nexec /.host/lib/%s --library-path /.host/lib /.host/dpkg-deb "$@"\n' \
  "$(basename "$seed"/.host/lib/ld-linux*)" > "$seed/.host/bin/dpkg-deb"
echo "ROOTPART=PARTUUID=$disk-02" > "$seed/etc/default/raspi-firmware"
# Modules for the machines that boot the card, and no others: to look at all takes ten minutes more.
printf '%s\n' MODULES=list COMPRESS=zstd COMPRESSLEVEL=1 > "$seed/etc/initramfs-tools/conf.d/lab"
cat > "$seed/etc/initramfs-tools/hooks/lab" << 'HOOK'
#!/bin/sh
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
for module in virtio_pci virtio_mmio virtio_blk sd_mod usb_storage uas xhci_pci pcie_brcmstb \
  mmc_block bcm2835 sdhci_iproc bcm2835_dma dwc2 ext4 crc32c_generic vfat nls_cp437 nls_ascii; do
  manual_add_modules $module
done
HOOK
chmod +x "$seed/.host/bin/dpkg-deb" "$seed/etc/initramfs-tools/hooks/lab"

# Files that it gets afterwards.
last=$work/last
mkdir -p "$last"/{usr/local/sbin,etc/systemd/system/multi-user.target.wants}
echo pihole > "$last/etc/hostname"
printf '127.0.0.1\tlocalhost\n127.0.1.1\tpihole\n' > "$last/etc/hosts"
printf '%s\n' 'proc /proc proc defaults 0 0' \
  "PARTUUID=$disk-01 /boot/firmware vfat defaults 0 2" \
  "PARTUUID=$disk-02 / ext4 defaults,noatime 0 1" > "$last/etc/fstab"
cat > "$last/usr/local/sbin/lab-report" << 'REPORT'
#!/bin/sh
# Says on the console what was booted from, and whether every file of the packages is as it was.
export LC_ALL=C.UTF-8
say() { echo "lab: $*" > /dev/console; }
say "root $(findmnt -no SOURCE,FSTYPE,OPTIONS /)"
say "boot $(findmnt -no SOURCE,FSTYPE,OPTIONS /boot/firmware)"
say "root-bytes $(($(stat -f -c '%S * %b' /)))"
say "partition-bytes $(lsblk -bno SIZE "$(findmnt -no SOURCE /)")"
if head -c 1000000 /dev/urandom > /var/tmp/lab && sync /var/tmp/lab; then say "written"; fi
rm -f /var/tmp/lab
# What a boot changes by itself: the configuration files that the lab wrote.
wrong=$(dpkg --verify | grep -v ' c /etc/')
if [ -z "$wrong" ]; then say "packages whole"; else say "packages DAMAGED: $wrong"; fi
REPORT
chmod +x "$last/usr/local/sbin/lab-report"
cat > "$last/etc/systemd/system/lab-report.service" << 'UNIT'
[Unit]
Description=Report of the laboratory
RequiresMountsFor=/boot/firmware
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/lab-report
UNIT
ln -s ../lab-report.service "$last/etc/systemd/system/multi-user.target.wants/"
cat > "$work/finish" << 'FINISH'
#!/bin/sh
set -e
cp -a "$2/." "$1/"
rm -rf "$1/.host" "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1/var/lib/systemd/random-seed"
: > "$1/etc/machine-id"
echo 'root:raspberry' | chroot "$1" chpasswd
chroot "$1" useradd -m -s /bin/bash -G sudo pi
FINISH
chmod +x "$work/finish"

mmdebstrap --quiet --mode=root --variant=minbase --architectures=arm64 --format=directory \
  --components=main,non-free-firmware --include="$pkgs" \
  --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
  --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
  --aptopt='DPkg::Path "/.host/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"' \
  --dpkgopt=force-unsafe-io --dpkgopt=force-confold \
  --extract-hook="cp -a '$seed/.' \"\$1/\"" \
  --customize-hook="'$work/finish' \"\$1\" '$last'" \
  "$suite" "$work/root" \
  "deb $mirror $suite main non-free-firmware" \
  ${security:+"deb $security $suite-security main non-free-firmware"}
tar -C "$work/root" --sort=name --numeric-owner --xattrs --clamp-mtime --mtime="@$SOURCE_DATE_EPOCH" \
  -cf - . | zstd -q -3 -T0 -f -o "$out"
ls "$work/root/boot/firmware"
du -sxm "$work/root"
