//! Status codes of hypercalls (TLFS, "Hypercall status codes").

/// What a hypercall says it did. Zero is success; every other value means that nothing beyond the reported
/// repetitions has changed.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
#[repr(transparent)]
pub struct Status(pub u16);

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        impl Status {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The name that the specification gives the code.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($value => stringify!($name),)*
                    _ => "UNKNOWN",
                }
            }
        }
    };
}

statuses! {
    /// All of it is done.
    SUCCESS = 0x0,
    /// No such call.
    INVALID_HYPERCALL_CODE = 0x2,
    /// The control word does not fit the call.
    INVALID_HYPERCALL_INPUT = 0x3,
    /// A parameter list is not aligned to 8 bytes, or crosses a page.
    INVALID_ALIGNMENT = 0x4,
    /// A parameter is out of its range, or names a reserved thing.
    INVALID_PARAMETER = 0x5,
    /// The caller has no right to this.
    ACCESS_DENIED = 0x6,
    /// The partition is not in a state that allows it.
    INVALID_PARTITION_STATE = 0x7,
    /// It is never allowed on this object.
    OPERATION_DENIED = 0x8,
    /// No such property.
    UNKNOWN_PROPERTY = 0x9,
    /// The property does not take this value.
    PROPERTY_VALUE_OUT_OF_RANGE = 0xa,
    /// The partition's deposits are used up: deposit more and call again.
    INSUFFICIENT_MEMORY = 0xb,
    /// No such partition.
    INVALID_PARTITION_ID = 0xd,
    /// No such VP.
    INVALID_VP_INDEX = 0xe,
    /// No such thing.
    NOT_FOUND = 0x10,
    /// No such port.
    INVALID_PORT_ID = 0x11,
    /// No such connection.
    INVALID_CONNECTION_ID = 0x12,
    /// The receiver has no room for the message.
    INSUFFICIENT_BUFFERS = 0x13,
    /// The VP is not in a state that allows it.
    INVALID_VP_STATE = 0x15,
    /// Somebody still uses it.
    OBJECT_IN_USE = 0x19,
    /// Nothing there to give.
    NO_DATA = 0x1b,
    /// Nothing left to give: all deposits have been returned.
    NO_RESOURCES = 0x1d,
    /// The machine cannot do it. For assignment, `vendor::DeviceInfo` says why.
    FEATURE_UNAVAILABLE = 0x1e,
    /// The caller's buffer is too small.
    INSUFFICIENT_BUFFER = 0x33,
    /// The I/O remapping hardware has no domain left.
    INSUFFICIENT_DEVICE_DOMAINS = 0x38,
    /// No such logical processor.
    INVALID_LP_INDEX = 0x41,
    /// The register does not take this value.
    INVALID_REGISTER_VALUE = 0x50,
    /// No such device.
    INVALID_DEVICE_ID = 0x57,
    /// The device is not in a state that allows it.
    INVALID_DEVICE_STATE = 0x58,
    /// The device is in this domain, or in another one, already.
    DEVICE_ALREADY_IN_DOMAIN = 0x66,
    /// It was tried and did not succeed: a hardware unit does not answer.
    OPERATION_FAILED = 0x71,
    /// The hypervisor's own reserve is used up.
    INSUFFICIENT_ROOT_MEMORY = 0x73,
    /// Waited as long as is allowed.
    TIME_OUT = 0x78,
    /// No such register.
    UNKNOWN_REGISTER_NAME = 0x87,
}

impl core::fmt::Debug for Status {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}({:#x})", self.name(), self.0)
    }
}
