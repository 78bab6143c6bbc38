//! What can be wrong with a table.

use crate::Signature;

/// A malformed table, with the facts. Offsets count from the first byte of the table unless said otherwise.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The table says that it is longer than the bytes there are, or is shorter than its fixed part.
    #[error("table {table} is cut: {needed} bytes needed, {available} there")]
    Cut {
        /// Signature expected.
        table: Signature,
        /// Bytes that the table needs.
        needed: usize,
        /// Bytes that there are.
        available: usize,
    },
    /// Another table stands here.
    #[error("table {found} where {expected} was expected")]
    WrongSignature {
        /// Signature asked for.
        expected: Signature,
        /// Signature found.
        found: Signature,
    },
    /// The bytes do not add up to zero.
    #[error("table {table}: its bytes add up to {sum:#04x}, not to 0")]
    Checksum {
        /// The table.
        table: Signature,
        /// Sum of all its bytes, modulo 256.
        sum: u8,
    },
    /// A record's length is smaller than its fixed part or runs past the end of what holds it.
    #[error(
        "table {table}: record of type {kind} at {at} says {length} bytes; {minimum} to {available} are possible"
    )]
    RecordLength {
        /// The table.
        table: Signature,
        /// Type of the record.
        kind: u16,
        /// Offset of the record in what holds it.
        at: usize,
        /// Length that it states.
        length: usize,
        /// Least length for its type.
        minimum: usize,
        /// Bytes left in what holds it.
        available: usize,
    },
    /// A range whose last element lies before its first one, or that passes the end of its space.
    #[error(
        "table {table}: range {first:#x} to {last:#x} is reversed or passes the end of its space"
    )]
    Range {
        /// The table.
        table: Signature,
        /// First bus or byte.
        first: u64,
        /// Last bus or byte.
        last: u64,
    },
    /// An address that is zero or not aligned as its structure demands.
    #[error("table {table}: address {address:#x} is zero or not aligned")]
    Address {
        /// The table.
        table: Signature,
        /// The address.
        address: u64,
    },
    /// Two records claim the same thing.
    #[error("table {table}: two records claim {what:#x}")]
    Duplicate {
        /// The table.
        table: Signature,
        /// The address or number that both claim.
        what: u64,
    },
    /// More records of a kind than any machine has.
    #[error("table {table}: more than {most} units are described")]
    TooMany {
        /// The table.
        table: Signature,
        /// How many are read.
        most: usize,
    },
    /// A device scope's path is empty, odd, or names a device above 31 or a function above 7.
    #[error(
        "device scope of type {kind} from bus {start_bus:#04x}: its path of {bytes} bytes is not one"
    )]
    Path {
        /// Type of the scope.
        kind: u8,
        /// Bus at which it starts.
        start_bus: u8,
        /// Bytes in the path.
        bytes: usize,
    },
    /// A generic address in a space that this use does not have.
    #[error("table {table}: address space {space} cannot hold this register")]
    AddressSpace {
        /// The table.
        table: Signature,
        /// Address space id.
        space: u8,
    },
}
