//! The edu device's registers (QEMU, "EDU device").

use pci::{Config, Function, Interrupts, Way, register};
use runtime::mmio::Mmio;
use runtime::pool::Frames;
use runtime::{apic, clock, cpu};

const IDS: u32 = 0x11e8_1234;

const LIVENESS: u64 = 0x04;
const RAISE: u64 = 0x60;
const ACKNOWLEDGE: u64 = 0x64;
const DMA_FROM: u64 = 0x80;
const DMA_TO: u64 = 0x88;
const DMA_BYTES: u64 = 0x90;
const DMA_COMMAND: u64 = 0x98;

/// DMA command: go, and the direction out of the device.
const GO: u64 = 1;
const OUT: u64 = 2;

/// Where the device's own buffer is, in the addresses of its DMA.
const BUFFER: u64 = 0x4_0000;
/// Its bytes. More, or beyond its end, would harm the emulator and not the guest.
pub const BUFFER_BYTES: u64 = 4096;

/// A transfer takes 100 ms.
const PATIENCE: u64 = 5_000_000;

/// The device, and a page of own memory.
pub struct Edu {
    function: Function,
    registers: Mmio,
    page: Frames,
}

impl Edu {
    /// Finds the device with this number among the edu devices and lets it master the bus.
    pub fn open(number: usize) -> Result<Self, &'static str> {
        let config: Config = pci::open();
        let mut found = config.functions().filter(|it| it.ids() == IDS);
        let function = found.nth(number).ok_or("there is no edu device")?;
        function.command(register::MEMORY | register::MASTER, 0);
        let registers = function.map_bar(0).ok_or("BAR 0 has no address")?;
        let page = Frames::allocate(1, 4096).ok_or("no memory")?;
        registers.write32(LIVENESS, 0x1234_5678);
        if registers.read32(LIVENESS) != !0x1234_5678 {
            return Err("its registers do not answer");
        }
        Ok(Self {
            function,
            registers,
            page,
        })
    }

    pub const fn function(&self) -> Function {
        self.function
    }

    /// Address of the own page.
    pub const fn page(&self) -> u64 {
        self.page.address()
    }

    /// Fills the own page with eight bytes, again and again.
    pub fn fill(&self, value: u64) {
        for offset in (0..4096).step_by(8) {
            let _ = self.page.write_u64(offset, value);
        }
    }

    /// How many of the page's first `bytes` hold the value, in units of eight.
    pub fn matching(&self, value: u64, bytes: u64) -> u64 {
        (0..bytes.min(4096))
            .step_by(8)
            .filter(|&offset| self.page.read_u64(offset) == Ok(value))
            .count() as u64
    }

    /// First eight bytes of the page.
    pub fn first(&self) -> u64 {
        self.page.read_u64(0).unwrap_or(0)
    }

    /// Last eight bytes of the page.
    pub fn last(&self) -> u64 {
        self.page.read_u64(4088).unwrap_or(0)
    }

    /// Reads `bytes` at `address` into the device's buffer; false where the device does not end.
    pub fn dma_in(&self, address: u64, bytes: u64) -> bool {
        self.begin(address, BUFFER, bytes, GO);
        self.wait()
    }

    /// Writes the first `bytes` of the device's buffer to `address`.
    pub fn dma_out(&self, address: u64, bytes: u64) -> bool {
        self.begin_out(address, bytes);
        self.wait()
    }

    /// Begins to write, and does not wait.
    pub fn begin_out(&self, address: u64, bytes: u64) {
        self.begin(BUFFER, address, bytes, GO | OUT);
    }

    fn begin(&self, from: u64, to: u64, bytes: u64, command: u64) {
        self.registers.write64(DMA_FROM, from);
        self.registers.write64(DMA_TO, to);
        self.registers.write64(DMA_BYTES, bytes.min(BUFFER_BYTES));
        self.registers.write64(DMA_COMMAND, command);
    }

    fn wait(&self) -> bool {
        let end = clock::micros() + PATIENCE;
        while self.registers.read64(DMA_COMMAND) & GO != 0 {
            if clock::micros() > end {
                return false;
            }
            cpu::pause();
        }
        true
    }

    /// Puts eight bytes, again and again, into the device's buffer.
    pub fn load(&self, value: u64) -> bool {
        self.fill(value);
        self.dma_in(self.page(), BUFFER_BYTES)
    }

    /// Opens its message.
    pub fn message(&self, vector: u8) -> Option<Interrupts> {
        Interrupts::open(self.function, apic::id(), vector, Some(Way::Msi))
    }

    /// Raises its message.
    pub fn raise(&self) {
        self.registers.write32(RAISE, 1);
    }

    /// Takes back what it raised.
    pub fn acknowledge(&self) {
        self.registers.write32(ACKNOWLEDGE, u32::MAX);
    }
}
