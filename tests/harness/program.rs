//! One line of the zoo's table.

use std::fmt;

use crate::huge_pages;

/// Who runs a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// uid 0 with all the capabilities that the tests have.
    Root,
    /// uid and gid 1000, no supplementary groups, no capabilities.
    Ordinary,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Ordinary => "an ordinary user",
        })
    }
}

/// A program of the zoo and what the harness must know about it.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name in the zoo, and the name of its file.
    pub name: &'static str,
    /// Differences between the surveys before and after that are right: patterns over the facts' names, where `*`
    /// stands for anything. See [`crate::snapshot`].
    pub allowed: &'static [&'static str],
    /// Whether a machine may be unable to hold this kind; it is then reported as such, and never as a success.
    pub may_lack: bool,
    /// Whether the processes stand still by SIGSTOP, and the harness must let them go on.
    pub stopped: bool,
    /// A word that the refusal must say, where the engine is to refuse this kind.
    pub refused: Option<&'static str>,
    /// What is behind the descriptor that the refusal must name.
    pub refused_at: Option<&'static str>,
    /// Arguments for `dormouse freeze`, such as `--accept-losses`.
    pub freeze_arguments: &'static [&'static str],
    /// How many seconds it stays frozen.
    pub sleep: u64,
    /// Its terminals have numbers that no other test may take meanwhile.
    pub terminals: bool,
    /// The size of the huge pages it needs, bytes, and how many.
    pub huge_pages: Option<(u64, u64)>,
}

impl Program {
    /// A program without anything special about it.
    pub const fn named(name: &'static str) -> Self {
        Self {
            name,
            allowed: &[],
            may_lack: false,
            stopped: false,
            refused: None,
            refused_at: None,
            freeze_arguments: &[],
            sleep: 0,
            terminals: false,
            huge_pages: None,
        }
    }

    /// Allows these differences.
    #[must_use]
    pub const fn allow(mut self, allowed: &'static [&'static str]) -> Self {
        self.allowed = allowed;
        self
    }

    /// The processor or the kernel may lack what the program holds.
    #[must_use]
    pub const fn may_lack(mut self) -> Self {
        self.may_lack = true;
        self
    }

    /// The processes are stopped by SIGSTOP when they are frozen, and must be stopped when they are thawed.
    #[must_use]
    pub const fn stopped(mut self) -> Self {
        self.stopped = true;
        self
    }

    /// The engine refuses this kind, and its refusal says this word.
    #[must_use]
    pub const fn refused(mut self, word: &'static str) -> Self {
        self.refused = Some(word);
        self
    }

    /// The same, and it names the descriptor of this file.
    #[must_use]
    pub const fn refused_at(mut self, place: &'static str, word: &'static str) -> Self {
        self.refused_at = Some(place);
        self.refused(word)
    }

    /// Gives `dormouse freeze` more arguments.
    #[must_use]
    pub const fn freeze_with(mut self, arguments: &'static [&'static str]) -> Self {
        self.freeze_arguments = arguments;
        self
    }

    /// Stays frozen for so many seconds.
    #[must_use]
    pub const fn sleeps_for(mut self, seconds: u64) -> Self {
        self.sleep = seconds;
        self
    }

    /// Needs so many huge pages of the usual size, which the harness sets aside.
    #[must_use]
    pub const fn huge_pages(self, count: u64) -> Self {
        self.huge_pages_of(huge_pages::SIZE, count)
    }

    /// The same of another size, in bytes.
    #[must_use]
    pub const fn huge_pages_of(mut self, size: u64, count: u64) -> Self {
        self.huge_pages = Some((size, count));
        self
    }

    /// Has terminals, whose numbers no other test may take.
    #[must_use]
    pub const fn terminals(mut self) -> Self {
        self.terminals = true;
        self
    }
}
