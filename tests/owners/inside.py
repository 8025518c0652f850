"""Lives in a sandbox of a user who is root in it, and says in the end whether it is his still."""

import os
import time

os.makedirs("/tmp/own")
with open("/tmp/own/file", "w") as file:
    file.write("his")
with open("/proc/sys/net/ipv4/ping_group_range", "w") as groups:
    groups.write("0 0")
pipe = os.pipe()
memory = os.memfd_create("held")
print("ready", flush=True)
while not os.path.exists("go"):
    time.sleep(0.02)

wrong = []


def holds(what, found, wanted):
    if found != wanted:
        wrong.append((what, found, wanted))


holds("users", os.getresuid(), (0, 0, 0))
holds("groups", os.getresgid(), (0, 0, 0))
holds("the map", open("/proc/self/uid_map").read().split(), ["0", "61220", "1"])
holds("that of groups", open("/proc/self/gid_map").read().split(), ["0", "61221", "1"])
holds("who may ping", open("/proc/sys/net/ipv4/ping_group_range").read().split(), ["0", "0"])
for what, found in (("the folder", os.stat("/tmp/own")), ("the file", os.stat("/tmp/own/file")),
                    ("the pipe", os.fstat(pipe[0])), ("the memory", os.fstat(memory))):
    holds(what, (found.st_uid, found.st_gid), (0, 0))
with open("/tmp/own/new", "w") as file:
    holds("a new file", os.fstat(file.fileno()).st_uid, 0)
print("right", not wrong, *wrong, flush=True)
