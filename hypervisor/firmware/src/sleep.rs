//! ACPI 6.5, section 7.4.2 "\\_Sx States": the sleep types of power-off, found without running any AML.
//!
//! Compilers write `Name (\_S5, Package ...)` of constants as one fixed run of bytes. Anything else counts as not found.

const NAME: &[u8] = b"_S5_";
const PACKAGE: u8 = 0x12;
const ZERO: u8 = 0x00;
const ONE: u8 = 0x01;
const BYTE: u8 = 0x0a;

/// SLP_TYP for the two PM1 control registers, 0 to 7 each, from the bytes of a DSDT; `None` where it does not say.
#[must_use]
pub fn power_off_types(dsdt: &[u8]) -> Option<[u8; 2]> {
    dsdt.windows(NAME.len())
        .enumerate()
        .filter(|(_, bytes)| *bytes == NAME)
        .find_map(|(at, _)| {
            let rest = dsdt.get(at.checked_add(NAME.len())?..)?;
            // Package, a length of one byte, and a count of elements of at least two.
            let [PACKAGE, length, count, elements @ ..] = rest else {
                return None;
            };
            if *length >= 0x40 || *count < 2 {
                return None;
            }
            let (first, elements) = constant(elements)?;
            let (second, _) = constant(elements)?;
            Some([first, second])
        })
}

fn constant(bytes: &[u8]) -> Option<(u8, &[u8])> {
    match bytes {
        [BYTE, value, rest @ ..] if *value < 8 => Some((*value, rest)),
        [value @ (ZERO | ONE), rest @ ..] => Some((*value, rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_forms_are_found() {
        assert_eq!(
            power_off_types(b"xx\x08_S5_\x12\x06\x04\x00\x00\x00\x00"),
            Some([0, 0])
        );
        assert_eq!(
            power_off_types(b"\x08_S5_\x12\x08\x04\x0a\x05\x0a\x07\x00\x00"),
            Some([5, 7])
        );
    }

    #[test]
    fn anything_else_is_not() {
        assert_eq!(power_off_types(b""), None);
        assert_eq!(power_off_types(b"_S5_"), None);
        assert_eq!(power_off_types(b"_S5_\x12\x06\x01\x00"), None);
        assert_eq!(power_off_types(b"_S5_\x12\x06\x04\x0a\x09\x00"), None);
        assert_eq!(power_off_types(b"_S5_\x12\x46\x00\x04\x00\x00"), None);
    }
}
