//! Which table counts where the boot volume brings some of its own.
//!
//! A table from the boot volume that is sound replaces every firmware table of its signature; among several of one
//! source the first sound one counts (of a DMAR a machine has one: a second is a forgery, FW-02). An unsound override
//! counts for nothing, and says so.

use crate::{Error, Signature, Table};

/// Finds a table: first among the overrides, then among the firmware's.
///
/// Unsound tables of this signature are reported to `complain` and passed over. Bytes too short to hold a header have no
/// signature and are reported as well.
pub fn find<'a>(
    signature: Signature,
    overrides: impl IntoIterator<Item = &'a [u8]>,
    firmware: impl IntoIterator<Item = &'a [u8]>,
    mut complain: impl FnMut(Error),
) -> Option<Table<'a>> {
    let mut first = None;
    for bytes in overrides.into_iter().chain(firmware) {
        match Table::parse(bytes, signature, 0) {
            Ok(table) => first = first.or(Some(table)),
            Err(Error::WrongSignature { .. }) => {}
            Err(error) => complain(error),
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::table;

    const MCFG: Signature = Signature(*b"MCFG");

    #[test]
    fn a_sound_override_replaces_the_firmwares_table() {
        let (ours, theirs) = (table(b"MCFG", 1, &[1]), table(b"MCFG", 1, &[2]));
        let other = table(b"APIC", 1, &[]);
        let mut errors = 0;
        let all: [&[u8]; 2] = [&other, &theirs];
        let found = find(MCFG, [&ours[..]], all, |_| errors += 1).unwrap();
        assert_eq!((found.bytes()[36], errors), (1, 0));
        let found = find(MCFG, [], all, |_| errors += 1).unwrap();
        assert_eq!((found.bytes()[36], errors), (2, 0));
    }

    #[test]
    fn fw_01_an_unsound_override_is_reported_and_passed_over() {
        let (mut ours, theirs) = (table(b"MCFG", 1, &[1]), table(b"MCFG", 1, &[2]));
        ours[36] = 9;
        let mut errors = 0;
        let all: [&[u8]; 2] = [&ours, &[1, 2]];
        let found = find(MCFG, all, [&theirs[..]], |_| errors += 1).unwrap();
        assert_eq!((found.bytes()[36], errors), (2, 2));
    }
}
