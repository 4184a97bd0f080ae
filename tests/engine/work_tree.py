"""A tree of files as people have it in ~/work, and what it is afterwards: programs that run in a
participant's container, with the system's Python.

`STATE` prints a JSON object {path: what it is}: type, mode, size, times of content and of the
entry itself (ctime: nobody even touched it), inode, target or SHA-256. Of sparse files only the
data are read, and where they are is part of it.
"""

MAKE = r"""
import os, socket, sys
home = os.path.expanduser("~")
os.chdir(home + "/work")
os.makedirs("my project/.hidden/deep")
os.makedirs("empty folder")
for number in range(40):
    with open("my project/data-%d.bin" % number, "wb") as file:
        file.write(os.urandom(1000 * number))
with open("my project/sparse.img", "wb") as file:
    for place in (0, 3 << 20, 40 << 20):
        file.seek(place)
        file.write(os.urandom(5000))
    file.truncate(64 << 20)
odd = [b"\xff\xfe not UTF-8", b"two\nlines", b"-rf", b" ", b"'\"$(id)`", b"n" * 255]
odd.append("\u6570\u636e.ipynb".encode())
for name in odd:
    with open(b"my project/" + name, "wb") as file:
        file.write(name)
os.symlink("data-3.bin", "my project/link")
os.symlink("/nowhere/at all", "my project/dangling")
os.symlink("..", "my project/.hidden/upwards")
os.symlink(home + "/.bashrc", "my project/into the home")
os.link("my project/data-7.bin", "my project/second name")
os.mkfifo("my project/fifo")
with socket.socket(socket.AF_UNIX) as bound:
    bound.bind("my project/socket")
with open("my project/secret", "w") as file:
    file.write("x")
os.chmod("my project/secret", 0)
os.chmod("my project/.hidden", 0o500)
with open("my project/script.sh", "w") as file:
    file.write("#!/bin/sh\n")
os.chmod("my project/script.sh", 0o4755)
os.utime("my project/data-9.bin", ns=(10**18 + 1, 10**18 + 123456789))
os.utime("empty folder", ns=(1, -(10**9)))
"""

STATE = r"""
import hashlib, json, os, stat, sys
root = os.path.expanduser("~/work").encode()
passed_over = [os.path.join(root, name.encode()) for name in sys.argv[1:]]

def data(path, size):
    digest = hashlib.sha256()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOATIME)
    except OSError as error:
        return error.strerror
    try:
        at = 0
        while at < size:
            try:
                begin = os.lseek(descriptor, at, os.SEEK_DATA)
            except OSError:
                break  # no more data
            at = min(os.lseek(descriptor, begin, os.SEEK_HOLE), size)
            digest.update(b"%d-%d:" % (begin, at))
            while begin < at:
                part = os.pread(descriptor, min(1 << 20, at - begin), begin)
                digest.update(part)
                begin += len(part)
    finally:
        os.close(descriptor)
    return digest.hexdigest()

def entry(path):
    facts = os.lstat(path)
    found = [stat.filemode(facts.st_mode), facts.st_ino, facts.st_nlink, facts.st_uid, facts.st_gid,
             facts.st_mtime_ns, facts.st_ctime_ns]
    if stat.S_ISREG(facts.st_mode):
        found += [facts.st_size, facts.st_blocks, data(path, facts.st_size)]
    elif stat.S_ISLNK(facts.st_mode):
        found.append(os.readlink(path).decode("latin-1"))
    return found

found = {"": entry(root)}
pending = [root]
while pending:
    folder = pending.pop()
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        found[os.path.relpath(folder, root).decode("latin-1") + "/"] = error.strerror
        continue
    for each in entries:
        if each.path in passed_over:
            continue
        found[os.path.relpath(each.path, root).decode("latin-1")] = entry(each.path)
        if each.is_dir(follow_symlinks=False):
            pending.append(each.path)
json.dump(found, sys.stdout)
"""
