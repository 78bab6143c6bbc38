//! The receiving half of an 82574L (Intel 82574 GbE Controller Family Datasheet, sections 7.1 and 10.2).

use core::sync::atomic::{AtomicU64, Ordering};

use uefi::boot::{self, OpenProtocolAttributes, OpenProtocolParams};
use uefi::println;
use uefi::proto::pci::PciIoAddress;
use uefi::proto::pci::root_bridge::PciRootBridgeIo;

const IDS: u32 = 0x10d3_8086;
const COMMAND: u8 = 4;
const BAR0: u8 = 0x10;
/// Decodes memory, masters the bus.
const MEMORY_AND_MASTER: u16 = 6;

const CONTROL: u64 = 0x0000;
const RECEIVE_CONTROL: u64 = 0x0100;
const RING_LOW: u64 = 0x2800;
const RING_HIGH: u64 = 0x2804;
const RING_BYTES: u64 = 0x2808;
const HEAD: u64 = 0x2810;
const TAIL: u64 = 0x2818;

/// Control: link up.
const LINK: u32 = 1 << 6;
/// Receive control: on, every address, broadcasts too.
const ON: u32 = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 15;

const DESCRIPTORS: usize = 64;
const BUFFER_WORDS: usize = 256;
/// Descriptor status: done.
const DONE: u64 = 1 << 32;
/// A tenth of a second, in microseconds, and how many of them a frame may take.
const TENTH: u64 = 100_000;
const PATIENCE: u32 = 300;

/// What the adapter writes to: descriptors (address, status), then buffers.
#[repr(C, align(4096))]
struct Ring {
    descriptors: [[AtomicU64; 2]; DESCRIPTORS],
    buffers: [[AtomicU64; BUFFER_WORDS]; DESCRIPTORS],
}

static RING: Ring = Ring {
    descriptors: [const { [const { AtomicU64::new(0) }; 2] }; DESCRIPTORS],
    buffers: [const { [const { AtomicU64::new(0) }; BUFFER_WORDS] }; DESCRIPTORS],
};

/// Lets the adapter receive, and waits for a frame.
pub fn receive() -> Result<(), &'static str> {
    let handle = boot::get_handle_for_protocol::<PciRootBridgeIo>();
    let params = OpenProtocolParams {
        handle: handle.map_err(|_| "there is no PCI root bridge")?,
        agent: boot::image_handle(),
        controller: None,
    };
    // SAFETY: firmware's PCI driver keeps the protocol open and installed; nothing here takes it away, and no firmware
    // code runs while it is used.
    let bridge = unsafe {
        boot::open_protocol::<PciRootBridgeIo>(params, OpenProtocolAttributes::GetProtocol)
    };
    let mut bridge = bridge.map_err(|_| "the PCI root bridge cannot be opened")?;
    let function = find(&mut bridge).ok_or("there is no 82574L")?;
    let base = switch_on(&mut bridge, function).ok_or("configuration space does not answer")?;
    start(&mut bridge, base).ok_or("the adapter does not answer")?;
    for _ in 0..PATIENCE {
        boot::stall(core::time::Duration::from_micros(TENTH));
        if RING.descriptors[0][1].load(Ordering::Acquire) & DONE != 0 {
            let address = (&raw const RING) as u64;
            println!(
                "stage: receiving at {address:#x} bytes {}",
                size_of::<Ring>()
            );
            return Ok(());
        }
    }
    Err("no frame came")
}

fn find(bridge: &mut PciRootBridgeIo) -> Option<PciIoAddress> {
    let functions = (0..32).map(|device| PciIoAddress::new(0, device, 0));
    functions
        .into_iter()
        .find(|at| bridge.pci().read_one::<u32>(*at) == Ok(IDS))
}

/// Lets the function decode and master; gives the address of its registers.
fn switch_on(bridge: &mut PciRootBridgeIo, function: PciIoAddress) -> Option<u64> {
    let config = bridge.pci();
    let command = function.with_register(COMMAND);
    let value: u16 = config.read_one(command).ok()?;
    config.write_one(command, value | MEMORY_AND_MASTER).ok()?;
    let bar: u32 = config.read_one(function.with_register(BAR0)).ok()?;
    Some(u64::from(bar & !0xf)).filter(|base| *base != 0)
}

fn start(bridge: &mut PciRootBridgeIo, base: u64) -> Option<()> {
    for (descriptor, buffer) in RING.descriptors.iter().zip(&RING.buffers) {
        descriptor[0].store(buffer.as_ptr() as u64, Ordering::Release);
    }
    let ring = RING.descriptors.as_ptr() as u64;
    let registers = [
        (CONTROL, LINK),
        (RING_LOW, ring as u32),
        (RING_HIGH, (ring >> 32) as u32),
        (RING_BYTES, (DESCRIPTORS * 16) as u32),
        (HEAD, 0),
        (TAIL, DESCRIPTORS as u32 - 1),
        (RECEIVE_CONTROL, ON),
    ];
    let memory = bridge.memory();
    for (register, value) in registers {
        memory.write_one(base + register, value).ok()?;
    }
    Some(())
}
