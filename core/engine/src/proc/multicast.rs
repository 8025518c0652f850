//! The groups that a network namespace listens to: `/proc/net/igmp` and `/proc/net/igmp6`, ip(7), ipv6(7). Which of its
//! sockets do, they do not tell.

use super::text::{self, Unreadable};

/// A group on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupLine<const LENGTH: usize> {
    /// The number of the interface.
    pub interface: u32,
    /// The address of the group, in the order of the network.
    pub group: [u8; LENGTH],
}

/// The value of `/proc/net/igmp`: a line for each interface, and below it an indented one for each of its groups.
pub fn parse(bytes: &[u8]) -> Result<Vec<GroupLine<4>>, Unreadable> {
    let mut interface = None;
    let mut groups = Vec::new();
    for line in text::lines(bytes).skip(1) {
        let unreadable = || Unreadable::line(line);
        let first = text::words(line).next().ok_or_else(unreadable)?;
        if line.starts_with(b"\t") {
            let group = std::str::from_utf8(first).ok().and_then(|word| u32::from_str_radix(word, 16).ok());
            let (interface, group) = interface.zip(group).ok_or_else(unreadable)?;
            groups.push(GroupLine { interface, group: group.to_ne_bytes() });
        } else {
            interface = Some(text::decimal(first).ok_or_else(unreadable)?);
        }
    }
    Ok(groups)
}

/// The value of `/proc/net/igmp6`: `NUMBER NAME GROUP USERS FLAGS TIMER`
pub fn parse_six(bytes: &[u8]) -> Result<Vec<GroupLine<16>>, Unreadable> {
    text::lines(bytes).map(|line| six(line).ok_or_else(|| Unreadable::line(line))).collect()
}

fn six(line: &[u8]) -> Option<GroupLine<16>> {
    let mut words = text::words(line);
    let interface = text::decimal(words.next()?)?;
    let word = std::str::from_utf8(words.nth(1)?).ok()?;
    let group = u128::from_str_radix(word, 16).ok().filter(|_| word.len() == 32)?;
    Some(GroupLine { interface, group: group.to_be_bytes() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn groups_are_read() {
        let lines = b"Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
            1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n";
        assert_eq!(parse(lines), Ok(vec![GroupLine { interface: 1, group: [224, 0, 0, 1] }]));
        let lines = b"2    eth0            ff020000000000000000000000000001     1 0000000C 0\n";
        let found = parse_six(lines).unwrap_or_default();
        assert_eq!(found.first().map(|line| (line.interface, line.group[..2].to_vec())), Some((2, vec![0xff, 2])));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = (parse(&bytes), parse_six(&bytes));
        }
    }
}
