//! CFG-11: only the own functions are there. CFG-01 and CFG-03: decoding and BARs are virtual.

use pci::{Config, Function, Interrupts, Way, register};
use runtime::cmdline::CommandLine;
use runtime::mmio::Mmio;
use runtime::pool::Frames;
use runtime::{apic, println};

use crate::report;

/// Every bus, device and function, by ports and by ECAM; all of the space of bus 0's functions.
pub fn scan(line: CommandLine<'_>) -> bool {
    let window = pci::open();
    let last = line
        .number("buses")
        .map_or(255, |buses| buses.clamp(1, 256) - 1);
    let by_ports = count(Config::Ports, last as u8);
    let by_window = match window {
        Config::Ecam(_, first, last) => {
            println!("probe: config window for buses {first} to {last}");
            count(window, last)
        }
        Config::Ports => by_ports,
    };
    let quiet = silent(window);
    let expected = line.number("expect");
    let good = by_ports == by_window && quiet && expected.is_none_or(|n| n == by_ports);
    report(
        "config",
        good,
        format_args!("by ports {by_ports} by window {by_window} others silent {quiet}"),
    )
}

fn count(config: Config, last: u8) -> u64 {
    let mut found = 0;
    for bus in 0..=last {
        for id in 0..=255_u8 {
            let function = config.function(bus, id >> 3, id & 7);
            let ids = function.ids();
            if ids != u32::MAX {
                println!("probe: function {function} ids {ids:#x}");
                found += 1;
            }
        }
    }
    found
}

/// Whether no register of an absent function of bus 0 answers.
fn silent(config: Config) -> bool {
    (0..=255_u8)
        .map(|id| config.function(0, id >> 3, id & 7))
        .filter(|function| function.ids() == u32::MAX)
        .all(|function| {
            (0..0x1000)
                .step_by(0x40)
                .all(|at| function.read(at) == u32::MAX)
        })
}

/// INT-02: messages of the guest's choice in a table of MSI-X, and bits set in the pending array: the guest reads its own
/// back, and pending bits are not its to write. Leaves the table so.
pub fn msix(line: CommandLine<'_>) -> bool {
    let address = line.number("addr").unwrap_or(0xfee0_1234) as u32 & !3;
    let data = line.number("data").unwrap_or(0x4fe) as u32;
    let found = pci::open().functions().find_map(|function| {
        function.command(register::MEMORY, 0);
        let messages = Interrupts::open(function, apic::id(), 0x52, Some(Way::MsiX))?;
        Some((function, messages))
    });
    let Some((function, messages)) = found else {
        return report(
            "msix",
            false,
            format_args!("no device with MSI-X was given"),
        );
    };
    messages.set_raw(0, address, data);
    let (seen, seen_data) = messages.read_back();
    let pending = pending_bits(function);
    let kept = pending.is_none_or(|pending| {
        let before = pending.read32(0);
        pending.write32(0, u32::MAX);
        pending.read32(0) == before
    });
    report(
        "msix",
        (seen, seen_data) == (address, data) && kept && pending.is_some(),
        format_args!("{function} reads back {seen:#x} {seen_data:#x} pending kept {kept}"),
    )
}

/// The array of pending bits (PCI Local Bus Specification 3.0, section 6.8.2.5).
fn pending_bits(function: Function) -> Option<Mmio> {
    let place = function.read(function.capability(register::MSIX)? + 8);
    let (base, _) = function.bar((place & 7) as u8)?;
    Mmio::map(base.checked_add(u64::from(place & !7))?, 8)
}

/// The first function with a memory BAR that is no bridge.
fn device() -> Option<(Function, u64, u64)> {
    pci::open()
        .functions()
        .filter(|function| function.read(register::CLASS) >> 24 != 0x06)
        .find_map(|function| {
            function.command(register::MEMORY, 0);
            let (address, length) = function.bar(0)?;
            Some((function, address, length))
        })
}

pub fn bar(_line: CommandLine<'_>) -> bool {
    let Some((function, address, length)) = device() else {
        return report("bar", false, format_args!("no device with a BAR was given"));
    };
    let Some(registers) = Mmio::map(address, length) else {
        return report("bar", false, format_args!("the BAR lies in memory"));
    };
    let before = registers.read32(8);
    let off = decoding_off(function, &registers);
    let moved = moved_over(function, address);
    let after = registers.read32(8);
    report(
        "bar",
        off && moved && before == after && before != u32::MAX,
        format_args!(
            "{function} off-silent {off} moves-harmless {moved} register {before:#x} then {after:#x}"
        ),
    )
}

/// CFG-01: with decoding off the BAR reads all ones.
fn decoding_off(function: Function, registers: &Mmio) -> bool {
    function.command(0, register::MEMORY);
    let silent = registers.read32(8) == u32::MAX;
    let shown = function.read(register::COMMAND) & register::MEMORY == 0;
    function.command(register::MEMORY, 0);
    silent && shown
}

/// CFG-03: a BAR over own memory, the local APIC, ECAM or nothing changes neither memory nor the device's place.
fn moved_over(function: Function, home: u64) -> bool {
    const VALUE: u64 = 0x600d_600d_600d_600d;
    let Some(page) = Frames::allocate_below(1, 4096, 1 << 32) else {
        return false;
    };
    let _ = page.write_u64(0, VALUE);
    let places = [
        page.address(),
        0xfee0_0000,
        0xb000_0000,
        0xe000_0000,
        0,
        0xffff_f000,
    ];
    for place in places {
        function.write(register::BAR0, place as u32);
        let _ = function.read(register::BAR0);
        if page.read_u64(0) != Ok(VALUE) {
            println!("probe: BAR at {place:#x} hides memory");
        }
    }
    let kept = page.read_u64(0) == Ok(VALUE);
    function.write(register::BAR0, home as u32);
    kept && function.read(register::BAR0) & !0xf == home as u32
}
