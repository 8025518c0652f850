//! A Java program: dozens of threads, the compiler and the garbage collector at work.

use std::process::Command;

use harness::{Job, User};

as_each_user!(carries_on, carries_on_from_source);

/// Threads make much garbage and add up numbers that are known; a timer ticks meanwhile.
const SOURCE: &str = r#"
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

public class Busy {
    static final int THREADS = 32, ROUNDS = 120;

    static long mix(long x) {
        for (int i = 0; i < 1000; i++) { x ^= x << 13; x ^= x >>> 7; x ^= x << 17; }
        return x;
    }

    static long work(int own, Map<Integer, Long> found) throws Exception {
        Deque<byte[]> young = new ArrayDeque<>();
        long sum = 0;
        for (int round = 0; round < ROUNDS; round++) {
            young.add(new byte[20000]);
            if (young.size() > 20) young.poll();
            sum += mix(own * 1000L + round + 1);
            found.put(own * 1000 + round, sum);
            Thread.sleep(2);
        }
        return sum;
    }

    public static void main(String[] arguments) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(THREADS);
        ScheduledExecutorService timer = Executors.newScheduledThreadPool(2);
        AtomicInteger ticks = new AtomicInteger();
        timer.scheduleAtFixedRate(ticks::incrementAndGet, 0, 10, TimeUnit.MILLISECONDS);
        Map<Integer, Long> found = new ConcurrentHashMap<>();
        List<Future<Long>> sums = new ArrayList<>();
        for (int thread = 0; thread < THREADS; thread++) {
            final int own = thread;
            sums.add(pool.submit(() -> work(own, found)));
        }
        System.out.println("ready");
        long total = 0, again = 0;
        for (Future<Long> sum : sums) total += sum.get();
        while (!new java.io.File("go").exists()) Thread.sleep(10);
        pool.shutdown();
        timer.shutdown();
        for (int own = 0; own < THREADS; own++)
            for (int round = 0; round < ROUNDS; round++) again += mix(own * 1000L + round + 1);
        boolean right = total == again && found.size() == THREADS * ROUNDS && ticks.get() > 10;
        System.out.println(right ? "the right sum" : "wrong: " + total + " " + again + " " + ticks);
    }
}
"#;

/// Compiled before it is started.
fn carries_on(user: User) {
    let _alone = harness::alone::with_java();
    let job = Job::start("java", user, |folder| {
        super::compile(folder, ("Busy.java", SOURCE), &["javac", "Busy.java"]);
        let mut command = Command::new("java");
        command.args(["-Xmx96m", "Busy"]);
        command
    });
    naps(job);
}

/// Compiled by the program itself.
fn carries_on_from_source(user: User) {
    let _alone = harness::alone::with_java();
    naps(Job::script(&["java", "-Xmx96m"], user, ("Busy.java", SOURCE), &[]));
}

fn naps(mut job: Job) {
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\nthe right sum\n");
}
