#!/usr/bin/env python3
"""age.py ROOT [SEED [FILL [END]]]

Lives on a mounted card for a while: fills it to FILL per cent with files of real-looking content,
appends to and rewrites some (fragmentation), deletes until END per cent are used, three times.
Afterwards nearly every free block holds stale data, as on a card that was used for months.
Also leaves a sparse file, hard links, a long name, a deep tree and extended attributes.
"""

import os
import random
import sys

ROOT = sys.argv[1]
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 1
FILL = float(sys.argv[3]) if len(sys.argv) > 3 else 93.0
END = float(sys.argv[4]) if len(sys.argv) > 4 else 52.0
rng = random.Random(SEED)


def inside(path):
    return os.path.join(ROOT, path)


def used():
    """Per cent of the filesystem's blocks in use."""
    s = os.statvfs(ROOT)
    return 100 * (1 - s.f_bfree / s.f_blocks)


def raw_material():
    """Real binaries and texts of the card, to make new files from."""
    found = []
    for top in ("usr/lib", "usr/share", "usr/bin"):
        for folder, folders, files in os.walk(inside(top)):
            folders.sort()
            for name in sorted(files):
                path = os.path.join(folder, name)
                if not os.path.islink(path) and 2000 < os.path.getsize(path) < 3_000_000:
                    found.append(path)
    return found


MATERIAL = raw_material()
LOG_LINES = [
    f"{1_700_000_000 + rng.randrange(10**8)} pihole {rng.choice(('kernel', 'systemd[1]', 'cron[99]'))}: "
    f"{rng.choice(('started', 'stopped', 'link up', 'session opened for user pi'))} id={rng.getrandbits(64):x}\n"
    for _ in range(50_000)
]


def content(size):
    """45 % incompressible (photos), 35 % pieces of real files, 20 % log text."""
    kind = rng.random()
    if kind < 0.45 or not MATERIAL and kind < 0.8:
        return rng.randbytes(size)
    if kind < 0.80:
        data = bytearray()
        while len(data) < size:
            with open(rng.choice(MATERIAL), "rb") as f:
                data += f.read(size - len(data)) or b"\n"
        return bytes(data)
    return "".join(rng.choices(LOG_LINES, k=size // 60 + 2)).encode()[:size]


def size_of_next():
    """Many small files, few large ones."""
    return min(int(rng.lognormvariate(9.5, 2.3)) + 1, 60_000_000)


FOLDERS = [
    f"{top}/{i:02d}"
    for top in ("home/pi/Pictures", "home/pi/src", "home/pi/.cache/app", "var/cache/apt/archives", "var/log/app", "opt/app")
    for i in range(12)
]
for folder in FOLDERS:
    os.makedirs(inside(folder), exist_ok=True)

files, written = [], 0
for round_index in range(3):
    while used() < FILL:
        path = inside(f"{rng.choice(FOLDERS)}/f{rng.getrandbits(40):010x}")
        with open(path, "wb") as f:
            f.write(content(size_of_next()))
        files.append(path)
        written += 1
        if written % 7 == 0:
            for old in rng.sample(files, min(3, len(files))):
                with open(old, "ab") as f:
                    f.write(content(rng.randrange(1, 120_000)))
        if written % 11 == 0:
            old = rng.choice(files)
            size = os.path.getsize(old)
            with open(old, "r+b") as f:
                if rng.random() < 0.7:
                    f.seek(rng.randrange(size + 1))
                    f.write(content(rng.randrange(1, 60_000)))
                else:
                    f.truncate(rng.randrange(size + 1))
        if written % 400 == 0:
            os.sync()
    low = END if round_index == 2 else rng.uniform(60, 75)
    os.sync()
    while used() > low and files:
        i = rng.randrange(len(files))
        files[i], files[-1] = files[-1], files[i]
        os.unlink(files.pop())
        if len(files) % 200 == 0:
            os.sync()
    print(f"round {round_index}: {written} files written, {len(files)} left, {used():.1f} % used", flush=True)

with open(inside("home/pi/sparse.img"), "wb") as f:
    f.truncate(900_000_000)
    f.seek(123_456_789)
    f.write(b"x" * 70_000)
os.link(inside("home/pi/sparse.img"), inside("home/pi/sparse-link.img"))
open(inside("home/pi/" + "ü" * 120), "w").close()
os.makedirs(inside("home/pi/" + "/".join(["deep"] * 60)), exist_ok=True)
os.setxattr(inside("home/pi/sparse.img"), b"user.comment", b"hello" * 20)
os.sync()
