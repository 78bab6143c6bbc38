//! The machine's side of the IOMMU units: registers, table memory and clock for each, and who may be used at all.

use address::{ApicId, Spa};
use alloc::alloc::{Layout, alloc_zeroed};
use alloc::vec::Vec;
use device::{Boot, Capacities, Devices, Platform, UnitParts};
use firmware::dmar::Dmar;
use firmware::ivrs::Ivrs;
use handoff::Extent;
use iommu::{
    Clock, Description, Dialect, FrameSource, ProbeError, Registers, TableMemory, Unit, UnitMemory,
    WideMemory,
};
use kernel::memory::Pool;
use topology::{Problem, Reason, Remapping, Topology, UnitKind};

use crate::config_space::{self, Config};
use crate::cpu::apic::vector;
use crate::cpu::{clock, per_lp};
use crate::facts::Facts;
use crate::memory::{self, physical_of};
use crate::{mmio, platform};

const FRAME: usize = 4096;
/// Enough of a register block to ask how long it is.
const FIRST_BYTES: u64 = 4096;
/// Frames for the tables of memory that firmware reserved for devices: bounds what of it is mapped.
const RESERVED_FRAMES: u16 = 128;

/// The machine, as the device crate sees it.
pub struct DeviceSeams;

impl Platform for DeviceSeams {
    type Hardware = UnitHardware;
    type Tables = Tables;
    type Config = Config;
}

/// Table memory: frames in the direct map.
#[derive(Clone, Copy, Debug)]
pub struct Tables;

impl TableMemory for Tables {
    #[inline]
    fn read(&self, table: Spa, index: usize) -> u64 {
        memory::read_word(entry(table, index))
    }

    #[inline]
    fn write(&self, table: Spa, index: usize, value: u64) {
        memory::write_word(entry(table, index), value);
    }

    fn zero(&self, table: Spa) {
        memory::zero_frame(table);
    }

    fn clean(&self, table: Spa, first: usize, count: usize) {
        memory::clean(entry(table, first), count.min(512) as u64 * 8);
    }
}

#[inline]
fn entry(table: Spa, index: usize) -> Spa {
    Spa::new((table.as_u64() & !0xfff) | ((index as u64 & 511) << 3))
}

/// What one unit has of the machine.
#[derive(Clone, Copy, Debug)]
pub struct UnitHardware {
    registers: mmio::Registers,
}

impl Registers for UnitHardware {
    fn read32(&self, offset: usize) -> u32 {
        self.registers.read_32(offset as u64)
    }

    fn read64(&self, offset: usize) -> u64 {
        self.registers.read_64(offset as u64)
    }

    fn write32(&self, offset: usize, value: u32) {
        memory::fence();
        self.registers.write_32(offset as u64, value);
    }

    fn write64(&self, offset: usize, value: u64) {
        memory::fence();
        self.registers.write_64(offset as u64, value);
    }
}

impl TableMemory for UnitHardware {
    fn read(&self, table: Spa, index: usize) -> u64 {
        Tables.read(table, index)
    }

    fn write(&self, table: Spa, index: usize, value: u64) {
        Tables.write(table, index, value);
    }

    fn zero(&self, table: Spa) {
        Tables.zero(table);
    }

    fn clean(&self, table: Spa, first: usize, count: usize) {
        Tables.clean(table, first, count);
    }
}

impl WideMemory for UnitHardware {
    fn write_wide(&self, table: Spa, index: usize, low: u64, high: u64) {
        memory::write_wide(entry(table, index & !1), low, high);
    }
}

impl Clock for UnitHardware {
    fn now(&self) -> u64 {
        clock::now()
    }

    fn ticks_per_us(&self) -> u64 {
        clock::ticks_of_us(1).max(1)
    }
}

/// Frames of the boot heap, for tables that are made once.
#[derive(Debug)]
pub struct BootFrames;

impl FrameSource for BootFrames {
    fn take(&mut self) -> Option<Spa> {
        boot_frames(1)
    }

    /// Boot tables live as long as the machine: nothing comes back but after a failed start of a unit, and then it is lost.
    fn put(&mut self, _: Spa) {}
}

/// Zeroed frames of the boot heap, contiguous, aligned to their size; `count` is a power of two.
pub fn boot_frames(count: u16) -> Option<Spa> {
    let bytes = usize::from(count) * FRAME;
    let layout = Layout::from_size_align(bytes, bytes).ok()?;
    // SAFETY: the layout is not empty: a count of 0 has no alignment and was refused.
    let start = unsafe { alloc_zeroed(layout) };
    (!start.is_null()).then(|| physical_of(start))
}

/// Takes what cannot be trusted out of the topology: units whose registers are not registers, and all of them where firmware
/// says that interrupts cannot be remapped.
pub fn judge(facts: &Facts, topology: &mut Topology, dmar: Option<&Dmar<'_>>) {
    for unit in &mut topology.units {
        let block = Extent::new(unit.base.as_u64(), unit.register_bytes.max(FIRST_BYTES));
        let in_ram = facts
            .ranges
            .iter()
            .any(|range| range.kind().is_ram() && range.extent().overlaps(block));
        if in_ram || !memory::is_covered(unit.base, block.len) {
            log::error!(
                "the IOMMU unit at {} is in RAM or nowhere; it is not used",
                unit.base
            );
            unit.refused = true;
        }
    }
    if dmar.is_some_and(|table| !table.interrupt_remapping() || table.x2apic_opt_out()) {
        log::warn!("firmware says that interrupts cannot be remapped: no device will be assigned");
        topology.refuse(None, Reason::NoInterruptRemapping);
    }
}

/// Probes the units; those that do not answer are `None`, and said.
pub fn probe(facts: &Facts, topology: &Topology) -> Vec<Option<UnitParts<UnitHardware>>> {
    let host_bits = facts.handoff.physical_bits.min(64) as u8;
    let units = topology.units.iter().map(|facts| {
        let result = (!facts.refused).then(|| probe_one(facts, host_bits))?;
        match result {
            Ok(unit) => parts(unit),
            Err(error) => {
                log::error!("the IOMMU unit at {} is not used: {error}", facts.base);
                None
            }
        }
    });
    units.collect()
}

fn probe_one(facts: &topology::Unit, host_bits: u8) -> Result<Unit<UnitHardware>, ProbeError> {
    let base = facts.base;
    let dialect = match facts.kind {
        UnitKind::RootTable => Dialect::RootTable,
        UnitKind::DeviceTable => Dialect::DeviceTable,
    };
    let first = mmio::Registers::new(base, FIRST_BYTES).ok_or(ProbeError::Absent)?;
    let bytes = iommu::register_bytes(dialect, &UnitHardware { registers: first })?;
    let registers = mmio::Registers::new(base, bytes as u64).ok_or(ProbeError::Absent)?;
    Unit::probe(
        Description {
            dialect,
            host_bits,
            caches_absent: facts.caches_absent,
        },
        UnitHardware { registers },
    )
}

fn parts(unit: Unit<UnitHardware>) -> Option<UnitParts<UnitHardware>> {
    let frames = unit.memory_frames();
    let Some(base) = boot_frames(frames) else {
        log::error!("no memory for an IOMMU unit's tables; it is not used");
        return None;
    };
    let memory = UnitMemory { base, frames };
    Some(UnitParts { unit, memory })
}

/// Walks the machine's devices, and takes out what cannot be trusted.
pub fn walk(facts: &Facts, tables: &crate::acpi_tables::Tables) -> Topology {
    config_space::start(facts, tables.find(b"MCFG"));
    let (dmar, ivrs) = (dmar(tables), ivrs(tables));
    let remapping = match (&dmar, &ivrs) {
        (Some(dmar), _) => Remapping::Dmar(dmar),
        (None, Some(ivrs)) => Remapping::Ivrs(ivrs),
        (None, None) => Remapping::None,
    };
    if matches!(remapping, Remapping::None) {
        log::warn!("firmware describes no IOMMU: no device will be assigned");
    }
    let mut topology = topology::discover(&mut Config, config_space::buses(), remapping);
    judge(facts, &mut topology, dmar.as_ref());
    topology
}

/// Takes over every unit, with everything blocked but memory that firmware reserved for a device and may.
pub fn start(
    facts: &Facts,
    platform: &platform::Platform,
    topology: &mut Topology,
    fault_target: ApicId,
) -> Devices<DeviceSeams> {
    judge_reserved(facts, platform, topology);
    report(topology);
    let boot = Boot {
        topology,
        units: probe(facts, topology),
        tables: Tables,
        config: Config,
        lps: per_lp::count() as u16,
        memory_bits: facts.memory_bits(),
        capacities: Capacities::default(),
    };
    let mut devices = Devices::new(boot, &mut BootFrames);
    keep_reserved(topology, &mut devices);
    if let Err(error) = devices.set_fault_interrupt(fault_target, vector::IOMMU_FAULT) {
        log::warn!("faults of an IOMMU unit are found only when somebody looks: {error}");
    }
    log::info!(
        "{} IOMMU units, {} PCI functions",
        topology.units.len(),
        topology.functions.len()
    );
    devices
}

/// Leaves of the memory that firmware reserves for devices what its memory map reserves, registers excluded.
fn judge_reserved(facts: &Facts, platform: &platform::Platform, topology: &mut Topology) {
    let registers: [&[Extent]; 3] = [&platform.kept, &platform.ecam, &platform.windows];
    topology.judge_reserved(|start, bytes| {
        let extent = Extent::new(start.as_u64(), bytes);
        handoff::is_reserved(facts.ranges, &registers, extent)
    });
}

/// Gives devices the memory that firmware reserved for them. The tables get a bounded part of the boot heap, in the kind of pool
/// that partitions have.
fn keep_reserved(topology: &Topology, devices: &mut Devices<DeviceSeams>) {
    if topology.reserved.iter().all(|it| it.range.is_none()) {
        return;
    }
    let mut pool = Pool::new();
    if let Some(first) = boot_frames(RESERVED_FRAMES) {
        pool.add_run(&Tables, first, RESERVED_FRAMES.into());
    }
    let left_out = devices.keep_reserved(topology, &mut pool.source(&Tables));
    if left_out != 0 {
        log::warn!("{left_out} groups of devices lose the memory that firmware reserved for them");
    }
}

/// Says what the walk found wrong, each once: firmware repeats itself.
fn report(topology: &Topology) {
    for (index, problem) in topology.problems.iter().enumerate() {
        let same = |other: &&Problem| *other == problem;
        if topology
            .problems
            .iter()
            .take(index)
            .any(|other| same(&other))
        {
            continue;
        }
        let times = topology.problems.iter().filter(same).count();
        log::warn!("{problem} ({times} times)");
    }
}

/// The DMAR, or nothing, which is said where it is there and broken.
fn dmar(tables: &crate::acpi_tables::Tables) -> Option<Dmar<'static>> {
    Dmar::parse(tables.find(b"DMAR")?)
        .inspect_err(|error| log::error!("{error}: no device will be assigned"))
        .ok()
}

/// The IVRS, likewise.
fn ivrs(tables: &crate::acpi_tables::Tables) -> Option<Ivrs<'static>> {
    Ivrs::parse(tables.find(b"IVRS")?)
        .inspect_err(|error| log::error!("{error}: no device will be assigned"))
        .ok()
}
