//! What the hypervisor tells the root partition at its entry, made sense of.

use abi::root_info::{MAGIC, RootInfo, range_kind};
use alloc::string::String;
use alloc::vec::Vec;

/// A range of addresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub length: u64,
}

impl Span {
    /// First byte behind the range.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.start.saturating_add(self.length)
    }

    /// Whether `length` bytes at `start` lie inside.
    #[must_use]
    pub const fn contains(self, start: u64, length: u64) -> bool {
        start >= self.start && length <= self.length && start - self.start <= self.length - length
    }

    /// Whether two ranges share a byte.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.end() && other.start < self.end()
    }
}

/// A file of the boot volume, in memory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Module {
    /// File name.
    pub name: String,
    /// Where it lies.
    pub span: Span,
}

/// Facts of the machine.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Logical processors, and so VPs of the root.
    pub lps: u32,
    /// Free RAM.
    pub free: Vec<Span>,
    /// Memory-mapped configuration space; the first begins with bus 0 of segment 0.
    pub ecam: Vec<Span>,
    /// Every range with its kind, for the `memory` command.
    pub ranges: Vec<(Span, u64)>,
    /// Files.
    pub modules: Vec<Module>,
    /// TSC frequency, Hz; never 0.
    pub tsc_hz: u64,
    /// Console UART: port, IOAPIC id, pin.
    pub console: Option<Console>,
}

/// The UART that people use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Console {
    /// First I/O port.
    pub port: u16,
    /// IOAPIC id and pin of its interrupt.
    pub pin: Option<(u8, u16)>,
}

impl Facts {
    /// Reads the structure; `None` where it is not one.
    #[must_use]
    pub fn read(info: &RootInfo) -> Option<Self> {
        if info.magic != MAGIC {
            return None;
        }
        let ranges: Vec<(Span, u64)> = info
            .ranges
            .iter()
            .take(info.range_count as usize)
            .map(|range| (span(range.start, range.length), range.kind))
            .collect();
        let of_kind = |kind| {
            let fitting = ranges.iter().filter(move |range| range.1 == kind);
            fitting.map(|range| range.0).collect()
        };
        Some(Self {
            lps: info.lps,
            free: of_kind(range_kind::FREE),
            ecam: of_kind(range_kind::ECAM),
            modules: modules(info),
            tsc_hz: info.tsc_hz.max(1),
            console: console(info),
            ranges,
        })
    }

    /// The file with a name.
    #[must_use]
    pub fn module(&self, name: &str) -> Option<&Module> {
        self.modules.iter().find(|module| module.name == name)
    }
}

fn span(start: u64, length: u64) -> Span {
    Span { start, length }
}

fn modules(info: &RootInfo) -> Vec<Module> {
    let modules = info.modules.iter().take(info.module_count as usize);
    modules
        .map(|module| {
            let end = module.name.iter().position(|&byte| byte == 0);
            let name = module.name.get(..end.unwrap_or(64)).unwrap_or(&[]);
            Module {
                name: String::from_utf8_lossy(name).into_owned(),
                span: span(module.start, module.length),
            }
        })
        .collect()
}

fn console(info: &RootInfo) -> Option<Console> {
    let pin = (info.console_pin != 0xffff).then_some((info.console_ioapic as u8, info.console_pin));
    let port = info.console_port;
    (port != 0).then_some(Console { port, pin })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_never_wraps() {
        let all = span(u64::MAX - 10, 100);
        assert_eq!(all.end(), u64::MAX);
        assert!(span(0x1000, 0x1000).contains(0x1fff, 1));
        assert!(!span(0x1000, 0x1000).contains(0x1fff, 2));
        assert!(!span(0x1000, 0x1000).contains(0x1000, u64::MAX));
    }

    #[test]
    fn names_end_at_their_first_zero() {
        let mut info = RootInfo {
            magic: MAGIC,
            module_count: 999,
            ..RootInfo::default()
        };
        if let Some(module) = info.modules.first_mut() {
            module.name[..9].copy_from_slice(b"start.cfg");
        }
        let facts = Facts::read(&info).unwrap();
        assert!(facts.module("start.cfg").is_some());
        assert!(Facts::read(&RootInfo::default()).is_none());
    }
}
