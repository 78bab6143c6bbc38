//! What a scenario is.

use anyhow::Result;

use crate::config::{Config, Dialect};
use crate::machine::Machine;

/// One test on a running machine.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name; a hostile one carries the id of its row (`dma_01_…`).
    pub name: &'static str,
    /// The machine that it needs.
    pub config: Config,
    /// The machine where the IOMMU is AMD-Vi and that makes another difference.
    pub config_on_amd: Option<Config>,
    /// The payload whose work it judges; with a halting one in its place the scenario must fail.
    pub payload: Option<&'static str>,
    /// The hostile scenario whose positive control this is.
    pub control_of: Option<&'static str>,
    /// Whether it needs neither an IOMMU, nor a device, nor the emulator's own eyes: it runs on every emulator.
    pub anywhere: bool,
    /// Whether it runs in Bochs alone: QEMU's translation does not show what it looks for.
    pub bochs_alone: bool,
    /// Whether it belongs to the few that run on every processor model of Bochs with every number of processors.
    pub smoke: bool,
    /// Whether it is about the number of processors that its configuration names.
    pub counted: bool,
    /// Whether it must have a machine to itself, neither used before nor after.
    pub alone: bool,
    /// Whether the machine must have stopped at its end, with last words.
    pub stops: bool,
    /// Whether it sees to the boot itself: it gets a machine that has only been started.
    pub unready: bool,
    /// The test.
    pub run: fn(&mut Machine) -> Result<()>,
}

impl Scenario {
    /// A scenario without a payload on a shared machine.
    pub fn new(name: &'static str, config: Config, run: fn(&mut Machine) -> Result<()>) -> Self {
        Self {
            name,
            config,
            config_on_amd: None,
            payload: None,
            control_of: None,
            anywhere: false,
            bochs_alone: false,
            smoke: false,
            counted: false,
            alone: false,
            stops: false,
            unready: false,
            run,
        }
    }

    /// The same with the payload that it judges.
    pub fn payload(mut self, payload: &'static str) -> Self {
        self.payload = Some(payload);
        self
    }

    /// The same with another machine where the IOMMU is AMD-Vi.
    pub fn on_amd(mut self, config: Config) -> Self {
        self.config_on_amd = Some(config);
        self
    }

    /// The same on a machine with this kind of IOMMU.
    pub fn with_dialect(mut self, dialect: Dialect) -> Self {
        let other = self.config_on_amd.take();
        if let (Dialect::Amd, Some(config)) = (dialect, other) {
            self.config = config;
        }
        self.config.dialect = dialect;
        self
    }

    /// The same as the positive control of a hostile scenario.
    pub fn control_of(mut self, hostile: &'static str) -> Self {
        self.control_of = Some(hostile);
        self
    }

    /// The same, which must stop its machine.
    pub fn stops(mut self) -> Self {
        self.stops = true;
        self
    }

    /// The same, with a machine that has only been started.
    pub fn unready(mut self) -> Self {
        self.unready = true;
        self
    }

    /// The same, which needs neither an IOMMU nor a device.
    pub fn anywhere(mut self) -> Self {
        self.anywhere = true;
        self
    }

    /// The same, in Bochs alone.
    pub fn in_bochs_alone(mut self) -> Self {
        self.anywhere = true;
        self.bochs_alone = true;
        self
    }

    /// The same, which is also tried on every processor model and number of processors.
    pub fn smoke(mut self) -> Self {
        self.smoke = true;
        self
    }

    /// The same, which makes no sense with another number of processors.
    pub fn counted(mut self) -> Self {
        self.counted = true;
        self
    }

    /// The same on a machine of its own.
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }
}
