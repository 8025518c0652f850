//! What the window and the service cost while nobody does anything.

use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use dormouse_wire::{ByteSize, Listed};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::sample::jobs;
use super::stage::{Scenery, Stage};
use super::{done, line, usage};

/// Percent of one processor.
const BAR: f64 = 1.0;
const GROUPS: i32 = 100;
const MEMBERS: i32 = 5;
const WATCHED: Duration = Duration::from_secs(20);
/// The service tells of changes so often at most.
const INTERVAL: Duration = Duration::from_secs(2);
/// After this, a window that was opened is at rest.
const REST: Duration = Duration::from_secs(6);

/// The window alone, with a service that tells every two seconds of a fifth of the groups, and then of all of them.
pub fn run() -> String {
    let stage = Stage::with(jobs(GROUPS, MEMBERS));
    stage.eyes.see("Freeze Job 0000");
    sleep(REST);
    let pid = stage.app.as_ref().map_or(0, super::stage::Program::pid);
    let quiet = usage::percent(pid, || sleep(WATCHED));
    let [some, all] = [5, 1].map(|each| usage::percent(pid, || tell(&stage, each)));
    [
        line("idle, nothing changes", quiet, BAR, "%"),
        line("idle, 20 of 100 groups change", some, BAR, "%"),
        line("idle, all 100 groups change", all, BAR, "%"),
    ]
    .concat()
}

/// Tells that one in so many groups has got more memory.
fn tell(stage: &Stage, each: usize) {
    let begin = Instant::now();
    let mut round = 0;
    while begin.elapsed() < WATCHED {
        round += 1;
        let larger =
            |group: &Listed| Listed { memory: Some(ByteSize(50_000_000 + round * 3_000_000)), ..group.clone() };
        let changed: Vec<Listed> =
            stage.service().change(|world| world.groups.iter().step_by(each).map(larger).collect());
        stage.service().tell_groups(&changed, &[]);
        sleep(INTERVAL);
    }
}

/// The real service and the window on it, with 500 processes more on the machine, of which some come and go in size.
pub fn run_really() -> String {
    let crowd = Crowd::start();
    let mut stage = Stage::empty(Scenery::default());
    stage.serve_really();
    stage.open(&[]);
    stage.eyes.read("Freeze ");
    sleep(REST);
    let pid = |program: &Option<super::stage::Program>| program.as_ref().map_or(0, super::stage::Program::pid);
    let (app, service) = (pid(&stage.app), pid(&stage.real));
    let mut window = 0.0;
    let service = usage::percent(service, || window = usage::percent(app, || sleep(WATCHED)));
    drop(crowd);
    [line("the service, 500 processes", service, BAR, "%"), line("the window on it", window, BAR, "%")].concat()
}

/// Sessions of shells with sleepers in them; they end with this.
#[derive(Debug)]
struct Crowd(Vec<Child>);

impl Crowd {
    fn start() -> Self {
        // A tenth of the shells takes and leaves some megabytes every second.
        let quiet = "for i in 1 2 3; do sleep 600 & done; sleep 600; wait";
        let lively =
            "for i in 1 2 3; do sleep 600 & done; while sleep 1; do x=$(printf %3000000d 0); sleep 1; x=; done; wait";
        let start = |number| {
            let mut command = Command::new("setsid");
            command.args(["sh", "-c", if number % 10 == 0 { lively } else { quiet }]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            done(command.spawn())
        };
        Self((0..GROUPS).map(start).collect())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // A child that leads no group of processes becomes the leader of its session without a fork, setsid(1).
            let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
            let _ = child.wait();
        }
    }
}
