#!/bin/bash
# packages.sh
# Installs what the virtual machine of `cargo xtask lab` needs: qemu-system-x86, busybox-static, kmod and xz-utils.
# All parts of qemu must be of one version: where qemu-utils came from Debian's backports, the machine has to come
# from there too, and they are made a source of packages if they are none, in the archive that is one already.
# Needs root, and apt-get with its lists loaded.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
PATH=$PATH:/usr/sbin:/sbin
install() { apt-get -qq -y -o Acquire::Retries=3 install --no-install-recommends "$@" > /dev/null; }

missing=()
for entry in busybox:busybox-static depmod:kmod xz:xz-utils; do
  command -v "${entry%%:*}" > /dev/null || missing+=("${entry##*:}")
done
if ((${#missing[@]})); then install "${missing[@]}"; fi

command -v qemu-system-x86_64 > /dev/null && exit 0
if [[ $(dpkg-query -W -f '${Version}' qemu-utils 2> /dev/null) != *~bpo* ]]; then
  install qemu-system-x86
  exit 0
fi
. /etc/os-release
backports=$VERSION_CODENAME-backports
if ! apt-cache policy | grep -q "a=[^,]*backports"; then
  archive=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $VERSION_CODENAME" 'Created-By: Packages' | head -1)
  printf '%s\n' 'Types: deb' "URIs: $archive" "Suites: $backports" 'Components: main' \
    'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' > /etc/apt/sources.list.d/backports.sources
  apt-get -qq -o Acquire::Retries=3 update
fi
install -t "$backports" qemu-system-x86
