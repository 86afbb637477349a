#!/usr/bin/env python3
"""change.py ROOT BYTES [SEED]

One day of a mounted card: rewrites about BYTES of what it holds, as daily life does. Two fifths are
an upgrade (files written anew beside the old and renamed over them), a fifth are new photos, a
fifth are pages of databases written in place, a fifth is logs that grow and rotate; a few files go.
The same seed makes the same changes; which blocks they land in is the kernel's choice.
"""

import os
import random
import sys

ROOT, BYTES = sys.argv[1], int(sys.argv[2])
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 2
PAGE = 4096
rng = random.Random(SEED)


def inside(path):
    return os.path.join(ROOT, path)


def files_below(top, least=1, most=1 << 62):
    """Paths and sizes of the regular files, in an order that does not depend on the disk."""
    found = []
    for folder, folders, names in os.walk(inside(top)):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                size = os.path.getsize(path)
                if least <= size <= most:
                    found.append((path, size))
    return found


def upgrade(budget):
    """Replaces programs by versions that differ here and there, as a package manager does."""
    candidates = files_below("usr", 20_000, 20_000_000)
    rng.shuffle(candidates)
    for path, size in candidates:
        if budget <= 0:
            return
        with open(path, "rb") as f:
            content = bytearray(f.read())
        for _ in range(size // 8192 + 1):
            content[rng.randrange(size)] ^= 0x55
        mode = os.stat(path).st_mode & 0o7777
        with open(path + ".dpkg-new", "wb") as f:
            f.write(content)
            os.fchmod(f.fileno(), mode)
        os.rename(path + ".dpkg-new", path)
        budget -= size


def photos(budget):
    """New files that no compressor makes smaller."""
    folder = inside("home/pi/Pictures/today")
    os.makedirs(folder, exist_ok=True)
    number = 0
    while budget > 0:
        size = min(budget, rng.randrange(1_500_000, 5_000_000))
        with open(f"{folder}/photo-{number:04d}.jpg", "wb") as f:
            f.write(rng.randbytes(size))
        number += 1
        budget -= size


def databases(budget):
    """Single pages in place, some next to each other, in a few larger files."""
    candidates = files_below("", 1_000_000, 80_000_000)
    candidates = rng.sample(candidates, min(40, len(candidates)))
    while budget > 0 and candidates:
        path, size = rng.choice(candidates)
        first, count = rng.randrange(size // PAGE), rng.choice((1, 1, 1, 2, 4, 16))
        with open(path, "r+b") as f:
            f.seek(first * PAGE)
            f.write(rng.randbytes(min(count * PAGE, size - first * PAGE)))
        budget -= count * PAGE


def logs(budget):
    """Lines at the end, and a rotation for every eighth."""
    folder = inside("var/log/day")
    os.makedirs(folder, exist_ok=True)
    number = 0
    while budget > 0:
        path = f"{folder}/{number % 6}.log"
        size = rng.randrange(10_000, 400_000)
        line = f"card kernel: event {number} {rng.getrandbits(64):016x}\n"
        with open(path, "a") as f:
            f.write(line * (size // len(line) + 1))
        if number % 8 == 7:
            os.rename(path, path + ".1")
        number += 1
        budget -= size


fifth = BYTES // 5
upgrade(2 * fifth)
photos(fifth)
databases(fifth)
logs(fifth)
caches = files_below("home/pi/.cache") + files_below("var/cache")
for path, _ in rng.sample(caches, min(60, len(caches))):
    os.unlink(path)
os.sync()
