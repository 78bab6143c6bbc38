//! DMA of a device that a hostile child drives. The oracle is memory as the emulator has it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{E0, E1, full};
use crate::child::Child;
use crate::config::Config;
use crate::machine::Machine;
use crate::scenario::Scenario;

const PAYLOAD: &str = "edu.elf";
/// What a hostile write leaves where it lands.
const MARK: u64 = 0x5ec2_e7c0_ffee_d00d;
/// What a victim keeps.
const SECRET: u64 = 0x7e11_0f0a_5ec2_e700;
/// Bytes of a page.
const PAGE: u64 = 4096;

pub fn scenarios() -> Vec<Scenario> {
    let scenario = |name, run| Scenario::new(name, full(), run).payload(PAYLOAD);
    vec![
        scenario("dma_01_write_to_the_hypervisor", write_to_the_hypervisor),
        scenario("dma_01_control_same_address_mapped", mapped_address)
            .control_of("dma_01_write_to_the_hypervisor"),
        scenario("dma_01_a_blocked_write_is_told", blocked_write_is_told),
        scenario("dma_02_read_a_sibling", read_a_sibling),
        scenario("dma_02_control_read_own_memory", read_own_memory)
            .control_of("dma_02_read_a_sibling"),
        scenario("dma_03_same_address_in_two_partitions", same_address),
        scenario("dma_03_control_each_reaches_its_own", each_its_own)
            .control_of("dma_03_same_address_in_two_partitions"),
        scenario("tlb_01_unmapped_is_gone_at_once", unmapped_is_gone),
        scenario("tlb_01_control_mapped_again_works", mapped_again)
            .control_of("tlb_01_unmapped_is_gone_at_once"),
    ]
}

/// Address and bytes of the hypervisor's text, found by its image on the boot volume.
fn text(machine: &Machine) -> Result<(u64, Vec<u8>)> {
    let file = machine.files().volume.join("portcullis/hypervisor.elf");
    let image = std::fs::read(&file).context("the boot volume has no hypervisor")?;
    let code = executable(&image).context("hypervisor.elf has no executable segment")?;
    // Text is not relocated: a page of it is found as it is.
    let page = code.get(4096..8192).context("too little text")?;
    for (start, length) in holes(machine)? {
        let bytes = machine.physical(start, length as usize)?;
        let found = bytes.windows(page.len()).position(|window| window == page);
        if let Some(at) = found.and_then(|at| at.checked_sub(4096)) {
            let end = (at + code.len()).min(bytes.len());
            return Ok((start + at as u64, bytes[at..end].to_vec()));
        }
    }
    anyhow::bail!("the hypervisor's text is in no hole of the root's memory")
}

/// Bytes of the first executable segment (ELF-64 object file format, program header).
fn executable(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize, bytes: usize| {
        let field = image.get(at..at + bytes)?;
        Some(
            field
                .iter()
                .rev()
                .fold(0u64, |all, &b| all << 8 | u64::from(b)) as usize,
        )
    };
    let (table, count) = (word(32, 8)?, word(56, 2)?);
    let found = (0..count).map(|index| table + index * 56);
    let header = found
        .filter(|&at| word(at, 4) == Some(1))
        .find(|&at| word(at + 4, 4).is_some_and(|flags| flags & 1 != 0))?;
    let (offset, size) = (word(header + 8, 8)?, word(header + 32, 8)?);
    image.get(offset..offset + size)
}

/// RAM that the root is not shown: start and length of each gap between its ranges.
pub fn holes(machine: &Machine) -> Result<Vec<(u64, u64)>> {
    let memory = machine.command("memory")?;
    let spans = memory.data.iter();
    let mut spans: Vec<(u64, u64)> = spans
        .filter(|range| {
            matches!(
                range.get("kind"),
                Some("free" | "loaded" | "acpi" | "reserved")
            )
        })
        .filter_map(|range| Some((range.number("start")?, range.number("bytes")?)))
        .filter(|(start, _)| *start < 0x4000_0000)
        .collect();
    spans.sort_unstable();
    let gaps = spans.windows(2).filter_map(|pair| {
        let end = pair[0].0 + pair[0].1;
        (end < pair[1].0).then(|| (end, pair[1].0 - end))
    });
    Ok(gaps.collect())
}

fn marked(bytes: &[u8]) -> bool {
    let mark = MARK.to_le_bytes();
    bytes.chunks(8).any(|word| word == mark)
}

/// A write to each page of the text and to samples of all else that the hypervisor keeps changes nothing.
fn write_to_the_hypervisor(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, PAYLOAD, &[E0])?;
    let (start, before) = text(machine)?;
    let end = start + before.len() as u64;
    child.ask_good(&format!(
        "dma=sweep addr={start:#x} end={end:#x} step=0x4000 value={MARK:#x}"
    ))?;
    let others = holes(machine)?;
    for (hole, length) in &others {
        let step = (length / 3).next_multiple_of(PAGE).max(PAGE);
        let (from, to) = (*hole, hole + length);
        child.ask_good(&format!(
            "dma=sweep addr={from:#x} end={to:#x} step={step:#x} value={MARK:#x}"
        ))?;
    }
    ensure!(text(machine)?.1 == before, "the hypervisor's text changed");
    for (hole, length) in others {
        let bytes = machine.physical(hole, length as usize)?;
        ensure!(
            !marked(&bytes),
            "a write of the device landed at {hole:#x} or above"
        );
    }
    child.ask_good("self").map(|_| ())
}

/// The fault of such a write has the device's name on it, and its partition's.
fn blocked_write_is_told(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, PAYLOAD, &[E0])?;
    let (start, _) = text(machine)?;
    child.ask_good(&format!(
        "dma=sweep addr={start:#x} end={:#x} step=0x1000 value={MARK:#x}",
        start + PAGE
    ))?;
    let device = Config::device_id(E0.0);
    let told = machine.command("faults")?.data;
    let ours = told.iter().any(|fault| {
        fault.get("device") == Some(&device) && fault.get("partition") == Some(child.name())
    });
    ensure!(ours, "no fault of {device} is told: {told:?}");
    Ok(())
}

/// The addresses of the hypervisor's text, with a mapping in a domain of the child: the same write lands in its page.
fn mapped_address(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, PAYLOAD, &[E0])?;
    let page = child.ask_good("where")?.number("page")?;
    let (text_start, before) = text(machine)?;
    let start = text_start.next_multiple_of(PAGE);
    own_domain(&child, page)?;
    map(&child, start, page)?;
    child.ask_good("fill=0")?;
    child.ask_good(&format!(
        "dma=write addr={start:#x} value={MARK:#x} bytes=64"
    ))?;
    ensure!(
        child
            .ask_good(&format!("check={MARK:#x}"))?
            .number("words")?
            == 8,
        "the write did not land in the page that is mapped there"
    );
    ensure!(text(machine)?.1 == before, "the hypervisor's text changed");
    Ok(())
}

/// A domain of the child with its own page at its own address, and the device in it.
fn own_domain(child: &Child, page: u64) -> Result<()> {
    child.command("domain create {} 7")?;
    map(child, page, page)?;
    let device = Config::device_id(E0.0);
    child.command(&format!("domain attach {{}} 7 {device}"))?;
    Ok(())
}

fn map(child: &Child, iova: u64, page: u64) -> Result<()> {
    let number = page / PAGE;
    let line = format!("domain map {{}} 7 iova={iova:#x} page={number:#x}");
    child.command(&line).map(|_| ())
}

/// The place of a sibling's secret is no address that the device could read.
fn read_a_sibling(machine: &mut Machine) -> Result<()> {
    let victim = Child::interactive(machine, PAYLOAD, &[E1])?;
    let page = victim.ask_good("where")?.number("page")?;
    victim.ask_good(&format!("fill={SECRET:#x}"))?;
    let place = victim.place(page)?;
    let there = machine.physical(place, 8)?;
    ensure!(
        there == SECRET.to_le_bytes(),
        "the secret is not at {place:#x}"
    );
    let thief = Child::interactive(machine, PAYLOAD, &[E0])?;
    thief.ask_good(&format!(
        "dma=read addr={place:#x} value={SECRET:#x} expect=blocked"
    ))?;
    victim.ask_good(&format!("check={SECRET:#x}")).map(|_| ())
}

/// The same read of an address that is the child's own delivers what is there.
fn read_own_memory(machine: &mut Machine) -> Result<()> {
    let child = Child::interactive(machine, PAYLOAD, &[E0])?;
    let line = format!("dma=read addr=own value={SECRET:#x}");
    let words = child.ask_good(&line)?.number("words")?;
    ensure!(words == 8, "the device read {words} of 8 words");
    Ok(())
}

/// Two partitions use the same guest-physical page; a write of one's device leaves the other's page alone.
fn same_address(machine: &mut Machine) -> Result<()> {
    let (one, other) = pair(machine)?;
    let page = same_page(&one, &other)?;
    one.ask_good(&format!("fill={SECRET:#x}"))?;
    other.ask_good(&format!(
        "dma=write addr={page:#x} value={MARK:#x} bytes=4096"
    ))?;
    let kept = one
        .ask_good(&format!("check={SECRET:#x}"))?
        .number("words")?;
    ensure!(
        kept == 512,
        "{} of 512 words of the sibling changed",
        512 - kept
    );
    let landed = other
        .ask_good(&format!("check={MARK:#x}"))?
        .number("words")?;
    ensure!(
        landed == 512,
        "only {landed} of 512 words landed in the own page"
    );
    Ok(())
}

/// Both devices write their own partition's page at that address, each its own value.
fn each_its_own(machine: &mut Machine) -> Result<()> {
    let (one, other) = pair(machine)?;
    let page = same_page(&one, &other)?;
    for (child, value) in [(&one, MARK), (&other, SECRET)] {
        child.ask_good("fill=0")?;
        child.ask_good(&format!(
            "dma=write addr={page:#x} value={value:#x} bytes=4096"
        ))?;
    }
    for (child, value) in [(&one, MARK), (&other, SECRET)] {
        let words = child
            .ask_good(&format!("check={value:#x}"))?
            .number("words")?;
        ensure!(words == 512, "{} has {words} of 512 words", child.name());
    }
    Ok(())
}

fn pair(machine: &Machine) -> Result<(Child<'_>, Child<'_>)> {
    let one = Child::interactive(machine, PAYLOAD, &[E0])?;
    let other = Child::interactive(machine, PAYLOAD, &[E1])?;
    Ok((one, other))
}

fn same_page(one: &Child, other: &Child) -> Result<u64> {
    let page = one.ask_good("where")?.number("page")?;
    let second = other.ask_good("where")?.number("page")?;
    ensure!(
        page == second,
        "the pages differ: {page:#x} and {second:#x}"
    );
    ensure!(one.place(page)? != other.place(page)?, "they share a frame");
    Ok(page)
}

/// An IOVA that has just been used, so that it is cached.
const IOVA: u64 = 0x4000_0000;

/// A child whose device has written through [`IOVA`].
fn warm(machine: &Machine) -> Result<(Child<'_>, u64)> {
    let child = Child::interactive(machine, PAYLOAD, &[E0])?;
    let page = child.ask_good("where")?.number("page")?;
    own_domain(&child, page)?;
    map(&child, IOVA, page)?;
    ensure!(writes(&child)? == 8, "the mapped address does not work");
    Ok((child, page))
}

/// How many of eight words arrive in the page.
fn writes(child: &Child) -> Result<u64> {
    let line = format!("dma=write addr={IOVA:#x} value={MARK:#x} bytes=64");
    child.ask_good(&line)?.number("own-words")
}

/// The first write after the call has returned is blocked.
fn unmapped_is_gone(machine: &mut Machine) -> Result<()> {
    let (child, _) = warm(machine)?;
    child.command(&format!("domain unmap {{}} 7 iova={IOVA:#x}"))?;
    let landed = writes(&child)?;
    ensure!(
        landed == 0,
        "{landed} words went through a mapping that is gone"
    );
    Ok(())
}

/// Mapped anew after an unmapping, the address works again.
fn mapped_again(machine: &mut Machine) -> Result<()> {
    let (child, page) = warm(machine)?;
    child.command(&format!("domain unmap {{}} 7 iova={IOVA:#x}"))?;
    map(&child, IOVA, page)?;
    ensure!(
        writes(&child)? == 8,
        "the address is mapped again and does not work"
    );
    Ok(())
}

/// How long a transfer of the device takes at most, and then some.
pub const TRANSFER: Duration = Duration::from_millis(300);
