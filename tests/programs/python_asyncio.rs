//! python3 with asyncio: timers, a child process on pipes, a pair of sockets, a server on a socket with a name.

use harness::{Job, User};

as_each_user!(carries_on);

/// Lines go out and come back through a child, a pair of sockets and a server; timers tick meanwhile.
const SCRIPT: &str = r#"
import asyncio, os, socket

LINES = 200
ticks = 0

async def tick():
    global ticks
    while True:
        await asyncio.sleep(0.005)
        ticks += 1

async def through(reader, writer, what):
    for number in range(LINES):
        writer.write(f"{what} {number}\n".encode())
        await writer.drain()
        line = await asyncio.wait_for(reader.readline(), timeout=30)
        assert line == f"{what} {number}\n".encode(), (what, number, line)
        await asyncio.sleep(0.002)

async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line)
    writer.close()

async def main():
    ticker = asyncio.create_task(tick())
    cat = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    left, right = socket.socketpair()
    ours, theirs = await asyncio.open_connection(sock=left), await asyncio.open_connection(sock=right)
    echoing = asyncio.create_task(echo(*theirs))
    server = await asyncio.start_unix_server(echo, "server")
    client = await asyncio.open_unix_connection("server")
    print("ready", flush=True)
    await asyncio.gather(
        through(cat.stdout, cat.stdin, "child"),
        through(*ours, "pair"),
        through(*client, "server"),
        asyncio.to_thread(lambda: [os.stat("server") for _ in range(1000)]),
    )
    while not os.path.exists("go"):
        await asyncio.sleep(0.01)
    late = await asyncio.open_unix_connection("server")
    await through(*late, "late")
    cat.stdin.close()
    ours[1].close()
    client[1].close()
    assert await cat.wait() == 0
    await echoing
    ticker.cancel()
    server.close()
    assert ticks > 20, ticks
    print("every line came back")

asyncio.run(main())
"#;

fn carries_on(user: User) {
    let mut job = Job::script(&["python3"], user, ("lines.py", SCRIPT), &[]);
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\nevery line came back\n");
}
