//! The demonstration's guest: drives the network adapter that it was given, takes an address, and serves a page that
//! shows what carried it.
//!
//! Command line: `nonce=TEXT` stands in the page; `ip=ADDRESS/PREFIX` instead of DHCP; `ping=ADDRESS count=N` pings,
//! prints `net: ping ok N` and ends; `irq=msi|msix` leaves the driver no choice; `seconds=N` ends after that time.

#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod device;
mod page;
mod ping;
mod stack;

use core::sync::atomic::{AtomicBool, Ordering};

use nic::{Model, Nic};
use pci::{Function, Way};
use runtime::cmdline::CommandLine;
use runtime::exit::Verdict;
use runtime::{apic, interrupt, println};

runtime::payload!(main);

/// Vector of the adapter's message.
const NIC_VECTOR: u8 = 0x40;
/// Vector of the timer.
const TIMER_VECTOR: u8 = 0x41;

static WOKEN: AtomicBool = AtomicBool::new(false);

fn wake(_vector: u8) {
    WOKEN.store(true, Ordering::Release);
}

fn main(line: CommandLine<'static>) -> Verdict {
    match run(line) {
        Ok(verdict) => verdict,
        Err(reason) => {
            println!("net: FAIL {reason}");
            Verdict::Failure
        }
    }
}

fn run(line: CommandLine<'static>) -> Result<Verdict, &'static str> {
    interrupt::set_handler(NIC_VECTOR, wake);
    interrupt::set_handler(TIMER_VECTOR, wake);
    let (function, nic) = open(line)?;
    let mac = nic.mac();
    println!(
        "net: {} at {function}, address {:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}, {:?}",
        nic.model().name(),
        mac[0],
        mac[1],
        mac[2],
        mac[3],
        mac[4],
        mac[5],
        nic.way()
    );
    if !nic.wait_for_link() {
        return Err("the link does not come up");
    }
    println!("net: link up");
    stack::Stack::new(line, function, nic)?.run()
}

fn open(line: CommandLine<'static>) -> Result<(Function, Nic), &'static str> {
    let only = match line.value("irq") {
        Some("msi") => Some(Way::Msi),
        Some("msix") => Some(Way::MsiX),
        _ => None,
    };
    let config = pci::open();
    let function = config
        .find(&Model::IDS)
        .ok_or("no network adapter was given to this guest")?;
    let nic = Nic::open(function, apic::id(), NIC_VECTOR, only)?;
    Ok((function, nic))
}
