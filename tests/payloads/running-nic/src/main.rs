//! DMA-04: firmware that leaves a device running. Starts in the loader's place, lets an 82574L receive into a ring, waits
//! for the first frame, and goes on to the loader (`EFI\BOOT\LOADER.EFI`) with the adapter as it is.
//!
//! Prints `stage: receiving at ADDRESS bytes N` once a frame has come.

#![no_std]
#![no_main]

mod adapter;
mod chain;

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
    let result = adapter::receive().and_then(|()| chain::load());
    match result {
        Ok(()) => Status::SUCCESS,
        Err(reason) => {
            println!("stage: FAIL {reason}");
            Status::ABORTED
        }
    }
}
