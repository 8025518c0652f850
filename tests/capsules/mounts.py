"""Mounts, host names and control groups that only parts of a program have: its first process lives outside of all of them. Says in the end
whether everybody has what it had, and whether what two of them share is still one thing."""
import array, ctypes, json, mmap, os, select, socket, subprocess, sys, time

KINDS = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"]
libc = ctypes.CDLL(None, use_errno=True)

def mount(source, target, kind, flags=0, options=None):
    words = [word and os.fsencode(word) for word in (source, target, kind, options)]
    if libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]) != 0:
        raise OSError(ctypes.get_errno(), "mount of " + target)

BIND, REC, PRIVATE, READ_ONLY, REMOUNT = 0x1000, 0x4000, 1 << 18, 1, 0x20

def namespaces(pid="self"):
    return {kind: os.readlink("/proc/%s/ns/%s" % (pid, kind)) for kind in KINDS}

def table():
    """What is mounted where, but for what hides below others: no numbers that another boot would give otherwise."""
    lines = [line.split(" - ") for line in open("/proc/self/mountinfo").read().splitlines()]
    return sorted({one.split()[4]: one.split()[3:6] + other.split()[:1] for one, other in lines}.values())

def write(path, text):
    with open(path, "w") as file:
        file.write(text)

class Part:
    """A part of the program, which has told its parent that it is ready, and tells it how it finds itself when it is asked."""
    def __init__(self, kind, *options):
        self.own, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = [*options, sys.executable, "-ISB", os.path.abspath(__file__), "part", kind, str(theirs.fileno())]
        self.process = subprocess.Popen(words, pass_fds=[theirs.fileno()])
        theirs.close()
        self.files = []
        self.seen = self.hear()
    def hear(self):
        text, files, _, _ = socket.recv_fds(self.own, 200000, 10)
        self.files += files
        return json.loads(text)
    def asked(self, word="?"):
        self.own.send(word.encode())
        return self.hear()
    def end(self):
        self.own.close()
        return self.process.wait()

class Private:
    """Holds all that can be held in a filesystem that only it sees."""
    def __init__(self, below):
        libc.sethostname(b"within", 6)
        self.place = "/mnt"
        mount("private", "/mnt", "tmpfs", options="size=8m,mode=1777")
        folder = os.path.dirname(os.path.abspath(__file__))
        os.makedirs(folder + "/low", exist_ok=True)
        os.makedirs("/mnt/here/deep")
        mount(folder + "/low", "/mnt/here/deep", None, BIND)
        mount(None, "/mnt/here/deep", None, BIND | REMOUNT | READ_ONLY)
        write("/mnt/text", "words of a part")
        os.link("/mnt/text", "/mnt/other name")
        os.symlink("text", "/mnt/link")
        self.file = open("/mnt/text", "r+")
        self.file.seek(6)
        self.gone = open("/mnt/gone", "w+")
        self.gone.write("g" * 5000)
        self.gone.flush()
        os.unlink("/mnt/gone")
        write("/mnt/map", "m" * 8192)
        with open("/mnt/map", "r+b") as mapped:
            self.map = mmap.mmap(mapped.fileno(), 8192)
        os.mkdir("/mnt/watched")
        os.chdir("/mnt/watched")
        self.watch = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert libc.inotify_add_watch(self.watch, b"/mnt/watched", 0x100) == 1
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind("/mnt/socket")
        self.server.listen(1)
        self.below = Part("deeper", "unshare", "-m") if below else None
    def lends(self):
        self.lent = open("/mnt/lent", "w+")
        self.lent.write("lent")
        self.lent.flush()
        return [self.lent.fileno()]
    def found(self):
        client = socket.socket(socket.AF_UNIX)
        client.connect("/mnt/socket")
        self.server.accept()[0].close()
        assert open("/mnt/map").read(1) == chr(self.map[0])
        self.map[0] = self.map[0] ^ 1
        assert open("/mnt/map").read(1) == chr(self.map[0])
        self.map[0] = self.map[0] ^ 1
        write("/mnt/watched/new", "")
        os.unlink("/mnt/watched/new")
        told = self.told()
        self.gone.seek(0)
        try:
            write("/mnt/here/deep/x", "")
            raise SystemExit("what was read-only can be written")
        except OSError:
            pass
        return dict(text=os.pread(self.file.fileno(), 100, 0).decode(), position=self.file.tell(), gone=self.gone.read(), told=told,
                    names=os.stat("/mnt/text").st_nlink, same=os.path.samefile("/mnt/text", "/mnt/other name"), link=os.readlink("/mnt/link"),
                    below=self.below and self.below.asked(), cwd=os.getcwd())

    def told(self):
        """Whether something was made where it watches. A thaw says that something may have been missed; nobody waits for that."""
        told = False
        while select.select([self.watch], [], [], 0)[0]:
            said = os.read(self.watch, 1000)
            while said:
                length = int.from_bytes(said[12:16], "little")
                told, said = told or int.from_bytes(said[4:8], "little") == 0x100, said[16 + length:]
        return told

class Deeper:
    """Sees what the one around it has mounted, and some of its own."""
    def __init__(self, _):
        os.mkdir("/mnt/deepest")
        mount("deepest", "/mnt/deepest", "tmpfs", options="size=1m")
        mount("/mnt/here", "/mnt/watched", None, BIND)
        write("/mnt/deepest/own", "own")
        self.file = open("/mnt/deepest/own")
        self.shared = open("/mnt/shared", "w+")
        self.below = None
        os.chdir("/mnt/deepest")
    def lends(self):
        return []
    def found(self):
        # The same file, whoever of them writes to it.
        assert os.path.samestat(os.fstat(self.shared.fileno()), os.stat("/mnt/shared"))
        return dict(own=os.pread(self.file.fileno(), 10, 0).decode(), there=sorted(os.listdir("/mnt")), watched=os.listdir("/mnt/watched"))

class Pids:
    """Has a /proc of its own, that shows it alone."""
    def __init__(self, _):
        self.below = None
        os.chdir("/proc")
    def lends(self):
        return []
    def found(self):
        pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
        return dict(pids=pids, pid=os.getpid(), cwd=os.getcwd(), command=open("/proc/self/comm").read())

class Turned:
    """Has gone to mounts of its own without starting a program: what it had opened and mapped before lies outside."""
    def __init__(self, _):
        self.before = open(os.path.abspath(__file__))
        assert libc.unshare(0x20000) == 0
        mount(None, "/", None, REC | PRIVATE)
        mount("turned", "/mnt", "tmpfs")
        self.after = open("/mnt/after", "w+")
        self.after.write("after")
        self.after.flush()
        self.below = None
    def lends(self):
        return []
    def found(self):
        return dict(before=os.pread(self.before.fileno(), 3, 0).decode(), after=os.pread(self.after.fileno(), 10, 0).decode())

PARTS = {"private": Private, "deeper": Deeper, "pids": Pids, "turned": Turned}

def part(kind, channel):
    channel = socket.socket(fileno=channel)
    own = PARTS[kind](kind == "private")
    lent = own.lends()
    def told():
        return json.dumps(dict(own.found(), table=table(), host=os.uname().nodename)).encode()
    socket.send_fds(channel, [told()], lent)
    # What the thaw tells is read at once: else it would be lost by the next freeze.
    ready = [channel] + ([own.watch] if kind == "private" else [])
    while True:
        if channel not in select.select(ready, [], [])[0]:
            own.told()
        elif channel.recv(100):
            channel.send(told())
        else:
            break
    if own.below:
        assert own.below.end() == 0

def whole():
    parts = [Part("private", "unshare", "-m", "-u", "-C"), Part("pids", "unshare", "-m", "-p", "--fork", "--mount-proc"), Part("turned")]
    lent = os.fdopen(parts[0].files[0], "r+")
    def children(pid):
        found = [pid]
        for one in found:
            found += map(int, open("/proc/%d/task/%d/children" % (one, one)).read().split())
        return found
    def seen():
        own, every = namespaces(), []
        for part in parts:
            for pid in children(part.process.pid):
                theirs = namespaces(pid)
                every.append(sorted(kind for kind in own if own[kind] != theirs[kind]))
        return every
    def asked():
        return [part.asked() for part in parts]
    before = seen(), asked()
    assert before[0][0] == ["cgroup", "mnt", "uts"], before[0]
    assert before[1][0]["host"] == "within" != os.uname().nodename
    outside = table()
    print("ready", flush=True)
    while not os.path.exists("go"):
        time.sleep(0.01)
    after = seen(), asked()
    assert after[0] == before[0], "%r\nhas become\n%r" % (before[0], after[0])
    for one, other in zip(before[1], after[1]):
        for key in one:
            assert one[key] == other[key], "%s: %r\nhas become\n%r" % (key, one[key], other[key])
    lent.seek(0)
    assert lent.read() == "lent", "what was lent is another file"
    lent.write(" and back")
    lent.flush()
    inside = "/proc/%d/root" % parts[0].process.pid
    assert open(inside + "/mnt/lent").read() == "lent and back"
    deeper = children(parts[0].process.pid)[1]
    write("/proc/%d/root/mnt/one" % deeper, "one")
    assert open(inside + "/mnt/one").read() == "one", "what two of them see is two filesystems"
    assert not os.path.exists("/mnt/lent") and not os.path.exists("/mnt/after"), "the mounts of a part are seen outside"
    for one in parts:
        assert one.end() == 0
    print("all is as it was", flush=True)

if sys.argv[1:2] == ["part"]:
    part(sys.argv[2], int(sys.argv[3]))
else:
    whole()
