//! Which pages of a process hold something: PAGEMAP_SCAN (Linux 6.7) where the kernel has it, else proc_pid_pagemap(5).
//! Documentation/admin-guide/mm/pagemap.rst.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use dormouse_wire::Pid;

use super::{Answer, Errno};

/// Size of a page in bytes.
pub const PAGE: u64 = 4096;

/// So many regions a scan finds at once.
const REGIONS: usize = 512;

/// A process's page map, open.
#[derive(Debug)]
pub struct PageMap {
    file: File,
    can_scan: bool,
    /// The kernel tells of guarded pages: Linux 6.15.
    tells_guards: bool,
    /// Room for what a scan finds.
    found: Vec<Region>,
    /// Room for [`Self::frames`].
    frames: Vec<u64>,
}

/// A run of pages that belong to the process alone: anonymous, present or swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRun {
    /// Address of the first byte.
    pub start: u64,
    /// Address after the last byte.
    pub end: u64,
}

mod bits {
    pub const PRESENT: u64 = 1 << 63;
    pub const SWAPPED: u64 = 1 << 62;
    pub const FILE_OR_SHARED: u64 = 1 << 61;
    pub const GUARD: u64 = 1 << 58;
    pub const FRAME: u64 = (1 << 55) - 1;
}

/// Categories of PAGEMAP_SCAN, linux/fs.h.
mod category {
    pub const FILE: u64 = 1 << 2;
    pub const PRESENT: u64 = 1 << 3;
    pub const SWAPPED: u64 = 1 << 4;
    pub const ZERO_PAGE: u64 = 1 << 5;
    pub const GUARD: u64 = 1 << 8;
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

#[repr(C)]
#[derive(Default)]
struct ScanArguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

nix::ioctl_readwrite!(/** PAGEMAP_SCAN. */ pagemap_scan, b'f', 16, ScanArguments);

impl PageMap {
    /// Opens the page map. Wants ptrace access.
    pub fn open(pid: Pid) -> std::io::Result<Self> {
        File::open(super::procfs::path(format!("{pid}/pagemap"))).map(|file| Self {
            file,
            can_scan: true,
            tells_guards: true,
            found: vec![Region::default(); REGIONS],
            frames: Vec::new(),
        })
    }

    /// Whether the kernel looks through page tables itself: PAGEMAP_SCAN, Linux 6.7.
    pub fn scans(&mut self) -> Answer<()> {
        let wanted = ScanArguments {
            category_mask: category::PRESENT,
            return_mask: category::PRESENT,
            ..ScanArguments::default()
        };
        self.scan(0, PAGE, wanted).map(drop)
    }

    /// Whether guarded pages are told from others, Linux 6.15.
    pub fn tells_guards(&mut self) -> Answer<()> {
        let wanted =
            ScanArguments { category_mask: category::GUARD, return_mask: category::GUARD, ..ScanArguments::default() };
        self.scan(0, PAGE, wanted).map(drop)
    }

    /// The runs of pages in `start..end` that hold private content: present or swapped, not of a file, not the
    /// kernel's zero page where it can tell.
    pub fn private_runs(&mut self, start: u64, end: u64) -> Answer<Vec<PageRun>> {
        loop {
            let unwanted = category::FILE | category::ZERO_PAGE | if self.tells_guards { category::GUARD } else { 0 };
            let wanted = ScanArguments {
                category_inverted: unwanted,
                category_mask: unwanted,
                category_anyof_mask: category::PRESENT | category::SWAPPED,
                return_mask: category::PRESENT | category::SWAPPED,
                ..ScanArguments::default()
            };
            match self.runs(start, end, wanted, |entry| entry & (bits::FILE_OR_SHARED | bits::GUARD) == 0) {
                Err(Errno::EINVAL) if self.tells_guards => self.tells_guards = false,
                answer => return answer,
            }
        }
    }

    /// The runs of guarded pages (MADV_GUARD_INSTALL) in the whole process. A kernel without PAGEMAP_SCAN has none.
    pub fn guarded_runs(&mut self) -> Answer<Vec<PageRun>> {
        const END: u64 = (1 << 47) - PAGE;
        let wanted =
            ScanArguments { category_mask: category::GUARD, return_mask: category::GUARD, ..ScanArguments::default() };
        match self.scan(0, END, wanted) {
            Err(Errno::ENOTTY | Errno::EINVAL) => {
                self.tells_guards = false;
                Ok(Vec::new())
            }
            answer => answer,
        }
    }

    fn runs(
        &mut self,
        start: u64,
        end: u64,
        wanted: ScanArguments,
        also: impl Fn(u64) -> bool,
    ) -> Answer<Vec<PageRun>> {
        if self.can_scan {
            match self.scan(start, end, wanted) {
                Err(Errno::ENOTTY) => self.can_scan = false,
                answer => return answer,
            }
        }
        self.walk(start, end, also)
    }

    fn scan(&mut self, start: u64, end: u64, wanted: ScanArguments) -> Answer<Vec<PageRun>> {
        let mut runs: Vec<PageRun> = Vec::new();
        let mut from = start;
        while from < end {
            let mut arguments = ScanArguments {
                size: size_of::<ScanArguments>() as u64,
                start: from,
                end,
                vec: self.found.as_mut_ptr() as u64,
                vec_len: self.found.len() as u64,
                ..wanted
            };
            // SAFETY: the kernel writes at most `vec_len` regions into the vector we hold and updates the arguments.
            let count = unsafe { pagemap_scan(self.file.as_raw_fd(), &raw mut arguments) }?;
            for region in &self.found[..count as usize] {
                push(&mut runs, PageRun { start: region.start, end: region.end });
            }
            if arguments.walk_end <= from {
                break;
            }
            from = arguments.walk_end;
        }
        Ok(runs)
    }

    fn walk(&self, start: u64, end: u64, also: impl Fn(u64) -> bool) -> Answer<Vec<PageRun>> {
        let mut runs = Vec::new();
        self.entries(start, end, |address, entry| {
            if entry & (bits::PRESENT | bits::SWAPPED) != 0 && also(entry) {
                push(&mut runs, PageRun { start: address, end: address + PAGE });
            }
        })?;
        Ok(runs)
    }

    fn entries(&self, start: u64, end: u64, mut each: impl FnMut(u64, u64)) -> Answer<()> {
        let mut buffer = vec![0u8; ((end - start) / PAGE * 8).min(64 * 1024) as usize];
        let mut address = start;
        while address < end {
            let wanted = (((end - address) / PAGE) * 8).min(buffer.len() as u64) as usize;
            let read = match self.file.read_at(&mut buffer[..wanted], address / PAGE * 8) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) => return Err(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))),
            };
            for word in buffer[..read].chunks_exact(8) {
                each(address, u64::from_ne_bytes(word.try_into().unwrap_or_default()));
                address += PAGE;
            }
        }
        Ok(())
    }

    /// The physical page frames behind `start..end`, one for each page: 0 where there is none or the kernel does not tell
    /// (it wants CAP_SYS_ADMIN).
    pub fn frames(&mut self, start: u64, end: u64) -> Answer<&[u64]> {
        let mut frames = std::mem::take(&mut self.frames);
        frames.clear();
        self.entries(start, end, |_, entry| {
            frames.push(if entry & bits::PRESENT != 0 { entry & bits::FRAME } else { 0 });
        })?;
        frames.resize(((end - start) / PAGE) as usize, 0);
        self.frames = frames;
        Ok(&self.frames)
    }
}

fn push(runs: &mut Vec<PageRun>, run: PageRun) {
    match runs.last_mut() {
        Some(last) if last.end == run.start => last.end = run.end,
        _ => runs.push(run),
    }
}
