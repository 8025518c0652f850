//! A conversation between a test and a program that says again whatever it hears, or has finished and only listens.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use harness::wait::PATIENCE;
use harness::{Job, User};

/// It connects, or is connected to, and ends when the other end has finished; told to wait, it has a last word then.
pub const ECHO: &str = r#"
import os, socket, sys, time
if sys.argv[1] == "accept":
    listener = socket.create_server((sys.argv[2], 0))
    open("port", "w").write("%d\n" % listener.getsockname()[1])
    end, _ = listener.accept()
else:
    end = socket.create_connection((sys.argv[2], int(sys.argv[3])))
if sys.argv[1] == "finish":
    end.shutdown(socket.SHUT_WR)
print("ready", flush=True)
heard = 0
while piece := end.recv(65536):
    heard += len(piece)
    if sys.argv[1] != "finish":
        end.sendall(piece)
print("heard", heard, flush=True)
if sys.argv[1] == "wait":
    while not os.path.exists("go"):
        time.sleep(0.01)
    end.sendall(b"the last word")
end.close()
print("done", flush=True)
"#;

/// The test's half. What it says is a stream that looks the same nowhere.
pub struct Talk {
    end: TcpStream,
    said: u64,
    heard: u64,
}

fn byte(place: u64) -> u8 {
    (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn stream(from: u64, length: usize) -> Vec<u8> {
    (from..from + length as u64).map(byte).collect()
}

impl Talk {
    /// The program connects to us on this machine.
    pub fn start(host: &str, user: User) -> (Self, Job) {
        let listener = TcpListener::bind((host, 0)).unwrap_or_else(|error| panic!("{error}"));
        Self::with(listener, user)
    }

    /// The program connects to this one.
    pub fn with(listener: TcpListener, user: User) -> (Self, Job) {
        Self::told("connect", &listener, user)
    }

    /// The same, and it does so.
    pub fn told(how: &str, listener: &TcpListener, user: User) -> (Self, Job) {
        let address = listener.local_addr().unwrap_or_else(|error| panic!("{error}"));
        let arguments = [how, &address.ip().to_string(), &address.port().to_string()];
        let job = Job::script(&["python3"], user, ("echo.py", ECHO), &arguments);
        job.wait_for("ready");
        let (end, _) = listener.accept().unwrap_or_else(|error| panic!("{error}"));
        (Self::of(end), job)
    }

    /// We connect to the program, which goes on listening.
    pub fn accepted(host: &str, user: User) -> (Self, Job) {
        let mut job = Job::script(&["python3"], user, ("echo.py", ECHO), &["accept", host]);
        let file = job.specimen().folder().join("port");
        let port = harness::wait::until(PATIENCE, || {
            let text = std::fs::read_to_string(&file).ok()?;
            text.strip_suffix('\n')?.parse::<u16>().ok()
        });
        let port = port.unwrap_or_else(|| panic!("it does not listen"));
        let end = TcpStream::connect((host, port)).unwrap_or_else(|error| panic!("{error}"));
        job.wait_for("ready");
        (Self::of(end), job)
    }

    fn of(end: TcpStream) -> Self {
        for set in [end.set_read_timeout(Some(PATIENCE)), end.set_write_timeout(Some(PATIENCE))] {
            set.unwrap_or_else(|error| panic!("{error}"));
        }
        Self { end, said: 0, heard: 0 }
    }

    /// The program's address.
    pub fn peer(&self) -> SocketAddr {
        self.end.peer_addr().unwrap_or_else(|error| panic!("{error}"))
    }

    /// How much has been said, bytes.
    pub fn said(&self) -> u64 {
        self.said
    }

    /// Our own address.
    pub fn own(&self) -> SocketAddr {
        self.end.local_addr().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Says so many bytes.
    pub fn say(&mut self, length: usize) {
        self.end.write_all(&stream(self.said, length)).unwrap_or_else(|error| panic!("{error}"));
        self.said += length as u64;
    }

    /// Says at most so many bytes: as many as are taken at once.
    pub fn say_what_fits(&mut self, most: usize) -> usize {
        self.end.set_nonblocking(true).unwrap_or_else(|error| panic!("{error}"));
        let (all, mut said) = (stream(self.said, most), 0);
        while said < most {
            match self.end.write(&all[said..]) {
                Ok(taken) => said += taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.end.set_nonblocking(false).unwrap_or_else(|error| panic!("{error}"));
        self.said += said as u64;
        said
    }

    /// Says more and hears nothing until nothing is taken any more: then all queues of both directions are full.
    pub fn fill(&mut self) {
        let mut last = Instant::now();
        while last.elapsed() < Duration::from_millis(300) {
            if self.say_what_fits(1 << 20) > 0 {
                last = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(self.said - self.heard > 1 << 20, "{} of {}", self.heard, self.said);
    }

    /// Hears so many bytes.
    pub fn hear(&mut self, length: usize) {
        let mut bytes = vec![0; length];
        self.end
            .read_exact(&mut bytes)
            .unwrap_or_else(|error| panic!("{} heard of {}: {error}", self.heard, self.said));
        self.expect(&bytes);
    }

    fn expect(&mut self, bytes: &[u8]) {
        let expected = stream(self.heard, bytes.len());
        let same = bytes.iter().zip(&expected).take_while(|(one, other)| one == other).count();
        assert_eq!(same, bytes.len(), "byte {} is another one than was said", self.heard + same as u64);
        self.heard += bytes.len() as u64;
    }

    /// Says something, and hears it and all before it.
    pub fn exchange(&mut self, length: usize) {
        self.say(length);
        self.hear((self.said - self.heard) as usize);
    }

    /// Says that it is the end; how much has been said.
    pub fn finish(&mut self) -> u64 {
        self.end.shutdown(Shutdown::Write).unwrap_or_else(|error| panic!("{error}"));
        self.said
    }

    /// Hears these words, and the end.
    pub fn hear_last(&mut self, words: &[u8]) {
        let mut bytes = Vec::new();
        self.end.read_to_end(&mut bytes).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(words));
    }

    /// Finishes, hears all that is left, and that it is the end.
    pub fn hear_all(&mut self) {
        self.finish();
        let mut bytes = vec![0; 1 << 16];
        loop {
            match self.end.read(&mut bytes) {
                Ok(0) => break,
                Ok(length) => self.expect(&bytes[..length]),
                Err(error) => panic!("{} heard of {}: {error}", self.heard, self.said),
            }
        }
        assert_eq!(self.heard, self.said, "heard (left) is less than was said (right)");
    }

    /// Whether it finds the connection reset, at the latest by its next words.
    pub fn is_reset(&mut self) -> bool {
        let reset = |kind| matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
        let _ = self.end.write(b"?");
        let mut bytes = vec![0; 1 << 16];
        loop {
            match self.end.read(&mut bytes) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return reset(error.kind()),
            }
        }
    }
}
