//! Everything that a unit may remember (section 2.2.3 and 2.4).

use std::collections::HashMap;

/// A translation, or the absence of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Translation {
    /// First page that it covers, and how many.
    pub(super) first: u64,
    pub(super) pages: u64,
    /// Physical page of the first; `None`: absent.
    pub(super) target: Option<u64>,
    pub(super) read: bool,
    pub(super) write: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Caches {
    /// Device table entries by requester.
    pub(super) devices: HashMap<u16, [u64; 4]>,
    /// Translations by domain.
    pub(super) translations: HashMap<u16, Vec<Translation>>,
    /// Where a walk may begin: by domain, level of the entry and address prefix, the entry and the rights so far.
    pub(super) tables: HashMap<(u16, u8, u64), (u64, bool, bool)>,
    /// Interrupt entries by requester and index.
    pub(super) interrupts: HashMap<(u16, u16), (u64, u64)>,
}

impl Caches {
    pub(super) fn find(&self, domain: u16, page: u64) -> Option<Translation> {
        let all = self.translations.get(&domain)?;
        all.iter()
            .rev()
            .find(|it| it.first <= page && page - it.first < it.pages)
            .copied()
    }

    pub(super) fn add(&mut self, domain: u16, translation: Translation) {
        self.translations
            .entry(domain)
            .or_default()
            .push(translation);
    }

    /// Forgets what covers any of these pages; pointers to tables only where asked.
    pub(super) fn forget(&mut self, domain: u16, first: u64, pages: u64, tables: bool) {
        let end = first.saturating_add(pages);
        if let Some(all) = self.translations.get_mut(&domain) {
            all.retain(|it| it.first >= end || it.first + it.pages <= first);
        }
        if tables {
            self.tables.retain(|&(of, level, prefix), _| {
                let shift = 9 * (u32::from(level) - 1);
                of != domain || prefix << shift >= end || (prefix + 1) << shift <= first
            });
        }
    }
}
