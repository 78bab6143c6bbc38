//! From the firmware's memory map (UEFI specification 2.10, 7.2.3 `EFI_MEMORY_DESCRIPTOR`) to the hand-over's.
//!
//! A byte is usable only where firmware says so and says nothing else of it.

use alloc::vec::Vec;

use handoff::{Extent, Kind, Range};
use thiserror::Error;

const PAGE: u64 = 4096;
const ATTRIBUTE_WRITE_BACK: u64 = 1 << 3;

/// One entry as firmware gives it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Descriptor {
    /// `Type`.
    pub kind: u32,
    /// `PhysicalStart`.
    pub start: u64,
    /// `NumberOfPages`.
    pub pages: u64,
    /// `Attribute`.
    pub attribute: u64,
}

/// What the loader placed somewhere cannot be told apart from what firmware keeps there.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("firmware's memory map contradicts its own allocation at {start:#x}")]
pub struct Contradiction {
    /// First byte of the range concerned.
    pub start: u64,
}

/// The kind of an EFI memory type once boot services have ended.
fn kind_of(descriptor: &Descriptor) -> Kind {
    match descriptor.kind {
        // Loader code and data, boot services code and data, conventional memory.
        1..=4 | 7 if descriptor.attribute & ATTRIBUTE_WRITE_BACK != 0 => Kind::Usable,
        9 => Kind::AcpiReclaimable,
        10 => Kind::AcpiNvs,
        11 | 12 => Kind::Mmio,
        8 | 14 | 15 => Kind::Unusable,
        _ => Kind::Reserved,
    }
}

/// Where two entries claim the same byte, the higher number wins.
fn caution(kind: Kind) -> u32 {
    match kind {
        Kind::Usable => 0,
        Kind::AcpiReclaimable => 1,
        Kind::AcpiNvs => 2,
        Kind::Unusable => 3,
        Kind::Mmio => 5,
        _ => 4,
    }
}

/// Sorts firmware's entries, settles overlaps for the more cautious kind, drops what lies past `physical_bits` and keeps
/// page 0 from use.
#[must_use]
pub fn sanitise(descriptors: &[Descriptor], physical_bits: u32) -> Vec<Range> {
    let limit = 1_u64.checked_shl(physical_bits).unwrap_or(u64::MAX) & !(PAGE - 1);
    let mut claims: Vec<(Extent, Kind)> = Vec::with_capacity(descriptors.len() + 1);
    claims.push((Extent::new(0, PAGE), Kind::Reserved));
    for descriptor in descriptors {
        let start = descriptor.start & !(PAGE - 1);
        let end = start
            .saturating_add(descriptor.pages.saturating_mul(PAGE))
            .min(limit);
        if start < end {
            claims.push((Extent::new(start, end - start), kind_of(descriptor)));
        }
    }
    // Page 0 exists only where firmware mentions it.
    if !claims.iter().skip(1).any(|(extent, _)| extent.contains(0)) {
        claims.remove(0);
    }
    let mut ranges = Vec::with_capacity(claims.len() * 2);
    for extent in pieces(&claims) {
        let covering = claims.iter().filter(|(claim, _)| claim.overlaps(extent));
        if let Some((_, kind)) = covering.max_by_key(|(_, kind)| caution(*kind)) {
            append(&mut ranges, extent, *kind);
        }
    }
    ranges
}

/// The extents between neighbouring boundaries of the claims, in order.
fn pieces(claims: &[(Extent, Kind)]) -> Vec<Extent> {
    let mut bounds: Vec<u64> = claims
        .iter()
        .flat_map(|(extent, _)| [extent.start, extent.end()])
        .collect();
    bounds.sort_unstable();
    bounds.dedup();
    bounds
        .windows(2)
        .map(|pair| Extent::new(pair[0], pair[1] - pair[0]))
        .collect()
}

/// Adds a range, or lengthens the last one where it continues it.
fn append(ranges: &mut Vec<Range>, extent: Extent, kind: Kind) {
    match ranges.last_mut() {
        Some(last) if last.end() == extent.start && last.kind == kind as u32 => {
            last.len += extent.len
        }
        _ => ranges.push(Range::new(extent.start, extent.len, kind)),
    }
}

/// Marks what the loader placed. Each extent must be wholly usable: that is what firmware calls memory that it gave out.
///
/// # Errors
/// [`Contradiction`] where an extent is not wholly usable, which also means that no two of them overlap.
pub fn overlay(ranges: &mut Vec<Range>, placed: &[(Extent, Kind)]) -> Result<(), Contradiction> {
    for (extent, kind) in placed.iter().filter(|(extent, _)| !extent.is_empty()) {
        let error = Contradiction {
            start: extent.start,
        };
        let extent = pages(*extent).ok_or(error)?;
        let inside = |r: &Range| {
            r.kind() == Kind::Usable && r.start <= extent.start && extent.end() <= r.end()
        };
        let index = ranges.iter().position(inside).ok_or(error)?;
        let old = ranges.remove(index);
        let parts = [
            Range::new(old.start, extent.start - old.start, Kind::Usable),
            Range::new(extent.start, extent.len, *kind),
            Range::new(extent.end(), old.end() - extent.end(), Kind::Usable),
        ];
        for (at, part) in parts.into_iter().filter(|part| part.len != 0).enumerate() {
            ranges.insert(index + at, part);
        }
    }
    Ok(())
}

/// The whole pages that hold an extent.
fn pages(extent: Extent) -> Option<Extent> {
    let start = extent.start & !(PAGE - 1);
    let end = extent
        .start
        .checked_add(extent.len)?
        .checked_next_multiple_of(PAGE)?;
    Some(Extent::new(start, end - start))
}

/// Bytes of RAM in a map.
#[must_use]
pub fn ram_bytes(ranges: &[Range]) -> u64 {
    let ram = ranges.iter().filter(|range| range.kind().is_ram());
    ram.fold(0, |sum, range| sum.saturating_add(range.len))
}

/// Parts of a map that are RAM, with neighbours merged.
#[must_use]
pub fn ram(ranges: &[Range]) -> Vec<Extent> {
    let mut extents: Vec<Extent> = Vec::new();
    for range in ranges.iter().filter(|range| range.kind().is_ram()) {
        match extents.last_mut() {
            Some(last) if last.end() == range.start => last.len += range.len,
            _ => extents.push(range.extent()),
        }
    }
    extents
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;

    use proptest::prelude::*;

    use super::*;

    fn descriptor(kind: u32, start: u64, pages: u64) -> Descriptor {
        Descriptor {
            kind,
            start,
            pages,
            attribute: 0xf,
        }
    }

    #[test]
    fn overlaps_go_to_the_more_cautious_kind() {
        let map = sanitise(
            &[
                descriptor(7, 0x1000, 15),
                descriptor(0, 0x4000, 2),
                descriptor(9, 0x5000, 2),
            ],
            40,
        );
        let expected = [
            Range::new(0x1000, 0x3000, Kind::Usable),
            Range::new(0x4000, 0x2000, Kind::Reserved),
            Range::new(0x6000, 0x1000, Kind::AcpiReclaimable),
            Range::new(0x7000, 0x9000, Kind::Usable),
        ];
        assert_eq!(map, expected);
    }

    #[test]
    fn nothing_past_the_address_width_or_on_page_0_is_usable() {
        let map = sanitise(
            &[
                descriptor(7, 0, 2),
                descriptor(7, 1 << 40, 1),
                descriptor(7, 0xff_ffff_f000, u64::MAX),
            ],
            40,
        );
        let expected = [
            Range::new(0, 0x1000, Kind::Reserved),
            Range::new(0x1000, 0x1000, Kind::Usable),
            Range::new(0xff_ffff_f000, 0x1000, Kind::Usable),
        ];
        assert_eq!(map, expected);
    }

    #[test]
    fn memory_that_cannot_be_cached_is_not_usable() {
        let uncached = Descriptor {
            attribute: 1,
            ..descriptor(7, 0x1000, 1)
        };
        assert_eq!(sanitise(&[uncached], 40)[0].kind(), Kind::Reserved);
    }

    #[test]
    fn what_the_loader_placed_is_cut_out_of_usable_memory() {
        let mut map = sanitise(&[descriptor(2, 0x1000, 16)], 40);
        let placed = [
            (Extent::new(0x3000, 0x1800), Kind::BootHeap),
            (Extent::new(0x1000, 0x1000), Kind::Root),
        ];
        overlay(&mut map, &placed).unwrap();
        let kinds: vec::Vec<_> = map
            .iter()
            .map(|range| (range.start, range.kind()))
            .collect();
        let expected = [
            (0x1000, Kind::Root),
            (0x2000, Kind::Usable),
            (0x3000, Kind::BootHeap),
            (0x5000, Kind::Usable),
        ];
        assert_eq!(kinds, expected);
        let again = overlay(&mut map, &[(Extent::new(0x4000, 0x1000), Kind::Root)]);
        assert_eq!(again, Err(Contradiction { start: 0x4000 }));
        assert!(overlay(&mut map, &[(Extent::new(u64::MAX - 1, 9), Kind::Root)]).is_err());
    }

    proptest! {
        #[test]
        fn every_map_comes_out_sorted_and_cautious(
            list in proptest::collection::vec((0_u32..17, 0_u64..64, 0_u64..20, any::<bool>()), 0..24)
        ) {
            let descriptors: vec::Vec<_> = list
                .iter()
                .map(|&(kind, page, pages, cached)| Descriptor { kind, start: page << 12, pages, attribute: u64::from(cached) << 3 })
                .collect();
            let map = sanitise(&descriptors, 18);
            prop_assert!(map.windows(2).all(|pair| pair[0].end() <= pair[1].start));
            for range in &map {
                prop_assert!(range.len != 0 && range.len % 4096 == 0 && range.end() <= 1 << 18);
                let all = descriptors.iter().filter(|d| range.extent().overlaps(Extent::new(d.start, d.pages << 12)));
                if range.kind() == Kind::Usable {
                    prop_assert!(all.clone().all(|d| kind_of(d) == Kind::Usable) && range.start != 0);
                }
                prop_assert!(all.count() > 0);
            }
        }
    }
}
