//! First instructions on the boot processor. The loader has set the stack, and RDI to the hand-over.

use core::arch::global_asm;

global_asm!(
    ".globl _start",
    "_start:",
    "    cld",
    "    xor ebp, ebp",
    "    and rsp, -16",
    "    call {start}",
    "    ud2",
    start = sym crate::start,
);
