//! A Go program: goroutines on several threads, timers, a pipe that its runtime waits for with epoll, its garbage collector.

use std::process::Command;

use harness::{Job, User};

as_each_user!(carries_on, carries_on_after_ten_naps);

/// Fifty goroutines add up numbers, another counts ticks, another reads a pipe.
const SOURCE: &str = r#"
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"
)

func main() {
	runtime.GOMAXPROCS(4)
	var workers sync.WaitGroup
	numbers, sums := make(chan int), make(chan int, 8)
	for w := 0; w < 50; w++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			sum, busy := 0, 0
			for n := range numbers {
				sum += n
				for i := 0; i < 20000; i++ {
					busy = busy*31 + n
				}
				time.Sleep(time.Millisecond)
			}
			sums <- sum + busy - busy
		}()
	}
	ticker, ticks, stop, stopped := time.NewTicker(5*time.Millisecond), 0, make(chan bool), make(chan bool)
	go func() {
		for {
			select {
			case <-ticker.C:
				ticks++
			case <-stop:
				stopped <- true
				return
			}
		}
	}()
	out, in, _ := os.Pipe()
	got := make(chan int)
	go func() {
		block, length := make([]byte, 7), 0
		for {
			n, err := out.Read(block)
			length += n
			if err == io.EOF {
				got <- length
				return
			}
		}
	}()
	go func() {
		for i := 0; i < 300; i++ {
			fmt.Fprintf(in, "%05d\n", i)
			time.Sleep(time.Millisecond)
		}
		in.Close()
	}()
	last := 0
	go func() {
		garbage := [][]byte{}
		for {
			last++
			numbers <- last
			if garbage = append(garbage, make([]byte, 10000)); len(garbage) > 100 {
				garbage = nil
			}
			if _, err := os.Stat("go"); err == nil {
				break
			}
		}
		close(numbers)
	}()
	go func() { workers.Wait(); close(sums) }()
	fmt.Println("ready")
	total := 0
	for sum := range sums {
		total += sum
	}
	stop <- true
	<-stopped
	fmt.Println(total == last*(last+1)/2, <-got, ticks > 20)
}
"#;

fn carries_on(user: User) {
    naps(user, 3);
}

fn carries_on_after_ten_naps(user: User) {
    naps(user, 10);
}

fn naps(user: User, times: u32) {
    let mut job = Job::start("goroutines", user, |folder| {
        super::compile(folder, ("main.go", SOURCE), &["go", "build", "-o", "goroutines", "main.go"]);
        Command::new(folder.join("goroutines"))
    });
    job.wait_for("ready");
    job.nap_often(times);
    job.make("go");
    assert_eq!(job.end(), "ready\ntrue 1800 true\n");
}
