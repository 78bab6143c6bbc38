//! What kind of machine to start: the part of it that scenarios choose.

use std::fmt;

use crate::bochs::Processor;
use crate::machine::Kit;

/// A machine; two scenarios whose configurations are equal can share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// Logical processors.
    pub lps: u32,
    /// RAM in MiB.
    pub memory: u32,
    /// Whose kind of IOMMU the machine has, where it has one.
    pub dialect: Dialect,
    /// How much of an IOMMU the machine has.
    pub iommu: Iommu,
    /// The devices, at most [`MOST_DEVICES`], in the order of their slots ([`Config::slot`]).
    pub devices: Vec<Device>,
    /// How the emulator executes instructions.
    pub accelerator: Accelerator,
    /// What of the IOMMU's work to record.
    pub watched: Vec<Watched>,
    /// Further words of the emulator's command line.
    pub extra: Vec<String>,
    /// `start.cfg` of the boot volume.
    pub script: String,
    /// Files on the boot volume besides the project's own and the payloads: (name there, path here).
    /// A name with a leading slash counts from the root of the volume.
    pub files: Vec<(String, String)>,
    /// Files likewise, by their bytes.
    pub contents: Vec<(String, Vec<u8>)>,
    /// A payload that the firmware starts in the loader's place; the loader is then `EFI/BOOT/LOADER.EFI`.
    pub stage: Option<String>,
    /// Bochs with this processor in QEMU's place: a machine without devices and IOMMU.
    pub bochs: Option<Processor>,
}

/// The virtual functions of an 82576 lie 16 and 17 slots behind it: with so many devices at every other slot from
/// 4 on, they meet neither each other nor the chipset's own functions at slot 1Fh.
pub const MOST_DEVICES: usize = 5;

impl Default for Config {
    fn default() -> Self {
        Self {
            lps: 2,
            memory: 1024,
            dialect: Dialect::Intel,
            iommu: Iommu::Whole,
            devices: Vec::new(),
            accelerator: Accelerator::Tcg,
            watched: Vec::new(),
            extra: Vec::new(),
            script: String::new(),
            files: Vec::new(),
            contents: Vec::new(),
            stage: None,
            bochs: None,
        }
    }
}

impl Config {
    /// The default machine with this many logical processors.
    pub fn with_lps(lps: u32) -> Self {
        Self {
            lps,
            ..Self::default()
        }
    }

    /// A machine in Bochs, with what every emulator has and no more.
    pub fn on_bochs(processor: Processor, lps: u32) -> Self {
        Self {
            iommu: Iommu::None,
            bochs: Some(processor),
            ..Self::with_lps(lps)
        }
    }

    /// What the machine runs in, for a person.
    pub fn emulator(&self, kit: &Kit) -> String {
        match self.bochs {
            Some(processor) => format!("Bochs ({})", processor.name()),
            None => kit.emulator.version.clone(),
        }
    }

    /// The same machine with one more device.
    pub fn device(mut self, kind: DeviceKind, network: Network) -> Self {
        self.devices.push(Device { kind, network });
        self
    }

    /// The same machine with another IOMMU.
    pub fn iommu(mut self, iommu: Iommu) -> Self {
        self.iommu = iommu;
        self
    }

    /// The same machine with another kind of IOMMU.
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// The same machine, recording this of the IOMMU's work.
    pub fn watch(mut self, watched: &[Watched]) -> Self {
        self.watched.extend(watched);
        self
    }

    /// The same machine with further words on the emulator's command line.
    pub fn extra(mut self, words: &[&str]) -> Self {
        self.extra.extend(words.iter().map(|word| word.to_string()));
        self
    }

    /// The same machine with one more file on the boot volume.
    pub fn content(mut self, name: &str, bytes: Vec<u8>) -> Self {
        self.contents.push((name.into(), bytes));
        self
    }

    /// The slot of bus 0 at which the device with this index sits.
    pub fn slot(index: usize) -> u8 {
        4 + 2 * index.min(MOST_DEVICES) as u8
    }

    /// The device id (`0000:00:04.0`) of the device with this index.
    pub fn device_id(index: usize) -> String {
        format!("0000:00:{:02x}.0", Self::slot(index))
    }
}

/// Whose kind of IOMMU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// VT-d.
    #[default]
    Intel,
    /// AMD-Vi.
    Amd,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Intel => "intel",
            Self::Amd => "amd",
        })
    }
}

/// What tells machines apart where scenarios run on several: the kind of IOMMU, or in Bochs the processors.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.bochs, self.iommu) {
            (Some(processor), _) => write!(f, "{}-{}", processor.name(), self.lps),
            (None, Iommu::None) => Ok(()),
            (None, _) => write!(f, "{}", self.dialect),
        }
    }
}

/// How much of an IOMMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Iommu {
    /// None at all.
    None,
    /// One that translates DMA, and remaps interrupts to every local APIC.
    Whole,
    /// One that translates DMA but cannot remap interrupts.
    WithoutRemapping,
    /// One whose interrupts cannot name x2APIC ids.
    WithoutX2apic,
}

/// What can be recorded of the IOMMU's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Watched {
    /// Translations of DMA.
    Dma,
    /// Interrupts and the entries that they go through.
    Interrupts,
}

/// How the emulator executes instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Accelerator {
    /// Translation, one thread per processor.
    Tcg,
    /// Translation by one thread, the time-stamp counter counting instructions.
    Counted,
    /// The host's processor.
    Kvm,
}

/// A PCI function that can be assigned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// Which one.
    pub kind: DeviceKind,
    /// Where its frames go; only network cards look at it.
    pub network: Network,
}

/// The models of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// Intel 82576: function-level reset, MSI-X.
    Igb,
    /// Intel 82574L: no function-level reset, MSI-X.
    E1000e,
    /// An NVM Express controller with a small empty medium.
    Nvme,
    /// QEMU's teaching device: DMA and MSI on command.
    Edu,
}

impl DeviceKind {
    /// Every model with its name on a command line.
    pub const ALL: [(&'static str, Self); 4] = [
        ("igb", Self::Igb),
        ("e1000e", Self::E1000e),
        ("nvme", Self::Nvme),
        ("edu", Self::Edu),
    ];

    /// Whether the device can reset itself (FLR); without it, assignment needs an explicit word.
    pub fn resets(self) -> bool {
        matches!(self, Self::Igb | Self::Nvme)
    }

    /// Whether it is a network card.
    pub fn is_nic(self) -> bool {
        matches!(self, Self::Igb | Self::E1000e)
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL
            .iter()
            .find(|(_, kind)| kind == self)
            .map_or("?", |(name, _)| name);
        f.write_str(name)
    }
}

/// What is at the other end of a network card's cable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// The emulator's user network; a loopback port may lead to port 80 of the first address it gives.
    User { forwarded_port: Option<u16> },
    /// Raw frames as datagrams between the harness ([`crate::machine::Machine::wire`]) and the card.
    Wire,
    /// Nothing.
    Unplugged,
}
