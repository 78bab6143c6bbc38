//! Call codes: the list of hypercalls that exist.

/// How a call takes its parameters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// One parameter structure of `input` bytes, a result of `output` bytes.
    Simple,
    /// A header of `input` bytes, then one list element per repetition.
    Rep {
        /// Bytes per input element; 0 where the repetition count alone says how many.
        element_in: u16,
        /// Bytes per output element.
        element_out: u16,
    },
    /// A header of `input` bytes, then a variable header of 8-byte units.
    Variable,
}

/// What the interface says of one call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Signature {
    /// Its form.
    pub form: Form,
    /// Bytes of the fixed input structure, rounded up to 8.
    pub input: u16,
    /// Bytes of the fixed output structure, rounded up to 8.
    pub output: u16,
    /// Whether the parameters may come in RDX and R8.
    pub fast: bool,
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $form:expr, $input:literal => $output:literal, $fast:literal;)*) => {
        /// A hypercall.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[repr(u16)]
        pub enum Call { $($(#[$doc])* $name = $code,)* }

        impl Call {
            /// Every call there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The call with this code.
            #[must_use]
            pub const fn from_code(code: u16) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            /// How it takes its parameters.
            #[must_use]
            pub const fn signature(self) -> Signature {
                match self {
                    $(Self::$name => Signature { form: $form, input: $input, output: $output, fast: $fast },)*
                }
            }
        }
    };
}

const fn rep(element_in: u16, element_out: u16) -> Form {
    Form::Rep {
        element_in,
        element_out,
    }
}

calls! {
    /// Makes a partition.
    CreatePartition = 0x0040, Form::Simple, 56 => 8, false;
    /// Makes a partition ready for VPs and memory.
    InitializePartition = 0x0041, Form::Simple, 8 => 0, true;
    /// Takes everything from a partition but its name and its deposits.
    FinalizePartition = 0x0042, Form::Simple, 8 => 0, true;
    /// Forgets a finalized partition.
    DeletePartition = 0x0043, Form::Simple, 8 => 0, true;
    /// Reads a partition property.
    GetPartitionProperty = 0x0044, Form::Simple, 16 => 8, false;
    /// Writes a partition property.
    SetPartitionProperty = 0x0045, Form::Simple, 24 => 0, false;
    /// Says which partition calls.
    GetPartitionId = 0x0046, Form::Simple, 0 => 8, false;
    /// Lists the children of a partition.
    GetNextChildPartition = 0x0047, Form::Simple, 16 => 8, false;
    /// Gives frames of the caller to the hypervisor for a partition's tables.
    DepositMemory = 0x0048, rep(8, 0), 8 => 0, false;
    /// Takes unused frames of a partition's deposits back.
    WithdrawMemory = 0x0049, rep(0, 8), 16 => 0, false;
    /// Says how many frames a partition has deposited and uses.
    GetMemoryBalance = 0x004a, Form::Simple, 16 => 16, false;
    /// Maps pages of the caller into a partition.
    MapGpaPages = 0x004b, rep(8, 0), 24 => 0, false;
    /// Unmaps pages of a partition.
    UnmapGpaPages = 0x004c, rep(0, 0), 24 => 0, false;
    /// Sends an event of a partition's VPs to its parent.
    InstallIntercept = 0x004d, Form::Simple, 24 => 0, false;
    /// Makes a VP.
    CreateVp = 0x004e, Form::Simple, 40 => 0, false;
    /// Removes a VP.
    DeleteVp = 0x004f, Form::Simple, 16 => 0, true;
    /// Reads registers of a suspended VP.
    GetVpRegisters = 0x0050, rep(4, 16), 16 => 0, false;
    /// Writes registers of a suspended VP.
    SetVpRegisters = 0x0051, rep(32, 0), 16 => 0, false;
    /// Walks a VP's page tables.
    TranslateVirtualAddress = 0x0052, Form::Simple, 32 => 16, false;
    /// Sends a message to a port of another partition.
    PostMessage = 0x005c, Form::Simple, 256 => 0, false;
    /// Signals an event of another partition.
    SignalEvent = 0x005d, Form::Simple, 8 => 0, true;
    /// Gives a device interrupt to a device.
    MapDeviceInterrupt = 0x007c, Form::Variable, 80 => 56, false;
    /// Takes a device interrupt away.
    UnmapDeviceInterrupt = 0x007d, Form::Simple, 40 => 0, false;
    /// Moves a device interrupt to another VP or vector.
    RetargetDeviceInterrupt = 0x007e, Form::Variable, 56 => 0, false;
    /// Gives a blocked, reset device to a partition, in its identity domain.
    AttachDevice = 0x0082, Form::Simple, 40 => 0, false;
    /// Takes a device from its partition: blocked, needing reset.
    DetachDevice = 0x0083, Form::Simple, 16 => 0, false;
    /// Raises an interrupt of a partition's VP.
    AssertVirtualInterrupt = 0x0094, Form::Simple, 32 => 0, false;
    /// Starts a VP of the caller's own partition in a given state.
    StartVirtualProcessor = 0x0099, Form::Simple, 240 => 0, false;
    /// Makes a device domain.
    CreateDeviceDomain = 0x00b1, Form::Simple, 32 => 0, false;
    /// Moves a device to a domain of its owner.
    AttachDeviceDomain = 0x00b2, Form::Simple, 32 => 0, false;
    /// Maps pages into a device domain.
    MapDeviceGpaPages = 0x00b3, rep(8, 0), 40 => 0, false;
    /// Unmaps pages of a device domain.
    UnmapDeviceGpaPages = 0x00b4, rep(0, 0), 32 => 0, false;
    /// Blocks a device; its owner stays.
    DetachDeviceDomain = 0x00c4, Form::Simple, 16 => 0, false;
    /// Removes a domain without devices.
    DeleteDeviceDomain = 0x00c5, Form::Simple, 24 => 0, false;
    /// Says what a domain maps.
    QueryDeviceDomain = 0x00c6, rep(8, 8), 24 => 0, false;
    /// Flushes what hardware caches of a domain.
    FlushDeviceDomain = 0x00d0, Form::Simple, 32 => 0, false;
    /// Reads the hypervisor's log.
    VendorReadLog = 0xf001, Form::Simple, 16 => 248, false;
    /// Describes the machine.
    VendorSystemInfo = 0xf002, Form::Simple, 8 => 96, false;
    /// Writes configuration space through the guard.
    VendorWriteConfig = 0xf003, Form::Simple, 24 => 8, false;
    /// Declares that a detached device has been reset.
    VendorDeclareReset = 0xf004, Form::Simple, 16 => 0, false;
    /// Describes the device with an index.
    VendorDeviceInfo = 0xf005, Form::Simple, 8 => 64, false;
    /// Describes an IOMMU.
    VendorIommuInfo = 0xf006, Form::Simple, 8 => 64, false;
    /// Takes the oldest recorded fault.
    VendorTakeFault = 0xf007, Form::Simple, 8 => 40, false;
    /// Reads counters of a partition or of an LP.
    VendorCounters = 0xf008, Form::Simple, 16 => 240, false;
    /// Powers the machine off, or resets it.
    VendorPower = 0xf009, Form::Simple, 8 => 0, true;
    /// Describes the device domain or device interrupt with an index.
    VendorDomainInfo = 0xf00a, Form::Simple, 8 => 40, false;
    /// Describes the device interrupt with an index.
    VendorInterruptInfo = 0xf00b, Form::Simple, 8 => 48, false;
    /// Says why a device cannot be assigned.
    VendorWhyNot = 0xf00c, Form::Simple, 8 => 240, false;
    /// Describes a base address register of a device.
    VendorBarInfo = 0xf00d, Form::Simple, 16 => 56, false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_again() {
        for &call in Call::ALL {
            assert_eq!(Call::from_code(call as u16), Some(call));
        }
        assert_eq!(Call::from_code(0), None);
    }

    #[test]
    fn structures_are_multiples_of_eight_bytes_and_fit_a_page() {
        for &call in Call::ALL {
            let s = call.signature();
            assert_eq!((s.input % 8, s.output % 8), (0, 0), "{call:?}");
            assert!(s.input <= 4096 && s.output <= 4096);
            assert!(
                !s.fast || s.input <= 16,
                "{call:?}: RDX and R8 hold 16 bytes"
            );
        }
    }
}
