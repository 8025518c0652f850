//! 32-bit programs among 64-bit ones: each kind starts the other, a child goes on with the memory of its parent, and lines run through a
//! pipe from one kind to the other and back.

use std::path::Path;
use std::process::Command;

use harness::{Job, User};

as_each_user!(carry_on);

/// `start`: forks a child that holds what it has inherited, and has a shell start the others. `source` says numbers, `pass` passes lines
/// on, `sum` adds them up.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static __thread long own = 5;
static char inherited[1 << 20];

static int start(void) {
    int ends[2], status = 0, pages = 0;
    char byte;
    memset(inherited, 7, sizeof inherited);
    if (pipe(ends) != 0) return 1;
    own = 6;
    pid_t child = fork();
    if (child == 0) {
        close(ends[1]);
        for (int at = 0; at < 1 << 19; at += 4096) inherited[at] = 8;
        if (read(ends[0], &byte, 1) != 0) _exit(1);
        for (int at = 0; at < 1 << 20; at += 4096) pages += inherited[at] == (at < 1 << 19 ? 8 : 7);
        _exit(pages == 256 && own == 6 ? 0 : 2);
    }
    if (system("./narrow source | ./wide pass | ./narrow pass | ./wide pass | ./narrow sum") != 0) return 2;
    for (int at = 0; at < 1 << 20; at += 4096) pages += inherited[at] == 7;
    close(ends[1]);
    if (waitpid(child, &status, 0) != child || status != 0 || pages != 256 || own != 6) return 3;
    return 0;
}

static void *sum(void *answer) {
    long long all = 0, number;
    char line[64];
    while (fgets(line, sizeof line, stdin) != NULL && sscanf(line, "%lld", &number) == 1) all += number;
    *(long long *)answer = all;
    return NULL;
}

int main(int count, char **given) {
    const char *part = count > 1 ? given[1] : "start";
    if (strcmp(part, "start") == 0) return start();
    if (strcmp(part, "sum") == 0) {
        pthread_t thread;
        long long all = -1;
        pthread_create(&thread, NULL, sum, &all);
        pthread_join(thread, NULL);
        printf("%lld\n", all);
        return 0;
    }
    char line[64];
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(part, "pass") == 0) {
        while (fgets(line, sizeof line, stdin) != NULL) fputs(line, stdout);
        return 0;
    }
    fputs("ready\n", stderr);
    long long number = 0;
    while (access("go", F_OK) != 0) {
        printf("%lld\n", number = number + 1);
        if (number % 16 == 0) usleep(3000);
    }
    for (; number < 100000; number++) printf("%lld\n", number + 1);
    return 0;
}
"#;

fn carry_on(user: User) {
    for first in ["narrow", "wide"] {
        let mut job = Job::start("32-bit programs", user, |folder| {
            compile(folder);
            let mut command = Command::new("sh");
            command.args(["-c", "exec 2>&1; exec ./$0 start"]).arg(first);
            command
        });
        job.wait_for("ready");
        job.nap_often(10);
        job.make("go");
        let said = job.end();
        let sum: u64 = said.lines().last().and_then(|line| line.parse().ok()).unwrap_or_default();
        // It may have said more until it was told to go on.
        let last = (100_000..1 << 32).find(|last| last * (last + 1) / 2 >= sum).unwrap_or_default();
        assert_eq!(sum, last * (last + 1) / 2, "{said}");
    }
}

fn compile(folder: &Path) {
    super::compile(folder, ("main.c", SOURCE), &["gcc", "-pthread", "-o", "wide", "main.c"]);
    super::compile(folder, ("main.c", SOURCE), &["gcc", "-m32", "-pthread", "-o", "narrow", "main.c"]);
}
