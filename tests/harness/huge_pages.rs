//! Huge pages (hugetlb) that a test sets aside: no other test counts them meanwhile, and afterwards there are as many as before.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use crate::alone;
use crate::wait::until;

/// The size of the usual ones, bytes.
pub const SIZE: u64 = 2 << 20;

/// Huge pages that are set aside. Dropped, they are given back.
#[derive(Debug)]
pub struct HugePages {
    size: u64,
    before: u64,
    _alone: File,
}

fn file(size: u64, name: &str) -> String {
    format!("/sys/kernel/mm/hugepages/hugepages-{}kB/{name}", size / 1024)
}

fn number(size: u64, name: &str) -> u64 {
    let path = file(size, name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.trim().parse().unwrap_or_else(|error| panic!("{path}: {text}: {error}"))
}

fn set(size: u64, count: u64) {
    let path = file(size, "nr_hugepages");
    fs::write(&path, count.to_string()).unwrap_or_else(|error| panic!("{path}: {error}"));
}

impl HugePages {
    /// Sets as many aside. Panics where the system does not have them.
    pub fn set_aside(count: u64) -> Self {
        Self::of_size(SIZE, count)
            .unwrap_or_else(|found| panic!("this test needs {count} huge pages, and the system sets {found} aside"))
    }

    /// Sets as many of a size aside, or tells how many there are.
    pub fn of_size(size: u64, count: u64) -> Result<Self, u64> {
        if !Path::new(&file(size, "nr_hugepages")).exists() {
            return Err(0);
        }
        let alone = alone::with_huge_pages();
        let pages = Self { size, before: number(size, "nr_hugepages"), _alone: alone };
        // What other tests have freed is pieced together, perhaps not at once.
        let there = until(Duration::from_secs(10), || {
            set(size, pages.before + count);
            let free = pages.free();
            let _ = (free < count).then(|| fs::write("/proc/sys/vm/compact_memory", "1"));
            (free >= count).then_some(())
        });
        if there.is_some() { Ok(pages) } else { Err(pages.free()) }
    }

    /// Leaves so many of them.
    pub fn leave(&self, count: u64) {
        set(self.size, self.before + count);
    }

    /// How many are free.
    pub fn free(&self) -> u64 {
        number(self.size, "free_hugepages") - number(self.size, "resv_hugepages")
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let _ = fs::write(file(self.size, "nr_hugepages"), self.before.to_string());
    }
}
