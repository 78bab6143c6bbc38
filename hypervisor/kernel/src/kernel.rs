//! The one object that holds everything, and how it is made.

use alloc::vec::Vec;

use address::{ApicId, Gpa, Iova, LpIndex, PartitionId, Spa};
use device::Devices;
use paging::{Access, Shape, Slat};
use spin::Mutex;

use crate::lp::Lp;
use crate::memory::Frames;
use crate::partition::slat::PartitionSlat;
use crate::partition::{PartitionCell, Partitions, State};
use crate::pci::Pci;
use crate::seams::Machine;
use crate::vp::VpCell;

/// All state of the hypervisor's logic.
pub struct Kernel<M: Machine> {
    /// The machine below.
    pub machine: M,
    /// Logical processors.
    pub lps: Vec<Lp>,
    /// Partitions.
    pub partitions: Partitions,
    /// VPs of all partitions.
    pub vps: Vec<VpCell<M>>,
    /// Who owns which frame.
    pub frames: Mutex<Frames>,
    /// PCI functions and their configuration space. Taken last.
    pub pci: Mutex<Pci<<M::Platform as device::Platform>::Config>>,
    /// Device domains and device interrupts.
    pub devices: Mutex<Devices<M::Platform>>,
    /// Faults that the root has not taken yet.
    pub faults: Mutex<crate::faults::Faults>,
    /// What the root is to be told.
    pub notices: crate::notices::Notices,
    /// The software half of device interrupts, looked up without a lock.
    pub arrivals: device::SoftwareTable,
    /// See [`Boot::posts`].
    pub(crate) posts: bool,
    /// TSC ticks of a time slice.
    pub(crate) slice: u64,
    /// TSC ticks of a period of the interrupt budget.
    pub(crate) period: u64,
}

/// What the kernel is made from at boot.
pub struct Boot<'a, M: Machine> {
    /// The machine.
    pub machine: M,
    /// Local APIC ids of the LPs, the boot processor's first.
    pub lps: &'a [ApicId],
    /// Who owns which frame, what the hypervisor keeps marked.
    pub frames: Frames,
    /// PCI functions.
    pub pci: Pci<<M::Platform as device::Platform>::Config>,
    /// Device nouns.
    pub devices: Devices<M::Platform>,
    /// Whether device interrupts are posted where the unit, the processor and the VP can do it.
    pub posts: bool,
    /// What the root's GPA map holds, identity: first byte, pages, access. Kept frames and kept MMIO are not in it.
    pub root_map: &'a [(Spa, u64, Access)],
    /// Frames for the root's tables, of which the frame table says that the hypervisor keeps them.
    pub reserve: &'a [(Spa, u64)],
}

/// First page and pages of the window in which writes are interrupts: FEE0_0000h to FEEF_FFFFh.
const INTERRUPT_WINDOW: (u64, u64) = (0xf_ee00, 0x100);

/// Why the kernel could not be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BootError {
    /// The reserve is too small for the root's tables.
    #[error("its reserve of memory is too small")]
    ReserveTooSmall,
    /// A range of the root's map cannot be mapped.
    #[error("its memory map makes no sense: {0}")]
    RootMap(paging::MapError),
    /// The device nouns refused the root's RAM.
    #[error("its memory cannot be mapped for devices")]
    Devices,
}

impl<M: Machine> Kernel<M> {
    /// Makes the kernel with its root partition, which has a GPA map and no VPs. Allocates; nothing after it does.
    ///
    /// # Errors
    /// Where the reserve is too small, or the root's map does not make sense.
    pub fn new(boot: Boot<'_, M>) -> Result<Self, BootError> {
        let mut frames = boot.frames;
        // Whatever firmware calls RAM there: no domain may lead to the interrupt window (invariant 1).
        frames.keep(INTERRUPT_WINDOW.0, INTERRUPT_WINDOW.1);
        let ticks = |us: u64| (boot.machine.tsc_hz() / 1_000_000 * us).max(1);
        let kernel = Self {
            posts: boot.posts,
            slice: ticks(crate::SLICE_US),
            period: ticks(crate::INTERRUPT_PERIOD_US),
            lps: boot.lps.iter().map(|&id| Lp::new(id)).collect(),
            partitions: Partitions::new(boot.machine.tags() as usize),
            vps: (0..crate::MAX_VPS).map(|_| VpCell::free()).collect(),
            frames: Mutex::new(frames),
            pci: Mutex::new(boot.pci),
            arrivals: boot.devices.software().clone(),
            devices: Mutex::new(boot.devices),
            faults: Mutex::default(),
            notices: Default::default(),
            machine: boot.machine,
        };
        let cell = kernel.partitions.create_root(kernel.machine.now());
        kernel.fill_reserve(cell, boot.reserve);
        match kernel.map_root(cell, boot.root_map) {
            Ok(()) => Ok(kernel),
            Err(error) => {
                // The machine stops: nobody needs what it is made of, nor the code that would give it back.
                core::mem::forget(kernel);
                Err(error)
            }
        }
    }

    fn fill_reserve(&self, cell: &PartitionCell, reserve: &[(Spa, u64)]) {
        let mut root = cell.body.lock();
        for &(first, pages) in reserve {
            root.pool.add_run(self.machine.tables(), first, pages);
        }
    }

    fn map_root(&self, cell: &PartitionCell, map: &[(Spa, u64, Access)]) -> Result<(), BootError> {
        let tables = self.machine.tables();
        let mut body = cell.body.lock();
        let root = &mut *body;
        let shape = Shape::processor(self.machine.physical_bits());
        let kind = self.machine.slat_kind();
        let mut slat = Slat::new(kind, shape, tables, &mut root.pool.source(tables))
            .map_err(|_| BootError::ReserveTooSmall)?;
        let mut devices = self.devices.lock();
        let with_domain = devices
            .create_identity_domain(PartitionId::ROOT, &mut root.pool.source(tables))
            .is_ok();
        for &(start, pages, access) in map {
            let pool = &mut root.pool.source(tables);
            let (done, result) = slat.map_range(tables, pool, start.as_u64(), start, pages, access);
            root.mapped_pages += done;
            result.map_err(BootError::RootMap)?;
            if with_domain && self.frames.lock().is_ram(start.page()) {
                let rights = access.rights & (paging::Rights::READ | paging::Rights::WRITE);
                let iova = Iova::new(start.as_u64());
                let (_, result) =
                    devices.map_identity_range(PartitionId::ROOT, iova, start, pages, rights, pool);
                result.map_err(|_| BootError::Devices)?;
            }
        }
        root.slat = PartitionSlat::Live(slat);
        root.state = State::Initialized;
        Ok(())
    }

    /// Index of the LP with this local APIC id.
    #[must_use]
    pub fn lp_of(&self, apic_id: ApicId) -> Option<LpIndex> {
        let index = self.lps.iter().position(|lp| lp.apic_id == apic_id)?;
        Some(LpIndex(index as u16))
    }

    /// Where a guest-physical address lies, for the hypervisor's own copies. `None` where it is not RAM.
    pub(crate) fn ram_at(&self, slat: &Slat, gpa: Gpa) -> Option<(Spa, Access)> {
        let found = slat.query(self.machine.tables(), gpa.as_u64())?;
        (found.access.memory == paging::MemoryType::WriteBack).then_some((found.spa, found.access))
    }
}
