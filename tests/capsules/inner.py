"""Sandboxes within a group, as browsers make them for their parts: its first process lives outside of all of them. Says in the end
whether everybody has what it had."""
import ctypes, json, os, socket, subprocess, sys, threading, time

KINDS = ["ipc", "net", "pid", "user"]
libc = ctypes.CDLL(None, use_errno=True)

def namespaces():
    return {kind: os.readlink("/proc/self/ns/" + kind) for kind in KINDS + ["mnt", "uts", "cgroup"]}

def differ(one, other):
    return sorted(kind for kind in one if one[kind] != other[kind])

def shut_in():
    """Stays in the directory of a process that ends, as Chromium and Firefox do."""
    if libc.syscall(56, 0x200 | 17, 0, 0, 0, 0) == 0:
        os.chroot("/proc/self/fdinfo")
        os.chdir("/")
        os._exit(0)
    os.wait()

class Part:
    """A part of the program, which has told its parent that it is ready, and tells it how it finds itself when it is asked."""
    def __init__(self, level, *options):
        self.own, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = ["unshare", *options, sys.executable, "-ISB", os.path.abspath(__file__), "part", str(level), str(theirs.fileno())]
        self.process = subprocess.Popen(words, pass_fds=[theirs.fileno()])
        theirs.close()
        self.seen = self.hear()
    def hear(self):
        return json.loads(self.own.recv(100000))
    def asked(self):
        self.own.send(b"?")
        return self.hear()

def part(level, channel):
    """What it holds, by numbers and names that only hold where it lives."""
    channel = socket.socket(fileno=channel)
    tids, stays = [], threading.Event()
    def thread():
        tids.append(threading.get_native_id())
        stays.wait()
    for count in range(3):
        threading.Thread(target=thread, daemon=True).start()
        while len(tids) == count:
            time.sleep(0.001)
    with open("/proc/sys/user/max_uts_namespaces", "w") as file:
        file.write(str(100 + level))
    own = os.getpid()
    child = os.fork()
    if child == 0:
        while os.getppid() == own:
            time.sleep(0.1)
        os._exit(0)
    name = "\0inner-%d" % level
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(name)
    listener.listen(1)
    one, other = socket.socketpair()
    other.send(b"waits")
    # Deeper ones, each within this.
    below = Part(level + 1, "--user", "--map-root-user", "--pid", "--fork") if level < 2 else None
    links = {"user": namespaces()["user"]} if level < 2 else {}
    if level == 2:
        shut_in()
    def found():
        os.kill(child, 0)
        for tid in tids:
            assert libc.syscall(234, os.getpid(), tid, 0) == 0, "thread %d is not there" % tid
        caller = socket.socket(socket.AF_UNIX)
        caller.connect(name)
        caller.close()
        listener.accept()[0].close()
        # Nobody sees it from the directory of a dead process.
        limit = int(open("/proc/sys/user/max_uts_namespaces").read()) if level < 2 else None
        return dict(limit=limit, pid=os.getpid(), parent=os.getppid(), child=child, tids=tids, uid=os.getresuid(), gid=os.getresgid(),
                    groups=os.getgroups(), waits=one.recv(5, socket.MSG_PEEK).decode(), below=below and below.asked())
    channel.send(json.dumps(found()).encode())
    while channel.recv(1):
        channel.send(json.dumps(found()).encode())

def whole():
    first = Part(1, "--user", "--map-root-user", "--pid", "--net", "--ipc", "--fork")
    # Without pids of its own, and a maker that becomes it.
    flat = Part(2, "--user", "--map-root-user", "--net", "--ipc")
    parts = [first, flat]
    def inside(part):
        pids = [part.process.pid]
        for pid in pids:
            pids += map(int, open("/proc/%d/task/%d/children" % (pid, pid)).read().split())
        return pids
    def seen():
        own = namespaces()
        every = []
        for part in parts:
            for pid in inside(part):
                theirs = {kind: os.readlink("/proc/%d/ns/%s" % (pid, kind)) for kind in own}
                numbers = [line.split()[1:] for line in open("/proc/%d/status" % pid) if line.startswith("NSpid")]
                maps = open("/proc/%d/uid_map" % pid).read() + open("/proc/%d/setgroups" % pid).read()
                root = os.readlink("/proc/%d/root" % pid)
                every.append([differ(theirs, own), numbers, maps, root == "/", root.endswith("/fdinfo")])
        return every
    def asked():
        return [part.asked() for part in parts]
    before = seen(), asked()
    assert before[0][0][0] == ["ipc", "net", "user"], before
    assert max(len(numbers[0]) for _, numbers, *_ in before[0]) == 3, before
    assert any(nowhere for *_, nowhere in before[0]), before
    print("ready", flush=True)
    while not os.path.exists("go"):
        time.sleep(0.01)
    after = seen(), asked()
    assert after == before, "%r\nhas become\n%r" % (before, after)
    try:
        socket.socket(socket.AF_UNIX).connect("\0inner-1")
        raise SystemExit("the network within is not one of its own")
    except ConnectionRefusedError:
        pass
    # They end with what they talk to.
    for one in parts:
        one.own.close()
        assert one.process.wait() == 0
    print("all is as it was", flush=True)

if sys.argv[1:2] == ["part"]:
    part(int(sys.argv[2]), int(sys.argv[3]))
else:
    whole()
