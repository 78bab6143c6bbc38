//! The calling convention: which registers hold a call's control word and parameters, and which take the result.

use abi::{CallInput, CallResult};
use guest::{Gpr, Vcpu};

/// Where the parameters are: three registers in 64-bit mode, three pairs otherwise.
pub(super) struct Registers {
    pub(super) control: CallInput,
    pub(super) input: u64,
    pub(super) output: u64,
    long_mode: bool,
}

impl Registers {
    pub(super) fn read(vcpu: &impl Vcpu) -> Self {
        let pair = |high, low| vcpu.gpr(high) << 32 | vcpu.gpr(low) & 0xffff_ffff;
        if vcpu.long_mode() {
            Self {
                control: CallInput(vcpu.gpr(Gpr::Rcx)),
                input: vcpu.gpr(Gpr::Rdx),
                output: vcpu.gpr(Gpr::R8),
                long_mode: true,
            }
        } else {
            Self {
                control: CallInput(pair(Gpr::Rdx, Gpr::Rax)),
                input: pair(Gpr::Rbx, Gpr::Rcx),
                output: pair(Gpr::Rdi, Gpr::Rsi),
                long_mode: false,
            }
        }
    }

    fn write_pair(vcpu: &mut impl Vcpu, value: u64) {
        vcpu.set_gpr(Gpr::Rdx, value >> 32);
        vcpu.set_gpr(Gpr::Rax, value & 0xffff_ffff);
    }

    pub(super) fn write_control(&self, vcpu: &mut impl Vcpu, control: CallInput) {
        if self.long_mode {
            vcpu.set_gpr(Gpr::Rcx, control.0);
        } else {
            Self::write_pair(vcpu, control.0);
        }
    }

    pub(super) fn write_result(&self, vcpu: &mut impl Vcpu, result: CallResult) {
        if self.long_mode {
            vcpu.set_gpr(Gpr::Rax, result.0);
        } else {
            Self::write_pair(vcpu, result.0);
        }
    }
}
