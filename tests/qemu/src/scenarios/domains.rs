//! Device domains: map, unmap, map anew, large pages, query; and interrupts that move while they come.

use anyhow::{Result, ensure};

use super::{E0, full};
use crate::child::{Child, Order};
use crate::config::Config;
use crate::machine::Machine;
use crate::scenario::Scenario;

const PAYLOAD: &str = "edu.elf";
const MARK: u64 = 0x00d0_0a11_d0aa_1115;
const IOVA: u64 = 0x8000_0000;

pub fn scenarios() -> Vec<Scenario> {
    let edu = |name, run| Scenario::new(name, full(), run).payload(PAYLOAD);
    vec![
        edu("domain_map_unmap_remap_query", map_unmap_remap),
        edu("domain_of_large_pages", large_pages),
        edu("domain_refuses_nonsense", nonsense),
        edu("interrupts_retargeted_under_load", retargeted),
    ]
}

/// A child with its device in domain 3, which maps the device's own page at its own address.
fn with_domain(machine: &Machine) -> Result<(Child<'_>, u64)> {
    let child = Child::interactive(machine, PAYLOAD, &[E0])?;
    let page = child.ask_good("where")?.number("page")?;
    child.command("domain create {} 3")?;
    let number = page / 4096;
    child.command(&format!(
        "domain map {{}} 3 iova={page:#x} page={number:#x}"
    ))?;
    let device = Config::device_id(E0.0);
    child.command(&format!("domain attach {{}} 3 {device}"))?;
    Ok((child, page))
}

fn landed(child: &Child, iova: u64) -> Result<u64> {
    let line = format!("dma=write addr={iova:#x} value={MARK:#x} bytes=64");
    child.ask_good(&line)?.number("own-words")
}

/// The page behind an IOVA; `None` where nothing is mapped.
fn query(child: &Child, iova: u64) -> Result<Option<u64>> {
    let line = format!("domain query {{}} 3 iova={iova:#x}");
    match child.command(&line) {
        Ok(reply) => Ok(reply.data.first().and_then(|row| row.number("page"))),
        Err(error) if format!("{error:#}").contains("NOT_FOUND") => Ok(None),
        Err(error) => Err(error),
    }
}

fn map_unmap_remap(machine: &mut Machine) -> Result<()> {
    let (child, page) = with_domain(machine)?;
    let (frame, number) = (child.place(page)? / 4096, page / 4096);
    ensure!(
        landed(&child, IOVA)? == 0,
        "an address that was never mapped works"
    );
    ensure!(
        query(&child, IOVA)?.is_none(),
        "nothing is mapped and something is found"
    );
    child.command(&format!(
        "domain map {{}} 3 iova={IOVA:#x} page={number:#x}"
    ))?;
    ensure!(
        query(&child, IOVA)? == Some(frame),
        "another frame is mapped"
    );
    ensure!(
        landed(&child, IOVA)? == 8,
        "the mapped address does not work"
    );
    child.command(&format!("domain unmap {{}} 3 iova={IOVA:#x}"))?;
    ensure!(query(&child, IOVA)?.is_none(), "it is unmapped and found");
    ensure!(landed(&child, IOVA)? == 0, "it is unmapped and works");
    // The same address, another frame: the page does not change any more.
    let other = number + 1;
    child.command(&format!("domain map {{}} 3 iova={IOVA:#x} page={other:#x}"))?;
    ensure!(
        landed(&child, IOVA)? == 0,
        "the old frame is still written to"
    );
    child.command(&format!("domain unmap {{}} 3 iova={IOVA:#x}"))?;
    // Read-only: the write is blocked, the page can be read.
    child.command(&format!(
        "domain map {{}} 3 iova={IOVA:#x} page={number:#x} write=0"
    ))?;
    ensure!(
        landed(&child, IOVA)? == 0,
        "a read-only mapping was written through"
    );
    Ok(())
}

/// Neighbouring frames on a 2 MiB boundary become one large page; one of its small pages can be unmapped all the same.
fn large_pages(machine: &mut Machine) -> Result<()> {
    let (child, page) = with_domain(machine)?;
    let first = page & !0x1f_ffff;
    let line = format!(
        "domain map {{}} 3 iova={IOVA:#x} page={:#x} pages=512",
        first / 4096
    );
    child.command(&line)?;
    let at = IOVA + (page - first);
    ensure!(landed(&child, at)? == 8, "the large page does not work");
    let frame = child.place(page)? / 4096;
    ensure!(
        query(&child, at)? == Some(frame),
        "the large page maps another frame"
    );
    let next = at + 4096;
    child.command(&format!("domain unmap {{}} 3 iova={next:#x}"))?;
    ensure!(query(&child, next)?.is_none(), "the hole is mapped");
    ensure!(
        query(&child, at)? == Some(frame),
        "the neighbour of the hole is gone"
    );
    ensure!(
        landed(&child, at)? == 8,
        "the neighbour of the hole does not work"
    );
    child.command(&format!("domain unmap {{}} 3 iova={at:#x}"))?;
    ensure!(
        landed(&child, at)? == 0,
        "a page that was part of a large one still works"
    );
    Ok(())
}

/// What cannot be mapped is refused, with nothing changed.
fn nonsense(machine: &mut Machine) -> Result<()> {
    let (child, page) = with_domain(machine)?;
    let name = child.name();
    let pages = |machine: &Machine| -> Result<Option<u64>> {
        let listed = machine.command(&format!("domains {name}"))?.data;
        let row = listed.iter().find(|row| row.number("id") == Some(3));
        Ok(row.and_then(|row| row.number("pages")))
    };
    let before = pages(machine)?;
    for line in [
        format!("domain map {name} 3 iova=0x80000001 page=1"),
        format!("domain map {name} 3 iova=0xfee00000 page=1"),
        format!("domain map {name} 3 iova=0x80000000 page=0xfee00"),
        format!("domain map {name} 3 iova=0x80000000 page=0x7ffffffff"),
        format!("domain map {name} 3 iova={page:#x} page=1"),
        format!("domain map {name} 9 iova=0x80000000 page=1"),
        format!("domain create {name} 3"),
        format!("domain delete {name} 3"),
        format!("domain attach {name} 9 {}", Config::device_id(E0.0)),
    ] {
        let status = machine.refused(&line)?;
        ensure!(!status.is_empty(), "{line}: refused without a status");
    }
    ensure!(
        pages(machine)? == before,
        "a refused call changed the domain"
    );
    child.ask_good("self").map(|_| ())
}

/// While messages come as fast as they go, they are moved between VPs, LPs and vectors; each place gets its share and the
/// last one is not lost.
fn retargeted(machine: &mut Machine) -> Result<()> {
    let child = Child::start(
        machine,
        &Order {
            payload: PAYLOAD,
            options: "memory=16M vps=2 lps=0,1",
            words: "storm vps=2 seconds=4",
            devices: &[E0],
        },
    )?;
    child.line(|line| line == "edu: storm begins")?;
    let device = Config::device_id(E0.0);
    let mut moved = 0;
    for round in 0..60 {
        let (vp, vector) = (round % 2, 0x50 + round / 2 % 2);
        child.command(&format!(
            "retarget {{}} {device} 0 vp={vp} vector={vector:#x}"
        ))?;
        moved += 1;
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
    let line = child.line(|line| line.starts_with("edu: storm "))?;
    let answer = crate::child::Answer {
        good: line.contains(" ok "),
        line,
    };
    ensure!(answer.good, "after {moved} moves: {}", answer.line);
    for share in ["vp0", "vp1", "second-vector"] {
        ensure!(
            answer.number(share)? > 0,
            "{share} got nothing: {}",
            answer.line
        );
    }
    Ok(())
}
