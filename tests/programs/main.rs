//! Real programs: each is frozen in the middle of its work, comes back, and must carry on with all its state to the
//! right result. One file a program.
#![allow(missing_docs, clippy::panic)]

/// The test functions of a program: `carries_on` for each user.
macro_rules! as_each_user {
    ($($test:ident),+) => {
        mod as_root {
            $(#[test]
            fn $test() {
                super::$test(harness::User::Root);
            })+
        }
        mod as_user {
            $(#[test]
            fn $test() {
                super::$test(harness::User::Ordinary);
            })+
        }
    };
}

mod browsers;
mod bus;
mod erlang;
mod fatrace;
mod fio;
mod gdb;
mod go;
mod http;
mod ia32;
#[cfg(feature = "heavy")]
mod ia32_debian;
mod java;
mod large;
mod make;
#[cfg(feature = "heavy")]
mod mariadb;
mod memcached;
#[cfg(feature = "heavy")]
mod nginx;
mod node;
mod node_http;
mod perl;
mod postgres;
mod python_asyncio;
mod python_forks;
mod python_multiprocessing;
mod python_threads;
#[cfg(feature = "heavy")]
mod qemu;
#[cfg(feature = "heavy")]
mod rabbitmq;
mod redis;
mod rounds;
mod rust;
mod shell;
mod sqlite3;
#[cfg(feature = "heavy")]
mod ssh;
mod tail;
mod terminal_job;
mod terminal_number;
mod tmux;
#[cfg(feature = "heavy")]
mod udhcpc;
mod vfork;
mod weston;
mod xterm;

use std::fs;
use std::path::Path;
use std::process::Command;

/// A port that nobody has just now, as text.
fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0");
    let own = listener.and_then(|listener| listener.local_addr());
    own.unwrap_or_else(|error| panic!("{error}")).port().to_string()
}

/// Writes a source file into a folder and compiles it there.
fn compile(folder: &Path, (file, text): (&str, &str), words: &[&str]) {
    fs::write(folder.join(file), text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let output = Command::new(words[0]).args(&words[1..]).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{} does not start: {error}", words[0]));
    assert!(output.status.success(), "{words:?}:\n{}", String::from_utf8_lossy(&output.stderr));
}
