//! The programs that are frozen. Each makes the file `ready` when it has set itself up, waits for `go`, checks that it
//! still has what it had, and ends with 0.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::exit;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Plays a part until `go`.
pub fn hold(mode: &str, size: usize, folder: &Path) {
    match mode {
        "memory" => memory(size, folder, random),
        "ordinary" => memory(size, folder, ordinary),
        "family" => family(size, folder),
        "threads" => threads(size, folder),
        "regions" => regions(size, folder),
        "scattered" => scattered(size, folder),
        "reservation" => reservation(size, folder),
        "heirs" => heirs(size, folder),
        "postgres" => crate::postgres::hold(size, folder),
        "tcp" => connections(size, folder),
        other => panic!("there is no program {other}"),
    }
}

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;

/// Says that all is set up, and waits for `go`.
pub fn ready_and_wait(folder: &Path) {
    fs::write(folder.join("ready"), "").unwrap_or_else(|error| panic!("saying ready: {error}"));
    while !folder.join("go").exists() {
        std::thread::sleep(Duration::from_millis(20));
        // Nobody is there any more to say it.
        assert!(folder.exists(), "the folder is gone");
    }
}

/// Numbers that nothing can compress: xorshift64.
#[derive(Clone, Debug)]
pub struct Numbers(pub u64);

impl Iterator for Numbers {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Some(self.0)
    }
}

fn random(seed: u64, words: &mut [u64], check: bool) -> bool {
    words.iter_mut().zip(Numbers(seed)).all(|(word, number)| {
        let kept = !check || *word == number;
        *word = number;
        kept
    })
}

/// What compresses about as well as the memory of programs does: zeros, small numbers, and pointers to near places.
fn ordinary(seed: u64, words: &mut [u64], check: bool) -> bool {
    words.iter_mut().zip(Numbers(seed)).all(|(word, number)| {
        let number = match number >> 61 {
            0..4 => 0,
            4..6 => number & 0xff,
            _ => 0x7f12_3456_0000 + (number & 0xfff0),
        };
        let kept = !check || *word == number;
        *word = number;
        kept
    })
}

/// Zeroed memory of the program's own.
fn map(length: usize, flags: i32) -> &'static mut [u64] {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
    // SAFETY: a new mapping at an address the kernel chooses overlaps nothing; it is never unmapped.
    unsafe {
        let address = libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        assert_ne!(address, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        std::slice::from_raw_parts_mut(address.cast(), length / 8)
    }
}

fn memory(mebibytes: usize, folder: &Path, fill: fn(u64, &mut [u64], bool) -> bool) {
    let memory = map(mebibytes * MIB, 0);
    fill(1, memory, false);
    ready_and_wait(folder);
    exit(i32::from(!fill(1, memory, true)));
}

fn fork() -> i32 {
    // SAFETY: the program has one thread whenever it forks.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    pid
}

fn wait_for_all(children: usize) -> bool {
    (0..children).all(|_| {
        let mut status = 0;
        // SAFETY: wait writes one int, which we hold.
        unsafe { libc::wait(&raw mut status) > 0 && status == 0 }
    })
}

/// Processes that share 1 MiB copy-on-write, each waiting for the end of a pipe.
fn family(processes: usize, folder: &Path) {
    let memory = map(MIB, 0);
    random(1, memory, false);
    let (mut end, writer) = std::io::pipe().unwrap_or_else(|error| panic!("pipe: {error}"));
    for _ in 1..processes {
        if fork() == 0 {
            drop(writer);
            let closed = end.read(&mut [0]).is_ok_and(|read| read == 0);
            let kept = memory.iter().zip(Numbers(1)).all(|(word, number)| *word == number);
            exit(i32::from(!(closed && kept)));
        }
    }
    ready_and_wait(folder);
    drop(writer);
    exit(i32::from(!wait_for_all(processes - 1)));
}

fn threads(count: usize, folder: &Path) {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let wait = |gate: &(Mutex<bool>, Condvar)| {
        let open = gate.0.lock().unwrap_or_else(|error| panic!("{error}"));
        drop(gate.1.wait_while(open, |open| !*open));
    };
    let threads: Vec<_> = (1..count)
        .map(|_| {
            let gate = gate.clone();
            std::thread::spawn(move || wait(&gate))
        })
        .collect();
    std::thread::sleep(Duration::from_millis(50));
    ready_and_wait(folder);
    *gate.0.lock().unwrap_or_else(|error| panic!("{error}")) = true;
    gate.1.notify_all();
    exit(i32::from(!threads.into_iter().all(|thread| thread.join().is_ok())));
}

/// Mappings of one page that the kernel cannot merge: every other one cannot be written.
fn regions(count: usize, folder: &Path) {
    let memory = map(count * PAGE, 0);
    random(1, memory, false);
    for page in memory.chunks(PAGE / 8).step_by(2) {
        // SAFETY: takes the right to write from a page of our own, which nobody writes any more.
        let done = unsafe { libc::mprotect(page.as_ptr().cast_mut().cast(), PAGE, libc::PROT_READ) };
        assert_eq!(done, 0, "mprotect: {}", std::io::Error::last_os_error());
    }
    ready_and_wait(folder);
    exit(i32::from(!memory.iter().zip(Numbers(1)).all(|(word, number)| *word == number)));
}

/// Every other page of a mapping: as many runs of pages as there can be.
fn scattered(pages: usize, folder: &Path) {
    let memory = map(2 * pages * PAGE, 0);
    // SAFETY: advice on our own memory; huge pages would fill the gaps.
    unsafe { libc::madvise(memory.as_mut_ptr().cast(), 2 * pages * PAGE, libc::MADV_NOHUGEPAGE) };
    for (page, number) in memory.chunks_mut(PAGE / 8).step_by(2).zip(Numbers(1)) {
        page[7] = number;
    }
    ready_and_wait(folder);
    exit(i32::from(!memory.chunks(PAGE / 8).step_by(2).zip(Numbers(1)).all(|(page, number)| page[7] == number)));
}

/// A reservation with a page here and there.
fn reservation(gibibytes: usize, folder: &Path) {
    let memory = map(gibibytes << 30, libc::MAP_NORESERVE);
    let pages = || (0..64).map(|place| place * (gibibytes << 30) / 64 / 8).zip(Numbers(1));
    for (place, number) in pages() {
        memory[place] = number;
    }
    ready_and_wait(folder);
    exit(i32::from(!pages().all(|(place, number)| memory[place] == number)));
}

/// A child that shares all of a large memory with its parent, in huge pages where there are any.
fn heirs(mebibytes: usize, folder: &Path) {
    let memory = map(mebibytes * MIB, 0);
    // SAFETY: advice on our own memory.
    unsafe { libc::madvise(memory.as_mut_ptr().cast(), mebibytes * MIB, libc::MADV_HUGEPAGE) };
    random(1, memory, false);
    let (mut end, writer) = std::io::pipe().unwrap_or_else(|error| panic!("pipe: {error}"));
    if fork() == 0 {
        drop(writer);
        let closed = end.read(&mut [0]).is_ok_and(|read| read == 0);
        let kept = memory.iter().zip(Numbers(1)).all(|(word, number)| *word == number);
        exit(i32::from(!(closed && kept)));
    }
    ready_and_wait(folder);
    drop(writer);
    exit(i32::from(!wait_for_all(1)));
}

/// Connections through loopback, of which this process has both ends, with a byte on its way in each.
fn connections(count: usize, folder: &Path) {
    let made = || -> std::io::Result<Vec<(TcpStream, TcpStream)>> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let place = listener.local_addr()?;
        (0..count)
            .map(|number| {
                let mut near = TcpStream::connect(place)?;
                near.write_all(&[number as u8])?;
                Ok((near, listener.accept()?.0))
            })
            .collect()
    };
    let mut all = made().unwrap_or_else(|error| panic!("{error}"));
    ready_and_wait(folder);
    let kept = all.iter_mut().enumerate().all(|(number, (_, far))| {
        let mut byte = [0];
        far.read_exact(&mut byte).is_ok() && byte == [number as u8]
    });
    exit(i32::from(!kept));
}

/// A file of random bytes in memory, for `dd` to read.
pub fn random_file(mebibytes: usize) -> File {
    let name = c"dormouse bench";
    let file = nix::sys::memfd::memfd_create(name, nix::sys::memfd::MFdFlags::MFD_CLOEXEC);
    let mut file = File::from(file.unwrap_or_else(|error| panic!("memfd_create: {error}")));
    let mut numbers = Numbers(1);
    for _ in 0..mebibytes {
        let bytes: Vec<u8> = numbers.by_ref().take(MIB / 8).flat_map(u64::to_ne_bytes).collect();
        file.write_all(&bytes).unwrap_or_else(|error| panic!("{error}"));
    }
    file
}
