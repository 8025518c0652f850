//! A kernel without nf_tables: what the command finds there, by a filter of system calls that answers for it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use harness::User;
use harness::specimen::without_inheritance;
use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};

use crate::network::Network;
use crate::talk::Talk;
use crate::{ends_well, says};

/// socket(2) for netfilter answers as where there is none; runs between fork and exec.
fn without_netfilter() -> std::io::Result<()> {
    let step =
        |code: u32, yes: u8, no: u8, value: u32| libc::sock_filter { code: code as u16, jt: yes, jf: no, k: value };
    let word = BPF_LD | BPF_W | BPF_ABS;
    let equals = BPF_JMP | BPF_JEQ | BPF_K;
    let steps = [
        step(word, 0, 0, 0),
        step(equals, 0, 5, libc::SYS_socket as u32),
        step(word, 0, 0, 16), // The family.
        step(equals, 0, 3, libc::AF_NETLINK as u32),
        step(word, 0, 0, 32), // The protocol.
        step(equals, 0, 1, libc::NETLINK_NETFILTER as u32),
        step(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPROTONOSUPPORT as u32),
        step(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_ptr().cast_mut() };
    // SAFETY: the steps live through the call, and are as many as is said.
    let set = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if set < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

#[test]
fn without_netfilter_it_is_said_before_anything_is_touched() {
    let _network = Network::new();
    let (mut talk, mut job) = Talk::start("127.0.0.1", User::Ordinary);
    talk.exchange(1000);
    let (pid, image) = (job.specimen().pid().to_string(), job.specimen().image());
    let image_name = image.to_string_lossy().into_owned();
    for (words, status) in [(&["check", &pid][..], 2), (&["freeze", &pid, "-o", &image_name], 1)] {
        let mut command = Command::new(harness::command::path());
        without_inheritance(command.args(words).arg("--keep-connections"));
        // SAFETY: between fork and exec it makes one system call, with what is on its stack.
        unsafe { command.pre_exec(without_netfilter) };
        let out = command.output().unwrap_or_else(|error| panic!("{error}"));
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert_eq!(out.status.code(), Some(status), "{said}");
        says(&said, &["connections cannot be kept here", "CONFIG_NF_TABLES_INET", "without --keep-connections"]);
        assert!(!image.exists());
        talk.exchange(1000);
    }
    talk.hear_all();
    ends_well(&mut job, &talk);
}
