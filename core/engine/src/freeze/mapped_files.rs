//! The files that the group has mapped: what is recorded of each, and whether a copy is kept.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;

use dormouse_wire::{Problem, ProblemKind, phrase};

use super::keeping::Keeper;
use crate::kernel::files;
use crate::kernel::identity::{Acting, Identity};
use crate::resource::fd::leases;
use crate::resource::likeness::{self, Likeness};
use crate::resource::named_file::{NamedFile, Owner};
use crate::survey::files::OpenFiles;

/// Files that are mapped, each once.
pub struct MappedFiles<'a> {
    /// The records.
    pub records: Vec<NamedFile>,
    /// Those that only a copy brings back: their names lead elsewhere.
    pub by_copy: HashSet<usize>,
    /// The records, by what is to be known of each.
    pub known: HashMap<(Key, Place), usize>,
    /// Who opens them, where that is somebody else than who has them mapped.
    pub openers: HashMap<Key, Owner>,
    /// Files with a lease of the group's, by device and inode: to open one would keep the engine waiting for who stands still.
    leased: HashSet<(u64, u64)>,
    /// Those whose content is to be looked at, by their records.
    unread: Vec<(usize, File)>,
    /// How many bytes may be read for that.
    left: u64,
    /// Who keeps copies of them.
    pub keeper: &'a Keeper<'a>,
}

/// Which file: its name, among which mounts, whether it is for writing, and for whom it is opened.
pub type Key = (Vec<u8>, Option<usize>, bool, Owner);

/// Device and inode. A copy that has taken the place of a file has its name, and so has the file.
pub type Place = ((u32, u32), u64);

impl<'a> MappedFiles<'a> {
    /// None yet; `open`: the open files of the group.
    pub fn of(open: &OpenFiles, keeper: &'a Keeper<'a>) -> Self {
        let leased = open.facts.files.iter().filter(|file| leases::is_leased(file));
        let leased = leased.map(|file| (file.stat.st_dev, file.stat.st_ino)).collect();
        Self {
            records: Vec::new(),
            by_copy: HashSet::new(),
            known: HashMap::new(),
            openers: HashMap::new(),
            leased,
            unread: Vec::new(),
            left: likeness::MOST_OF_ALL,
            keeper,
        }
    }

    /// Looks at the content of each file. Nobody of the group is needed for it.
    pub fn look(&mut self) {
        for (index, file) in self.unread.drain(..) {
            let record = &mut self.records[index];
            record.likeness = Likeness::of(&file, record.size, &mut self.left);
            self.keeper.keep(record, &file);
        }
    }

    /// What a thaw could not find again, because no copy of it could be kept.
    pub fn lost(&self) -> Option<Problem> {
        let mut records = self.records.iter().enumerate();
        let (_, record) = records.find(|(index, record)| self.by_copy.contains(index) && record.kept.is_none())?;
        let what = phrase!("its name leads to another file by now, and no copy of it could be kept");
        let problem = Problem::blocks(ProblemKind::File, what).at(record.shown());
        Some(problem.way_out(phrase!("Free space on the disk of the images, or pause the group instead")))
    }

    /// Opens a file with the rights of its user, to be looked at; what he may not read is told by its size and date alone.
    pub fn note(&mut self, record: NamedFile, through: &str, stat: &libc::stat) {
        // So many are open at a time.
        const FEW: usize = 64;
        if stat.st_mode & libc::S_IFMT == libc::S_IFREG && !self.leased.contains(&(stat.st_dev, stat.st_ino)) {
            let flags = libc::O_RDONLY | libc::O_NONBLOCK;
            let acting = Acting::begin(&Identity::from(&record.owner));
            let opened = acting.and_then(|_acting| files::open(Path::new(through), flags));
            self.unread.extend(opened.map(|file| (self.records.len(), file.into())));
        }
        self.records.push(record);
        if self.unread.len() >= FEW {
            self.look();
        }
    }
}
