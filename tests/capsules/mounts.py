"""Mounts, host names and control groups that only parts of a program have: its first process lives outside of all of them. Says in the end
whether everybody has what it had, and whether what two of them share is still one thing."""
import ctypes, json, mmap, os, select, socket, subprocess, sys, time

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
    found = {}
    for line in open("/proc/self/mountinfo"):
        one, other = [part.split() for part in line.split(" - ")]
        try:
            device = os.stat(one[4]).st_dev
        except OSError:
            continue
        if one[2] == "%d:%d" % (os.major(device), os.minor(device)):
            found[one[4]] = one[3:6] + other[:1]
    return sorted(found.values())

def write(path, text):
    with open(path, "w") as file:
        file.write(text)

class Part:
    """A part of the program, which has told its parent that it is ready, and tells it how it finds itself when it is asked."""
    def __init__(self, kind, *options, script=os.path.abspath(__file__), more=()):
        self.kind = kind
        self.own, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = [*options, "python3", "-ISB", script, "part", kind, str(theirs.fileno())]
        self.process = subprocess.Popen(words, pass_fds=[theirs.fileno(), *more])
        theirs.close()
        self.files = []
        self.seen = self.hear()
    def hear(self):
        text, files, _, _ = socket.recv_fds(self.own, 200000, 10)
        self.files += files
        return json.loads(text)
    def asked(self):
        self.own.send(b"?")
        return self.hear()
    def end(self):
        self.own.close()
        return self.process.wait()

class Sandboxed:
    """Holds all that can be held in a filesystem in memory that only it sees."""
    def __init__(self, place="/tmp"):
        self.below = None
        self.place = place
        write(place + "/text", "words of a part")
        os.link(place + "/text", place + "/other name")
        os.symlink("text", place + "/link")
        self.file = open(place + "/text", "r+")
        self.file.seek(6)
        self.gone = open(place + "/gone", "w+")
        self.gone.write("g" * 5000)
        self.gone.flush()
        os.unlink(place + "/gone")
        write(place + "/map", "m" * 8192)
        with open(place + "/map", "r+b") as mapped:
            self.map = mmap.mmap(mapped.fileno(), 8192)
        os.mkdir(place + "/watched")
        os.chdir(place + "/watched")
        self.watch = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert libc.inotify_add_watch(self.watch, os.fsencode(place + "/watched"), 0x100) == 1
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(place + "/socket")
        self.server.listen(1)
    def lends(self):
        self.lent = open(self.place + "/lent", "w+")
        self.lent.write("lent")
        self.lent.flush()
        return [self.lent.fileno()]
    def found(self):
        place = self.place
        client = socket.socket(socket.AF_UNIX)
        client.connect(place + "/socket")
        self.server.accept()[0].close()
        for _ in range(2):
            self.map[0] = self.map[0] ^ 1
            assert open(place + "/map", "rb").read(1)[0] == self.map[0]
        write(place + "/watched/new", "")
        os.unlink(place + "/watched/new")
        self.gone.seek(0)
        shown = open("/shown").read() if os.path.exists("/shown") else None
        return dict(shown=shown, text=os.pread(self.file.fileno(), 100, 0).decode(), position=self.file.tell(), gone=self.gone.read(), told=self.told(),
                    names=os.stat(place + "/text").st_nlink, same=os.path.samefile(place + "/text", place + "/other name"),
                    link=os.readlink(place + "/link"), below=self.below and self.below.asked(), cwd=os.getcwd())
    def told(self):
        """Whether something was made where it watches. A thaw says that something may have been missed; nobody waits for that."""
        told = False
        while select.select([self.watch], [], [], 0)[0]:
            said = os.read(self.watch, 1000)
            while said:
                length = int.from_bytes(said[12:16], "little")
                told, said = told or int.from_bytes(said[4:8], "little") == 0x100, said[16 + length:]
        return told

class Private(Sandboxed):
    """The same, and parts of the outside; others live further in."""
    def __init__(self):
        libc.sethostname(b"within", 6)
        mount("private", "/mnt", "tmpfs", options="size=8m,mode=1777")
        folder = os.path.dirname(os.path.abspath(__file__))
        os.makedirs(folder + "/low", exist_ok=True)
        os.makedirs("/mnt/here/deep")
        mount(folder + "/low", "/mnt/here/deep", None, BIND)
        mount(None, "/mnt/here/deep", None, BIND | REMOUNT | READ_ONLY)
        Sandboxed.__init__(self, "/mnt")
        self.below = Part("deeper", "unshare", "-m")
    def found(self):
        try:
            write("/mnt/here/deep/x", "")
            raise SystemExit("what was read-only can be written")
        except OSError:
            pass
        # It is at the root of its own control groups.
        return dict(Sandboxed.found(self), groups=open("/proc/self/cgroup").read())

class Deeper:
    """Sees what the one around it has mounted, and some of its own."""
    def __init__(self):
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
    """Has a /proc of its own, that shows it alone, and files of it open."""
    def __init__(self):
        self.status = open("/proc/self/status")
        self.own = os.open("/proc/%d/task/%d" % (os.getpid(), os.getpid()), os.O_RDONLY)
        self.below = None
        os.chdir("/proc")
    def lends(self):
        return []
    def found(self):
        pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
        self.status.seek(0)
        lines = [line for line in self.status if line.startswith(("Pid:", "NSpid:"))]
        return dict(pids=pids, pid=os.getpid(), cwd=os.getcwd(), command=open("/proc/self/comm").read(), lines=lines,
                    own=os.readlink("/proc/self/fd/%d" % self.own), there="stat" in os.listdir(self.own))

class Turned:
    """Has gone to mounts of its own without starting a program: what it had opened and mapped before lies outside."""
    def __init__(self):
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

PARTS = {"private": Private, "deeper": Deeper, "pids": Pids, "turned": Turned, "sandboxed": Sandboxed}

BWRAP = """bwrap --unshare-all --cap-drop ALL --hostname within --ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin /bin
--ro-bind /etc /etc --proc /proc --dev /dev --tmpfs /tmp --chdir /tmp --ro-bind""".split()

def begin(kind):
    if kind == "private":
        return Part(kind, "unshare", "-m", "-u", "-C")
    if kind == "pids":
        return Part(kind, "unshare", "-m", "-p", "--fork", "--mount-proc")
    if kind == "sandboxed":
        # A file that bubblewrap mounts and removes, as flatpak gives each app one.
        shown, tells = os.pipe()
        os.write(tells, b"what is shown")
        os.close(tells)
        words = [*BWRAP, os.path.dirname(os.path.abspath(__file__)), "/work", "--ro-bind-data", str(shown), "/shown"]
        part = Part(kind, *words, script="/work/mounts.py", more=[shown])
        os.close(shown)
        return part
    return Part(kind)

def part(kind, channel):
    channel = socket.socket(fileno=channel)
    own = PARTS[kind]()
    lent = own.lends()
    def told():
        return json.dumps(dict(own.found(), table=table(), host=os.uname().nodename)).encode()
    socket.send_fds(channel, [told()], lent)
    # What the thaw tells is read at once: else it would be lost by the next freeze.
    ready = [channel] + ([own.watch] if hasattr(own, "watch") else [])
    while True:
        if channel not in select.select(ready, [], [])[0]:
            own.told()
        elif channel.recv(100):
            channel.send(told())
        else:
            break
    if own.below:
        assert own.below.end() == 0

def children(pid):
    found = [pid]
    for one in found:
        found += map(int, open("/proc/%d/task/%d/children" % (one, one)).read().split())
    return found

def whole(kinds):
    parts = [begin(kind) for kind in kinds]
    lent = [(part, os.fdopen(part.files[0], "r+")) for part in parts if part.files]
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
    for part, theirs, told in zip(parts, before[0], before[1]):
        if part.kind in ("private", "sandboxed"):
            assert told["host"] == "within" != os.uname().nodename
    assert "private" not in kinds or before[0][0] == ["cgroup", "mnt", "uts"], before[0]
    print("ready", flush=True)
    while not os.path.exists("go"):
        time.sleep(0.01)
    after = seen(), asked()
    assert after[0] == before[0], "%r\nhas become\n%r" % (before[0], after[0])
    for one, other in zip(before[1], after[1]):
        for key in one:
            assert one[key] == other[key], "%s: %r\nhas become\n%r" % (key, one[key], other[key])
    for part, file in lent:
        file.seek(0)
        assert file.read() == "lent", "what was lent is another file"
        file.write(" and back")
        file.flush()
        place = "/mnt" if part.kind == "private" else "/tmp"
        inside = "/proc/%d/root%s" % (children(part.process.pid)[-1], place)
        assert open(inside + "/lent").read() == "lent and back"
        if part.kind == "private":
            write(inside + "/one", "one")
            assert open("/proc/%d/root/mnt/one" % part.process.pid).read() == "one", "what two of them see is two filesystems"
        assert not os.path.exists(place + "/lent"), "the mounts of a part are seen outside"
    assert not os.path.exists("/mnt/after"), "the mounts of a part are seen outside"
    for one in parts:
        assert one.end() == 0
    print("all is as it was", flush=True)

if sys.argv[1:2] == ["part"]:
    part(sys.argv[2], int(sys.argv[3]))
else:
    whole(sys.argv[1:])
