//! The size of a program's code.

use anyhow::{Context, Result, ensure};

const EXECUTABLE: u64 = 4;

/// Bytes in all sections of an ELF64 file that hold instructions.
pub fn executable_bytes(file: &[u8]) -> Result<u64> {
    ensure!(
        file.starts_with(b"\x7fELF\x02\x01"),
        "the hypervisor is not an ELF64 file"
    );
    let cut = "the hypervisor's section table is cut";
    let table = usize::try_from(number(file, 0x28, 8).context(cut)?)?;
    let size = usize::try_from(number(file, 0x3a, 2).context(cut)?)?;
    let count = usize::try_from(number(file, 0x3c, 2).context(cut)?)?;
    let mut total = 0;
    for index in 0..count {
        let section = table + index * size;
        if number(file, section + 8, 8).context(cut)? & EXECUTABLE != 0 {
            total += number(file, section + 0x20, 8).context(cut)?;
        }
    }
    ensure!(total > 0, "the hypervisor has no section with instructions");
    Ok(total)
}

fn number(file: &[u8], place: usize, bytes: usize) -> Option<u64> {
    let field = file.get(place..place.checked_add(bytes)?)?;
    Some(
        field
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)),
    )
}

#[cfg(test)]
mod tests {
    use super::executable_bytes;

    #[test]
    fn only_executable_sections_count() {
        let mut file = vec![0u8; 64 + 2 * 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[0x28] = 64;
        file[0x3a] = 64;
        file[0x3c] = 2;
        for (section, flags, size) in [(64, 6, 0x10), (128, 3, 0x20)] {
            file[section + 8] = flags;
            file[section + 0x20] = size;
        }
        assert_eq!(executable_bytes(&file).unwrap(), 0x10);
        file.truncate(100);
        assert!(executable_bytes(&file).is_err());
        assert!(executable_bytes(b"MZ").is_err());
    }
}
