//! A mapping with an owner, for the programs that hold kinds of memory.

use std::fs;
use std::io;

use crate::kernel::{call, checked};

/// One page.
pub const PAGE: usize = 4096;
/// Read and write.
pub const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;
/// Private and without a file.
pub const ANONYMOUS: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;

/// A range of addresses made by mmap(2). It stays mapped for as long as the process lives.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    /// Its first address.
    pub start: usize,
    /// Its length in bytes.
    pub length: usize,
}

impl Mapping {
    /// mmap(2).
    pub fn new(length: usize, protection: i32, flags: i32, fd: i32, offset: i64) -> io::Result<Self> {
        // SAFETY: the kernel chooses the place, so nothing that exists is replaced.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, fd, offset) };
        if start == libc::MAP_FAILED {
            Err(io::Error::last_os_error())
        } else {
            Ok(Self { start: start as usize, length })
        }
    }

    /// Private anonymous memory that can be read and written.
    pub fn anonymous(pages: usize) -> io::Result<Self> {
        Self::new(pages * PAGE, READ_WRITE, ANONYMOUS, -1, 0)
    }

    /// A part of it, in pages.
    pub fn part(&self, first: usize, pages: usize) -> Self {
        assert!((first + pages) * PAGE <= self.length);
        Self { start: self.start + first * PAGE, length: pages * PAGE }
    }

    /// Its bytes. It must be readable.
    pub fn bytes(&self) -> &'static [u8] {
        // SAFETY: the range is mapped for as long as the process lives, and its maker says it is readable.
        unsafe { std::slice::from_raw_parts(self.start as *const u8, self.length) }
    }

    /// Writes to it. It must be writable.
    pub fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.length);
        // SAFETY: the range is mapped and writable, and the program has one thread that uses it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), (self.start + at) as *mut u8, bytes.len()) };
    }

    /// Fills each page with words that tell the page's number and `seed`.
    pub fn fill(&self, seed: u64) {
        for page in 0..self.length / PAGE {
            let words: Vec<u8> =
                (0..PAGE as u64 / 8).flat_map(|word| pattern(seed, page, word).to_le_bytes()).collect();
            self.write(page * PAGE, &words);
        }
    }

    /// The first page that is not as [`Mapping::fill`] left it.
    pub fn first_wrong_page(&self, seed: u64) -> Option<usize> {
        (0..self.length / PAGE).find(|page| {
            let bytes = &self.bytes()[page * PAGE..(page + 1) * PAGE];
            let right = |(word, bytes): (usize, &[u8])| bytes == pattern(seed, *page, word as u64).to_le_bytes();
            !bytes.chunks(8).enumerate().all(right)
        })
    }

    /// mprotect(2).
    pub fn protect(&self, protection: i32) -> io::Result<()> {
        call(libc::SYS_mprotect, &[self.start, self.length, protection as usize]).map(drop)
    }

    /// madvise(2).
    pub fn advise(&self, advice: i32) -> io::Result<()> {
        // SAFETY: the range is this mapping's; advice that empties it is what the program asks for.
        checked(unsafe { libc::madvise(self.start as *mut libc::c_void, self.length, advice) }).map(drop)
    }

    /// Lines of smaps that belong to the mapping that holds `start`; the first one has its range and protection.
    pub fn smaps(&self) -> Vec<String> {
        let text = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        let holds = |line: &str| range(line).map(|(start, end)| (start..end).contains(&self.start));
        let mut lines = text.lines().skip_while(|line| holds(line) != Some(true));
        let first = lines.next().map(str::to_owned);
        first.into_iter().chain(lines.take_while(|line| range(line).is_none()).map(str::to_owned)).collect()
    }

    /// The value of one line of smaps.
    pub fn smaps_line(&self, name: &str) -> String {
        let lines = self.smaps();
        let found = lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        found.map_or_else(|| format!("no line {name}"), |value| value.trim().to_owned())
    }

    /// Whether VmFlags has this flag.
    pub fn has_flag(&self, flag: &str) -> bool {
        self.smaps_line("VmFlags").split_whitespace().any(|one| one == flag)
    }

    /// The protection and sharing letters, such as `rw-p`.
    pub fn letters(&self) -> String {
        self.smaps().first().and_then(|line| line.split(' ').nth(1)).unwrap_or("not mapped").to_owned()
    }
}

fn pattern(seed: u64, page: usize, word: u64) -> u64 {
    (seed ^ (page as u64) << 32 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The range at the start of the first line of a mapping.
fn range(line: &str) -> Option<(usize, usize)> {
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
}
