//! A program that is between vfork and exec nearly all the time: it cannot be stopped before its child goes on.

use std::process::Command;

use harness::{Job, User};

as_each_user!(carries_on);

/// Starts one program after another; the children take their time before they are programs of their own.
const SOURCE: &str = r#"
#define _DEFAULT_SOURCE
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    int ended = 0, wrong = 0;
    puts("ready");
    fflush(stdout);
    while (access("go", F_OK) != 0) {
        pid_t child = vfork();
        if (child == 0) {
            usleep(40000);
            execl("/bin/sh", "sh", "-c", "exit 7", (char *)0);
            _exit(1);
        }
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 7 << 8)
            wrong++;
        ended++;
    }
    printf("%d wrong, %s\n", wrong, ended > 2 ? "many children" : "few children");
    return 0;
}
"#;

fn carries_on(user: User) {
    let mut job = Job::start("vfork", user, |folder| {
        super::compile(folder, ("main.c", SOURCE), &["gcc", "-o", "starter", "main.c"]);
        Command::new(folder.join("starter"))
    });
    job.wait_for("ready");
    job.nap_often(5);
    job.make("go");
    assert_eq!(job.end(), "ready\n0 wrong, many children\n");
}
