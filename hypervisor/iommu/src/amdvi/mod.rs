//! AMD I/O Virtualization Technology: device table, host translation, command buffer, event log, interrupt tables per requester.
//! Guest translation, page requests, the exclusion range and device caches are not used.
//!
//! One file per hardware structure, which holds no behaviour; and one per verb: `enable`, `attach`, `invalidation`, `interrupt`,
//! `fault`.

mod attach;
mod command;
mod control;
mod device_entry;
mod enable;
mod event;
mod extended_feature;
mod fault;
mod interrupt;
mod invalidation;
mod irte;
mod message;
mod registers;
mod status;

use address::{PageSize, RequesterId, Spa};

use crate::wait::wait;
use crate::{Error, Feature, Geometry, Hardware, Levels, ProbeError, Registers};
use control::Control;
use extended_feature::ExtendedFeature;
use invalidation::Queue;
use status::Status;

pub(crate) use enable::MEMORY_FRAMES;

/// Whether the unit may be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Still as firmware left it.
    Probed,
    /// Ours.
    Enabled,
    /// Never again.
    Failed,
}

/// A unit.
#[derive(Debug)]
pub(crate) struct Amdvi<H> {
    hardware: H,
    feature: ExtendedFeature,
    host_bits: u8,
    caches_absent: bool,
    state: State,
    /// Device table; meaningful once enabled, as all below.
    devices: Spa,
    queue: Queue,
    events: Spa,
    /// Offset of the next event in the log.
    event_head: usize,
    fault_overflows: u64,
}

/// As [`crate::register_bytes`].
pub(crate) fn register_bytes<R: Registers>(registers: &R) -> Result<usize, ProbeError> {
    read_features(registers).map(|_| registers::BLOCK_BYTES)
}

fn read_features<R: Registers>(registers: &R) -> Result<ExtendedFeature, ProbeError> {
    let control = registers.read64(registers::CONTROL);
    let feature = registers.read64(registers::EXTENDED_FEATURE);
    if control == u64::MAX || feature == u64::MAX {
        return Err(ProbeError::Absent);
    }
    Ok(ExtendedFeature::from_bits(feature))
}

impl<H: Hardware> Amdvi<H> {
    pub(crate) fn probe(
        host_bits: u8,
        caches_absent: bool,
        hardware: H,
    ) -> Result<Self, ProbeError> {
        let feature = read_features(&hardware)?;
        if feature.levels().is_none() {
            return Err(ProbeError::Lacks(Feature::TableDepth));
        }
        Ok(Self {
            hardware,
            feature,
            host_bits,
            caches_absent,
            state: State::Probed,
            devices: Spa::new(0),
            queue: Queue::default(),
            events: Spa::new(0),
            event_head: 0,
            fault_overflows: 0,
        })
    }

    pub(crate) fn geometry(&self) -> Geometry {
        let most = self.feature.levels().unwrap_or(4);
        let levels = (3..=most).fold(Levels::NONE, Levels::with);
        Geometry {
            levels,
            // No deeper than memory, or a device of the usual kind, has a use for: each level is a load of every walk.
            input_bits: self.host_bits.clamp(48, 57).min(12 + 9 * most),
            output_bits: self.host_bits.min(52),
            largest: PageSize::Size1G,
            coherent: true,
            snoop: true,
            caches_absent: self.caches_absent,
        }
    }

    /// Name 0 is that of all that is blocked.
    pub(crate) const fn domain_names() -> u16 {
        u16::MAX
    }

    pub(crate) fn remaps_interrupts(&self) -> bool {
        self.feature.reaches_all()
    }

    /// Every bus is known from the beginning.
    pub(crate) fn knows_bus(&self) -> Result<(), Error> {
        self.require_enabled()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.state == State::Failed
    }

    pub(crate) const fn fault_overflows(&self) -> u64 {
        self.fault_overflows
    }

    pub(crate) const fn hardware(&self) -> &H {
        &self.hardware
    }

    fn require_enabled(&self) -> Result<(), Error> {
        match self.state {
            State::Probed => Err(Error::State),
            State::Enabled => Ok(()),
            State::Failed => Err(Error::UnitFailed),
        }
    }

    /// Declares the unit failed.
    fn fail(&mut self) -> Error {
        self.state = State::Failed;
        Error::UnitFailed
    }

    /// The state that the unit reports. One that is gone reads as all ones.
    fn status(&mut self) -> Result<Status, Error> {
        let status = self.hardware.read32(registers::STATUS);
        if status == u32::MAX {
            return Err(self.fail());
        }
        Ok(Status::from_bits(status))
    }

    /// Writes the control register and waits until the unit's status says that it took effect.
    fn command(&mut self, control: Control, reached: impl Fn(Status) -> bool) -> Result<(), Error> {
        let hardware = &self.hardware;
        hardware.write64(registers::CONTROL, control.into_bits());
        let answer = wait(hardware, || {
            let status = hardware.read32(registers::STATUS);
            let gone = status == u32::MAX;
            (gone || reached(Status::from_bits(status))).then_some(gone)
        });
        match answer {
            Ok(false) => Ok(()),
            _ => Err(self.fail()),
        }
    }

    /// Frame and first word of a requester's entry.
    fn entry(&self, requester: RequesterId) -> (Spa, usize) {
        let (frame, word) = device_entry::place(requester);
        // Checked when the table was taken: all of it lies below 2^52.
        let frame = Spa::from_page(self.devices.page() + frame).unwrap_or(self.devices);
        (frame, word)
    }
}
