"""Holds what belongs to somebody, and says in the end whether all of it belongs to whom it is told."""

import ctypes
import os
import signal
import socket
import struct
import sys
import threading
import time

home, stage = sys.argv[1], sys.argv[2]
USER, GROUP, FRIENDS = 61210, 61211, 61212
libc = ctypes.CDLL(None, use_errno=True)

# What root has opened and made before stays root's.
roots = os.pipe()
for number in (1, 2):
    os.fchmod(number, 0o666)
os.setgroups([FRIENDS])
os.setresgid(GROUP, GROUP, GROUP)
os.setresuid(USER, USER, USER)
os.umask(0o077)
os.chdir(home)

log = open(home + "/log", "w+b", buffering=0)
pipe = os.pipe()
os.mkfifo(home + "/fifo")
fifo = os.open(home + "/fifo", os.O_RDWR)
one, other = socket.socketpair()
one.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
other.send(b"waits")
server = socket.socket(socket.AF_UNIX)
server.bind(home + "/socket")
server.listen()
datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagram.bind(("127.0.0.1", 0))
stream = socket.socket()
stream.bind(("127.0.0.1", 0))
memory = os.memfd_create("held")
gone = open(home + "/gone", "w+b", buffering=0)
gone.write(b"nameless")
os.unlink(home + "/gone")
master, slave = os.openpty()
watch = libc.inotify_init1(os.O_NONBLOCK)
assert libc.inotify_add_watch(watch, os.fsencode(home), 0x100) == 1
queue = libc.mq_open(b"/owners-%d" % os.getpid(), os.O_RDWR | os.O_CREAT, 0o600, None)
assert queue >= 0, ctypes.get_errno()
IPC_CREAT, IPC_RMID = 0o1000, 0
segment = libc.shmget(0, 4096, IPC_CREAT | 0o600)
libc.shmat.restype = ctypes.c_void_p
assert libc.shmat(segment, None, 0) not in (None, 2**64 - 1)
semaphores = libc.semget(0, 1, IPC_CREAT | 0o600)


class Operation(ctypes.Structure):
    _fields_ = [("number", ctypes.c_ushort), ("change", ctypes.c_short), ("flags", ctypes.c_short)]


# An undo ties the set to this process.
assert libc.semop(semaphores, ctypes.byref(Operation(0, 1, 0x1000)), 1) == 0
with open(home + "/left", "w") as left:
    left.write("-m %d -s %d" % (segment, semaphores))
# A child says something that nobody hears before the end.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGRTMIN])
zombie = os.fork()
if zombie == 0:
    os.kill(os.getppid(), signal.SIGUSR2)
    os._exit(7)
signal.pthread_kill(threading.get_ident(), signal.SIGRTMIN)
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print("ready", flush=True)
while not os.path.exists(stage + "/go"):
    time.sleep(0.02)

user, group, friends, web = map(int, open(stage + "/whom").read().split())
wrong = []


def holds(what, found, wanted):
    if found != wanted:
        wrong.append((what, found, wanted))


def owner(what, found):
    holds(what, (found.st_uid, found.st_gid), (user, group))


def lines(path, number):
    rows = [line.split() for line in open(path)]
    head = rows[0]
    place = head.index("shmid" if "shmid" in head else "semid")
    row = next(row for row in rows[1:] if int(row[place]) == number)
    return [int(row[head.index(name)]) for name in ("uid", "gid", "cuid", "cgid")]


holds("users", os.getresuid(), (user,) * 3)
holds("groups", os.getresgid(), (group,) * 3)
holds("supplementary groups", os.getgroups(), [friends])
for thread in os.listdir("/proc/self/task"):
    status = dict(line.split(":", 1) for line in open("/proc/self/task/%s/status" % thread))
    holds("a thread", (status["Uid"].split(), status["Gid"].split()), ([str(user)] * 4, [str(group)] * 4))
status = dict(line.split(":", 1) for line in open("/proc/%d/status" % zombie))
holds("a zombie", (status["State"].split()[0], status["Uid"].split()[0]), ("Z", str(user)))
holds("its status", os.waitpid(zombie, 0), (zombie, 7 << 8))
for what, number in (
    ("the pipe", pipe[0]),
    ("the FIFO", fifo),
    ("a socket of the pair", one.fileno()),
    ("the other", other.fileno()),
    ("the server", server.fileno()),
    ("the datagram socket", datagram.fileno()),
    ("the stream socket", stream.fileno()),
    ("the memory", memory),
    ("the file without a name", gone.fileno()),
    ("the message queue", queue),
    ("the log", log.fileno()),
):
    owner(what, os.fstat(number))
holds("root's pipe", os.fstat(roots[0]).st_uid, 0)
holds("the terminal", os.fstat(slave).st_uid, user)
found = os.stat(home + "/socket")
holds("the socket's file", (found.st_uid, found.st_gid), (user, web))
holds("the segment", lines("/proc/sysvipc/shm", segment), [user, group, user, group])
holds("the semaphores", lines("/proc/sysvipc/sem", semaphores), [user, group, user, group])
credentials = struct.calcsize("3i")
data, more, _, _ = one.recvmsg(100, socket.CMSG_SPACE(credentials))
holds("who has sent it", (data, struct.unpack("3i", more[0][2])[1:]), (b"waits", (user, group)))
peer = one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials)
holds("the peer", struct.unpack("3i", peer)[1:], (user, group))
for waits in (signal.SIGUSR2, signal.SIGRTMIN):
    holds("who has sent signal %d" % waits, signal.sigtimedwait([waits], 0).si_uid, user)
log.write(b"on")
open(home + "/new", "w").close()
owner("a new file", os.stat(home + "/new"))
libc.shmctl(segment, IPC_RMID, None)
libc.semctl(semaphores, 0, IPC_RMID)
libc.mq_unlink(b"/owners-%d" % os.getpid())
print("right", not wrong, *wrong, flush=True)
