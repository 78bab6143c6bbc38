//! A walker of nested page tables, written from the processor manual: present bit 0, writable 1, user 2, large 7 above the last
//! level, page number 51:12.

use model::Memory;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const USER: u64 = 4;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Where an access to a guest-physical address lands; `None` where the tables refuse it.
#[must_use]
pub fn walk(memory: &Memory, root: u64, gpa: u64, write: bool) -> Option<u64> {
    if gpa >> 48 != 0 {
        return None;
    }
    let mut table = root;
    for level in (0..4u32).rev() {
        let shift = 12 + 9 * level;
        let entry = memory.read(table + (gpa >> shift & 0x1ff) * 8);
        if entry & PRESENT == 0 || entry & USER == 0 || write && entry & WRITABLE == 0 {
            return None;
        }
        if level == 0 || entry & LARGE != 0 {
            let inside = (1 << shift) - 1;
            return Some(entry & ADDRESS & !inside | gpa & inside);
        }
        table = entry & ADDRESS;
    }
    None
}
