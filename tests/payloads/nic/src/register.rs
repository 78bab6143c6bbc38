//! Registers that both adapters have at the same place (82576EB data sheet, section 8; 82574 data sheet, section 10).

/// Device control.
pub const CTRL: u64 = 0x0000;
/// Device status; bit 1: link up.
pub const STATUS: u64 = 0x0008;
/// Extended device control.
pub const CTRL_EXT: u64 = 0x0018;
/// MDI control: access to the PHY's registers.
pub const MDIC: u64 = 0x0020;
/// Receive control.
pub const RCTL: u64 = 0x0100;
/// Transmit control.
pub const TCTL: u64 = 0x0400;
/// Receive address 0, low.
pub const RAL0: u64 = 0x5400;
/// Receive address 0, high; bit 31: valid.
pub const RAH0: u64 = 0x5404;

/// CTRL: set link up.
pub const SET_LINK_UP: u32 = 1 << 6;
/// CTRL: reset.
pub const RESET: u32 = 1 << 26;

/// RCTL: on, broadcasts accepted, buffers of 2048 bytes, checksum stripped.
pub const RECEIVE: u32 = 1 << 1 | 1 << 15 | 1 << 26;
/// TCTL: on, short frames padded, collision threshold 15 and distance 64, several requests at once.
pub const TRANSMIT: u32 = 1 << 1 | 1 << 3 | 0xf << 4 | 0x3f << 12 | 1 << 28;

/// MDIC: writes register 0 of PHY 1 ("control", IEEE 802.3 clause 22): negotiation on, and begun anew.
pub const NEGOTIATE: u32 = 1 << 26 | 1 << 21 | 1 << 12 | 1 << 9;
/// MDIC: done.
pub const MDI_READY: u32 = 1 << 28;
