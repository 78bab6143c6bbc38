//! From the fields of an exit to the words of both dialects.

use super::event::{EventInfo, kind};
use super::exit_code as code;
use super::exit_info::{FaultInfo, PortInfo};
use super::field::Field;
use crate::Exit;

/// #MC.
const MACHINE_CHECK: u8 = 18;
/// Where the self-IPI register stands in a page of APIC registers.
const SELF_IPI: u64 = 0x3f0;

/// Why the guest was left. `reason` is the exit reason; `read` reads other fields, those alone that the reason calls for.
///
/// Control-register accesses and NMI windows are the dialect's own business: [`Exit::Host`].
#[must_use]
#[inline]
pub fn exit(reason: u32, read: impl Fn(Field) -> u64) -> Exit {
    if reason & code::ENTRY_FAILURE != 0 {
        return failed_entry(reason & code::BASIC);
    }
    match reason & code::BASIC {
        code::CPUID => Exit::Cpuid,
        code::VMCALL => Exit::Hypercall,
        code::RDMSR => Exit::ReadMsr,
        code::WRMSR => Exit::WriteMsr,
        code::IO => Exit::Port(PortInfo::from_bits(read(Field::EXIT_QUALIFICATION)).access()),
        code::EPT_VIOLATION => {
            let info = FaultInfo::from_bits(read(Field::EXIT_QUALIFICATION));
            Exit::Memory(info.access(read(Field::GUEST_PHYSICAL_ADDRESS)))
        }
        code::EXTERNAL_INTERRUPT => Exit::Host,
        code::HLT => Exit::Halt,
        code::PAUSE => Exit::Pause,
        code::INTERRUPT_WINDOW | code::TPR_BELOW_THRESHOLD => Exit::InterruptWindow,
        other => rare(other, read),
    }
}

#[cold]
fn rare(reason: u32, read: impl Fn(Field) -> u64) -> Exit {
    match reason {
        code::EXCEPTION_OR_NMI => exception(read),
        code::INIT
        | code::STARTUP
        | code::IO_SMI
        | code::SMI
        | code::NMI_WINDOW
        | code::CONTROL_REGISTER
        | code::PREEMPTION_TIMER => Exit::Host,
        // Only self-IPIs come so far, and of those only the illegal ones leave.
        code::APIC_WRITE if read(Field::EXIT_QUALIFICATION) == SELF_IPI => {
            Exit::IllegalSelfInterrupt
        }
        code::TRIPLE_FAULT => Exit::Shutdown,
        code::XSETBV => Exit::Xsetbv,
        code::INVD | code::WBINVD => Exit::CacheFlush,
        code::GETSEC
        | code::RDPMC
        | code::RSM
        | code::VMCLEAR..=code::VMXON
        | code::MWAIT
        | code::MONITOR
        | code::INVEPT
        | code::INVVPID
        | code::INVPCID
        | code::VMFUNC
        | code::ENCLS
        | code::XSAVES
        | code::XRSTORS
        | code::PCONFIG
        | code::UMWAIT
        | code::TPAUSE
        | code::LOADIWKEY => Exit::NoSuchInstruction,
        // Task switches are not emulated, misconfigured tables never made, the rest never asked for.
        other => Exit::Unknown(u64::from(other)),
    }
}

fn exception(read: impl Fn(Field) -> u64) -> Exit {
    let event = EventInfo::from_bits(read(Field::EXIT_EVENT) as u32);
    if event.kind() == kind::NMI {
        return Exit::Host;
    }
    let error_code = event
        .has_error_code()
        .then(|| read(Field::EXIT_EVENT_ERROR) as u32);
    Exit::Exception {
        vector: event.vector() & 31,
        error_code,
    }
}

const fn failed_entry(reason: u32) -> Exit {
    match reason {
        code::ENTRY_MACHINE_CHECK => Exit::Exception {
            vector: MACHINE_CHECK,
            error_code: None,
        },
        code::ENTRY_GUEST_STATE | code::ENTRY_MSR => Exit::InvalidState,
        other => Exit::Unknown(other as u64 | code::ENTRY_FAILURE as u64),
    }
}

/// Whether an IRET that faulted had ended the blocking of NMIs, which goes on then (SDM volume 3, "information about NMI
/// unblocking due to IRET"). `vectoring`: an event was being delivered at the exit.
#[must_use]
pub fn nmi_stays_blocked(reason: u32, vectoring: bool, read: impl Fn(Field) -> u64) -> bool {
    const DOUBLE_FAULT: u8 = 8;
    if vectoring {
        return false;
    }
    match reason {
        code::EXCEPTION_OR_NMI => {
            let event = EventInfo::from_bits(read(Field::EXIT_EVENT) as u32);
            event.nmi_unblocked() && event.vector() != DOUBLE_FAULT
        }
        code::EPT_VIOLATION => {
            FaultInfo::from_bits(read(Field::EXIT_QUALIFICATION)).nmi_unblocked()
        }
        _ => false,
    }
}

/// DR6 after a debug exception that left the guest, which does not write it itself: `qualification` says what it found.
#[must_use]
pub const fn debug_status(dr6: u64, qualification: u64) -> u64 {
    const CONDITIONS: u64 = 0x600f;
    dr6 & !0xf | qualification & CONDITIONS
}

/// Where the guest goes on after an instruction of `length` bytes at `rip`. Outside 64-bit code the pointer wraps.
#[must_use]
#[inline]
pub const fn next_rip(rip: u64, length: u64, in_64_bit_code: bool) -> u64 {
    let next = rip.wrapping_add(length);
    if in_64_bit_code {
        next
    } else {
        next & 0xffff_ffff
    }
}

#[cfg(test)]
mod tests {
    use address::Gpa;

    use super::*;
    use crate::{Access, MemoryAccess};

    fn left(reason: u32) -> Exit {
        exit(reason, |_| 0)
    }

    #[test]
    fn exits_of_every_day() {
        assert_eq!(left(10), Exit::Cpuid);
        assert_eq!(left(18), Exit::Hypercall);
        assert_eq!(left(31), Exit::ReadMsr);
        assert_eq!(left(32), Exit::WriteMsr);
        assert_eq!(left(12), Exit::Halt);
        assert_eq!(left(1), Exit::Host);
        assert_eq!(left(7), Exit::InterruptWindow);
        assert_eq!(left(43), Exit::InterruptWindow);
        let memory = MemoryAccess {
            gpa: Gpa::new(0xfed0_00f0),
            access: Access::Write,
            table_walk: false,
        };
        let fields = |field| match field {
            Field::EXIT_QUALIFICATION => 0x182,
            Field::GUEST_PHYSICAL_ADDRESS => 0xfed0_00f0,
            other => panic!("{other:?}"),
        };
        assert_eq!(exit(48, fields), Exit::Memory(memory));
    }

    #[test]
    fn rare_exits() {
        let alignment = |field| {
            if field == Field::EXIT_EVENT {
                0x8000_0b11
            } else {
                0
            }
        };
        let expected = Exit::Exception {
            vector: 17,
            error_code: Some(0),
        };
        assert_eq!(exit(0, alignment), expected);
        assert_eq!(exit(0, |_| 0x8000_0202), Exit::Host, "NMI");
        assert_eq!(left(2), Exit::Shutdown);
        assert_eq!(left(55), Exit::Xsetbv);
        assert_eq!(exit(56, |_| 0x3f0), Exit::IllegalSelfInterrupt);
        assert_eq!((left(13), left(54)), (Exit::CacheFlush, Exit::CacheFlush));
        for host in [3, 4, 5, 6, 8, 28, 52] {
            assert_eq!(left(host), Exit::Host, "{host}");
        }
    }

    #[test]
    fn cpu_01_instructions_that_guests_do_not_have() {
        for reason in (19..=27).chain([11, 15, 17, 36, 39, 50, 53, 58, 59, 60, 63, 64, 65, 67, 68])
        {
            assert_eq!(left(reason), Exit::NoSuchInstruction, "{reason}");
        }
    }

    #[test]
    fn what_nobody_knows_stops_the_vp() {
        for reason in [9, 14, 16, 29, 37, 44, 45, 49, 56, 62, 74, 75, 0xffff] {
            assert_eq!(left(reason), Exit::Unknown(reason.into()), "{reason}");
        }
    }

    #[test]
    fn a_failed_entry_is_no_exit() {
        assert_eq!(left(0x8000_0021), Exit::InvalidState);
        assert_eq!(left(0x8000_0022), Exit::InvalidState);
        assert!(matches!(
            left(0x8000_0029),
            Exit::Exception { vector: 18, .. }
        ));
        assert_eq!(left(0x8000_000a), Exit::Unknown(0x8000_000a));
    }

    #[test]
    fn an_iret_that_faults_leaves_nmis_blocked() {
        assert!(nmi_stays_blocked(0, false, |_| 0x8000_1b0d));
        assert!(!nmi_stays_blocked(0, true, |_| 0x8000_1b0d));
        assert!(!nmi_stays_blocked(0, false, |_| 0x8000_1b08));
        assert!(nmi_stays_blocked(48, false, |_| 1 << 12));
        assert!(!nmi_stays_blocked(10, false, |_| u64::MAX));
    }

    #[test]
    fn instruction_pointers_wrap_outside_64_bit_code() {
        assert_eq!(next_rip(0xffff_ffff, 1, false), 0);
        assert_eq!(next_rip(0xffff_ffff, 1, true), 0x1_0000_0000);
        assert_eq!(debug_status(0xffff_0ff5, 0x4002), 0xffff_4ff2);
    }
}
