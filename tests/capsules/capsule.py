"""Lives in a capsule, holds what only that has, and says in the end whether all of it is as it was."""

import ctypes
import mmap
import os
import pty
import signal
import socket
import stat
import struct
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
own_ipc, own_net = "ipc" in sys.argv, "net" in sys.argv
own_users, ranges, limited = "users" in sys.argv, "ranges" in sys.argv, "limited" in sys.argv


def call(name, *arguments):
    result = getattr(libc, name)(*arguments)
    assert result >= 0, (name, os.strerror(ctypes.get_errno()))
    return result


def mounts():
    """The mounts that a name leads to, without what only this boot knows."""
    found = []
    for line in open("/proc/self/mountinfo"):
        fields, about = line.rstrip("\n").split(" - ")
        fields, about = fields.split(" "), about.split(" ")
        try:
            device = os.stat(fields[4]).st_dev
        except FileNotFoundError:
            continue
        if fields[2] != "%d:%d" % (os.major(device), os.minor(device)):
            continue
        found.append((fields[4], fields[3], fields[5], about[0], about[2]))
    return sorted(found)


def identity():
    """Who this process is, and in which user namespace."""
    words = ("Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:")
    found = [line for line in open("/proc/self/status") if line.startswith(words)]
    return found + [open("/proc/self/" + name).read() for name in ("uid_map", "gid_map", "setgroups")]


def become_somebody():
    """Another user of the same namespace, with one capability and groups of his own."""
    NET_RAW, KEEPCAPS = 13, 8
    call("prctl", KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([7, 2001])
    os.setresgid(2002, 3, 4)
    os.setresuid(5, 6, 2007)
    call("capset", struct.pack("II", 0x20080522, 0), struct.pack("6I", *[1 << NET_RAW] * 3, 0, 0, 0))


def tree(top):
    """Everything below a folder, by what can be seen of it."""
    found, numbers = {}, {}
    for folder, folders, files in os.walk(top):
        for name in [""] + folders + files:
            path = os.path.join(folder, name) if name else folder
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            seen = [status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_rdev]
            seen.append(numbers.setdefault(status.st_ino, path))
            if kind != stat.S_IFSOCK and path not in (top, "/tmp/run"):
                seen.append(status.st_mtime_ns)
            if kind == stat.S_IFREG:
                seen += [status.st_size, hash(open(path, "rb").read())]
            if kind == stat.S_IFLNK:
                seen.append(os.readlink(path))
            seen.append(sorted((key, os.getxattr(path, key, follow_symlinks=False))
                               for key in os.listxattr(path, follow_symlinks=False)))
            found[path] = seen
    return found


os.makedirs("/tmp/run")
os.makedirs("/tmp/folder/in\nfolder", mode=0o750)
with open("/tmp/folder/text", "w") as file:
    file.write("once " * 1000)
os.chmod("/tmp/folder/text", 0o4751)
if ranges:
    os.chown("/tmp/folder/text", 5, 2003)
elif not own_users:
    os.chown("/tmp/folder/text", 1234, 4321)
os.chmod("/tmp/folder/text", 0o4751)
os.link("/tmp/folder/text", "/tmp/folder/in\nfolder/other name")
os.symlink("/nowhere/at all", "/tmp/folder/link")
os.mkfifo("/tmp/folder/fifo", 0o640)
if not own_users:
    os.mknod("/tmp/folder/device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.setxattr("/tmp/folder", "trusted.kept", b"\0value")
with open("/tmp/folder/sparse", "wb") as file:
    file.truncate(64 << 20)
    file.seek(50 << 20)
    file.write(os.urandom(3 << 20))
os.utime("/tmp/folder/fifo", ns=(5, 7_000_000_009))
dead = socket.socket(socket.AF_UNIX)
dead.bind("/tmp/folder/dead")
dead.close()

opened = open("/tmp/run/opened", "w+b")
opened.write(b"opened")
opened.flush()
opened.seek(3)
removed = open("/tmp/run/removed", "w+b")
removed.write(b"removed" * 10_000)
removed.flush()
os.unlink("/tmp/run/removed")
os.truncate("/tmp/run/opened", 8192)
shared = mmap.mmap(opened.fileno(), 8192)
shared[100] = 42

listener = socket.socket(socket.AF_UNIX)
listener.bind("/tmp/run/listener")
listener.listen()
client = socket.socket(socket.AF_UNIX)
client.connect("/tmp/run/listener")
server, _ = listener.accept()
client.send(b"on its way")
abstract = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
name = "\0of a capsule " + os.urandom(8).hex()
abstract.bind(name)

master, slave = pty.openpty()
terminal = os.ttyname(slave)
os.write(master, b"typed\n")

if own_ipc:
    IPC_CREAT, IPC_STAT = 0o1000, 2
    libc.shmat.restype, libc.shmat.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
    libc.shmdt.argtypes = [ctypes.c_void_p]
    segment = call("shmget", 77, 9000, IPC_CREAT | 0o600)
    place = libc.shmat(segment, None, 0)
    ctypes.memmove(place, b"nobody has it", 13)
    call("shmdt", place)
    semaphores = call("semget", 78, 3, IPC_CREAT | 0o600)
    call("semctl", semaphores, 1, 16, 5)
    queue = call("msgget", 79, IPC_CREAT | 0o600)
    call("msgsnd", queue, struct.pack("l8s", 3, b"message!"), 8, 0)
    with open("/proc/sys/kernel/msgmax", "w") as file:
        file.write("8001")

if own_net:
    accepting = socket.create_server(("127.0.0.1", 4000))
    near = socket.create_connection(("127.0.0.1", 4000))
    far, _ = accepting.accept()
    near.send(b"through loopback")
    with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
        file.write("1")

parent = os.getpid()
child = os.fork()
if child == 0:
    if ranges:
        # He keeps what is mapped, and could not open it himself.
        become_somebody()
    own, turn = identity(), 0
    while True:
        # Not all the time: whoever has such a file open just then is not frozen.
        assert turn % 100 or identity() == own, (identity(), own)
        turn += 1
        assert shared[100] == 42
        shared[101] = 43
        assert os.getppid() == parent, os.getppid()
        time.sleep(0.01)

names = (os.uname().nodename, open("/proc/sys/kernel/domainname").read())
before = mounts(), tree("/tmp"), tree("/dev/shm"), os.getpid(), os.getcwd(), names, identity()
print("ready", flush=True)
rounds = 0
while not os.path.exists("go"):
    rounds += 1
    shared[0] = rounds % 256
    assert opened.tell() == 3
    time.sleep(0.005)

shared[0] = 0
os.utime("/tmp/run/opened", ns=(before[1]["/tmp/run/opened"][6], ) * 2)
after = mounts(), tree("/tmp"), tree("/dev/shm"), os.getpid(), os.getcwd(), names, identity()
for one, other in zip(before, after):
    if isinstance(one, dict):
        for path in one.keys() | other.keys():
            if path != "/tmp/run/opened":
                assert one.get(path) == other.get(path), (path, one.get(path), other.get(path))
    else:
        assert one == other, (one, other)
assert (os.uname().nodename, open("/proc/sys/kernel/domainname").read()) == names
assert shared[100] == 42 and shared[101] == 43 and open("/tmp/run/opened", "rb").read(101)[100] == 42
assert opened.read(3) == b"ned"
removed.seek(0)
assert removed.read() == b"removed" * 10_000 and os.fstat(removed.fileno()).st_nlink == 0
assert server.recv(100) == b"on its way"
again = socket.socket(socket.AF_UNIX)
again.connect("/tmp/run/listener")
again.send(b"again")
assert listener.accept()[0].recv(100) == b"again"
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"named", name)
assert abstract.recv(100) == b"named"
assert os.ttyname(slave) == terminal and os.read(slave, 100) == b"typed\n"
if own_ipc:
    place = libc.shmat(call("shmget", 77, 9000, 0), None, 0)
    assert ctypes.string_at(place, 13) == b"nobody has it"
    assert call("semctl", call("semget", 78, 3, 0), 1, 12) == 5
    message = ctypes.create_string_buffer(100)
    assert call("msgget", 79, 0) == queue
    assert call("msgrcv", queue, message, 90, 0, 0) == 8 and message.raw[8:16] == b"message!"
    assert open("/proc/sys/kernel/msgmax").read() == "8001\n"
if own_net:
    assert far.recv(100) == b"through loopback"
    far.send(b"and back")
    assert near.recv(100) == b"and back"
    socket.create_connection(("127.0.0.1", 4000)).send(b"x")
    assert open("/proc/sys/net/ipv4/ip_forward").read() == "1\n"
if limited:
    # CLONE_NEWUSER, ENOSPC.
    assert libc.unshare(0x10000000) == -1 and ctypes.get_errno() == 28, "a further user namespace can be made"
os.kill(child, signal.SIGTERM)
assert os.waitpid(child, 0) == (child, signal.SIGTERM)
print("right", rounds > 0, flush=True)
