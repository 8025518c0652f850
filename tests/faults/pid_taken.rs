//! Somebody else has a pid of the group when it is to come back.

use std::path::Path;

use harness::specimen::Answer;
use harness::{Program, Specimen, User};

use crate::ZOO;

/// A child of this test with a pid of our choice, clone3(2); it ends at once, or waits until it is killed.
fn child(pid: i32, ends: bool) {
    let wanted = [pid];
    // SAFETY: plain numbers, for which zeros are as good as any.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.set_tid = wanted.as_ptr() as u64;
    arguments.set_tid_size = 1;
    // SAFETY: the arguments live through the call; like fork(2) it shares no memory with the child.
    let made = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) };
    if made == 0 {
        if !ends {
            // SAFETY: waits for a signal, here the one that kills it, and takes nothing.
            unsafe { libc::pause() };
        }
        // SAFETY: ends the child, and nothing of this test's with it.
        unsafe { libc::_exit(0) };
    }
    assert_eq!(made, i64::from(pid), "clone3: {}", std::io::Error::last_os_error());
}

#[test]
fn a_pid_that_somebody_has_is_named_with_who_it_is() {
    let mut specimen = Specimen::start(Path::new(ZOO), &Program::named("sessions"), User::Root);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let group = specimen.members();
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&group);
    let (pid, own) = (specimen.pid(), std::process::id());
    let others: Vec<i32> = group.iter().copied().filter(|other| *other != pid).collect();
    let cases = [
        (true, format!("pid {pid} is still held by"), format!("its parent, pid {own}, has reaped it")),
        (false, format!("pid {pid} belongs to another process now"), "End that process".to_owned()),
    ];
    for (ends, why, way_out) in cases {
        child(pid, ends);
        if ends {
            harness::wait::until(harness::wait::PATIENCE, || {
                harness::process::Stat::of(pid).is_some_and(|stat| stat.is_dead()).then_some(())
            });
        }
        let outcome = specimen.thaw_with(&["--pid-namespace", "never"]);
        let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(outcome.status.code(), Some(1), "{said}");
        assert!(said.contains(&why) && said.contains(&way_out), "it does not say `{why}`, `{way_out}`:\n{said}");
        let back: Vec<_> = others.iter().filter(|pid| harness::process::Stat::of(**pid).is_some()).collect();
        assert!(back.is_empty(), "a refused thaw left {back:?}");
        // SAFETY: sends a signal to the child made above, which nobody has waited for.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        specimen.assert_asleep(&group);
    }
    specimen.thaw().expect_success("thaw");
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}
