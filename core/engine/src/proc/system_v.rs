//! System V objects of this ipc namespace that may be looked at: `/proc/sysvipc`, proc(5).

use dormouse_wire::Pid;

use super::text;

/// A segment of shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its key; 0: none (any more).
    pub key: i32,
    /// Its id.
    pub id: i32,
    /// Permissions, SHM_DEST and SHM_LOCKED.
    pub mode: u32,
    /// Its size in bytes.
    pub size: u64,
    /// Who made it, and who attached or detached it last.
    pub users: [Pid; 2],
    /// How often it is attached.
    pub attached: u64,
    /// User and group it belongs to.
    pub owner: (u32, u32),
    /// User and group that made it.
    pub creator: (u32, u32),
    /// When it was attached, detached or changed, the latest of these, seconds since the Epoch.
    pub time: u64,
}

/// SHM_DEST: it goes with its last attachment.
pub const REMOVED: u32 = 0o1000;
/// SHM_LOCKED: it stays in memory.
pub const LOCKED: u32 = 0o2000;

/// The segments.
pub fn segments() -> Vec<Segment> {
    table("shm").iter().filter_map(|line| segment(line)).collect()
}

// Key, id, permissions, size, creator, last user, attachments, four ids, three times.
fn segment(line: &[u64]) -> Option<Segment> {
    let number = |place: usize| line.get(place).copied();
    let id = |place: usize| number(place).map(|id| id as u32);
    let pid = |place: usize| number(place).map(|pid| Pid(pid as i32));
    Some(Segment {
        key: number(0)? as i32,
        id: number(1)? as i32,
        mode: octal(number(2)?),
        size: number(3)?,
        users: [pid(4)?, pid(5)?],
        attached: number(6)?,
        owner: (id(7)?, id(8)?),
        creator: (id(9)?, id(10)?),
        time: line.get(11..14)?.iter().copied().max()?,
    })
}

/// Permissions are printed in octal.
fn octal(digits: u64) -> u32 {
    u32::from_str_radix(&digits.to_string(), 8).unwrap_or(0)
}

/// The lines of a table as numbers, without its head; a kernel without System V objects has none.
pub fn table(name: &str) -> Vec<Vec<u64>> {
    parse(&std::fs::read(format!("/proc/sysvipc/{name}")).unwrap_or_default())
}

fn parse(bytes: &[u8]) -> Vec<Vec<u64>> {
    let number = |word: &str| word.parse::<i64>().map_or(0, |number| number as u64);
    let lines = text::lines(bytes).skip(1).map(|line| String::from_utf8_lossy(line).into_owned());
    let numbers = lines.map(|line| line.split_ascii_whitespace().map(number).collect::<Vec<_>>());
    numbers.filter(|numbers| numbers.len() >= 7).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let table = b"       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n\
            -559038737          7   600          2  1000  1000  1000  1000          0 1700000000\n  short 3\n";
        let lines = parse(table);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0][1..4], [7, 600, 2]);
    }

    #[test]
    fn a_segment_has_its_permissions_in_octal() {
        let table = b"key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap\n\
            -1 32769 3640 100 7 8 2 1000 1001 1002 1003 30 10 20 4096 0\n";
        let found = parse(table).first().and_then(|line| segment(line));
        let expected = Segment {
            key: -1,
            id: 32769,
            mode: REMOVED | LOCKED | 0o640,
            size: 100,
            users: [Pid(7), Pid(8)],
            attached: 2,
            owner: (1000, 1001),
            creator: (1002, 1003),
            time: 30,
        };
        assert_eq!(found, Some(expected));
    }
}
