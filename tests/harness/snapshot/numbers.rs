//! Numbers that only this boot knows, replaced by their order of appearance.

use std::collections::BTreeMap;

/// Gives each number that it is shown a small one of its own, the same for the same number.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    seen: BTreeMap<(&'static str, String), usize>,
    next: BTreeMap<&'static str, usize>,
}

impl Numbers {
    /// The canonical form of `number` among those of its `space`.
    pub(super) fn of(&mut self, space: &'static str, number: &str) -> String {
        let next = self.next.entry(space).or_default();
        let canonical = *self.seen.entry((space, number.to_owned())).or_insert_with(|| {
            *next += 1;
            *next
        });
        format!("#{canonical}")
    }

    /// `pipe:[123]`, `socket:[123]` and `/folder/#123 (deleted)` with the number replaced; other targets as they are.
    pub(super) fn target(&mut self, target: &str) -> String {
        for space in ["pipe", "socket"] {
            let number = target
                .strip_prefix(space)
                .and_then(|rest| rest.strip_prefix(":["))
                .and_then(|rest| rest.strip_suffix(']'));
            if let Some(number) = number {
                // Inode numbers of pipes and sockets are those of the `ino:` lines too.
                return format!("{space}:{}", self.of("inode", number));
            }
        }
        // A file that never had a name, O_TMPFILE, is shown by its inode number.
        if let Some((folder, name)) = target.rsplit_once("/#")
            && let Some(number) = name.strip_suffix(" (deleted)")
            && number.bytes().all(|letter| letter.is_ascii_digit())
        {
            return format!("{folder}/{} (deleted)", self.of("inode", number));
        }
        target.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::Numbers;

    #[test]
    fn equal_numbers_stay_equal() {
        let mut numbers = Numbers::default();
        let targets =
            ["pipe:[77]", "socket:[5]", "pipe:[77]", "/a", "/b/#77 (deleted)"].map(|target| numbers.target(target));
        assert_eq!(targets, ["pipe:#1", "socket:#2", "pipe:#1", "/a", "/b/#1 (deleted)"]);
    }
}
