//! CPU-22: firmware that leaves machine checks off. Starts in the loader's place, clears CR4.MCE, and goes on to the loader.

#![no_std]
#![no_main]

mod chain;

use core::arch::asm;
use core::panic::PanicInfo;

use uefi::prelude::*;
use uefi::println;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println!("stage: {info}");
    loop {
        core::hint::spin_loop();
    }
}

#[entry]
fn main() -> Status {
    // SAFETY: only what a machine check would do changes.
    unsafe {
        asm!("mov {0}, cr4", "and {0}, ~0x40", "mov cr4, {0}", out(reg) _, options(nomem, nostack));
    }
    match chain::load() {
        Ok(()) => Status::SUCCESS,
        Err(reason) => {
            println!("stage: FAIL {reason}");
            Status::ABORTED
        }
    }
}
