//! RabbitMQ with a client: messages that are on its disk and such that are not, taken and not acknowledged, and waiting.

use std::fs;

use harness::{Job, User};

as_each_user!(goes_on_with_messages);

/// The server with the daemon by which Erlang's machines find each other, and a client that stays connected, in one group.
pub const SCRIPT: &str = r#"
import os, subprocess, sys, time
import pika
folder, (scripts, mapper_port, port, own_port) = os.getcwd(), sys.argv[1:]
environment = dict(os.environ, HOME=folder, ERL_EPMD_PORT=mapper_port, ERL_EPMD_ADDRESS="127.0.0.1", RABBITMQ_NODENAME="dormouse@localhost",
                   RABBITMQ_NODE_IP_ADDRESS="127.0.0.1", RABBITMQ_NODE_PORT=port, RABBITMQ_DIST_PORT=own_port, RABBITMQ_MNESIA_BASE=folder + "/data",
                   RABBITMQ_LOG_BASE=folder + "/log", RABBITMQ_ENABLED_PLUGINS_FILE=folder + "/plugins", RABBITMQ_CONF_ENV_FILE="/dev/null",
                   RABBITMQ_PID_FILE=folder + "/pid")
mapper = subprocess.Popen(["epmd", "-port", mapper_port, "-address", "127.0.0.1"], env=environment)
server = subprocess.Popen([scripts + "/rabbitmq-server"], env=environment, stdin=subprocess.DEVNULL, stdout=open("server.log", "w"), stderr=subprocess.STDOUT)
parameters = pika.ConnectionParameters("127.0.0.1", int(port))
def connect():
    for _ in range(1200):
        try:
            return pika.BlockingConnection(parameters)
        except pika.exceptions.AMQPConnectionError:
            assert server.poll() is None, open("server.log").read()
            time.sleep(0.05)
    raise SystemExit("nobody accepts: " + open("server.log").read())
connection = connect()
channel = connection.channel()
channel.confirm_delivery()
channel.queue_declare("kept", durable=True)
channel.queue_declare("passing")
for number in range(200):
    channel.basic_publish("", "kept", b"%d" % number, pika.BasicProperties(delivery_mode=2))
    channel.basic_publish("", "passing", b"%d" % number * 1000, pika.BasicProperties(delivery_mode=1))
# Taken, and not acknowledged yet.
taken = [channel.basic_get("kept") for _ in range(10)]
print("ready", flush=True)
while not os.path.exists("go"):
    connection.process_data_events(0.05)
channel.basic_ack(taken[4][0].delivery_tag, multiple=True)
channel.basic_nack(taken[9][0].delivery_tag, multiple=True)
def drained(queue):
    found = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return found
        found.append(body)
print("kept", drained("kept") == [b"%d" % number for number in range(5, 200)])
print("passing", drained("passing") == [b"%d" % number * 1000 for number in range(200)])
again = connect()
again.channel().basic_publish("", "kept", b"anew")
again.close()
print("another client", channel.basic_get("kept", auto_ack=True)[2] == b"anew", flush=True)
connection.close()
server.terminate()
server.wait()
mapper.terminate()
mapper.wait()
"#;

/// The folder of its scripts, whose version Debian has in its path.
fn scripts() -> String {
    let versions = fs::read_dir("/usr/lib/rabbitmq/lib").into_iter().flatten().flatten();
    let found = versions.map(|entry| entry.path().join("sbin")).find(|path| path.join("rabbitmq-server").exists());
    found.unwrap_or_else(|| panic!("is the package rabbitmq-server installed?")).display().to_string()
}

fn goes_on_with_messages(user: User) {
    let ports = [(); 3].map(|()| super::free_port());
    let arguments = [&scripts(), &ports[0], &ports[1], &ports[2]];
    let mut job =
        Job::script(&["/usr/bin/python3", "-B"], user, ("messages.py", SCRIPT), &arguments.map(String::as_str));
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\nkept True\npassing True\nanother client True\n");
}
