//! The guard over configuration space: which writes of the root may reach a function, and with what value.
//!
//! Deny is the default. One table ([`mask`]) names the bits that a write may change, by who holds the function; a few
//! registers whose value matters are judged further: base addresses, message addresses, and the enable bits that set them
//! to work. Bus mastering is in no mask: the hypervisor alone sets it, when it attaches the function.

mod mask;
mod placement;
#[cfg(test)]
mod tests;

pub use mask::Rule;
pub use placement::Window;

use crate::{BarKind, Function, Header};

/// Who holds a function.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Holder {
    /// A domain of the root partition.
    Root,
    /// A domain of a child partition. The root emulates the child's view and drives interrupts for it; the rest stands still.
    Child,
    /// No domain. The owner may place, reset and power it.
    Blocked,
    /// No domain, and a reset is due before anything may attach it: as [`Self::Blocked`].
    NeedsReset,
}

impl Holder {
    const fn attached(self) -> bool {
        matches!(self, Self::Root | Self::Child)
    }
}

/// A message that the hypervisor handed out for a device interrupt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Message {
    /// Message address, both halves.
    pub address: u64,
    /// Message data.
    pub data: u32,
}

/// A write of 1, 2 or 4 bytes that lies inside one aligned register of 4.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Write {
    offset: u16,
    size: u8,
    value: u32,
}

impl Write {
    /// A write of `size` bytes of `value` at `offset`.
    ///
    /// # Errors
    /// [`Refusal::Shape`] for another size, an offset not aligned to the size, or one past 4095 (CFG-09).
    pub const fn new(offset: u16, size: u8, value: u32) -> Result<Self, Refusal> {
        let bytes = match size {
            1 => 0xff,
            2 => 0xffff,
            4 => u32::MAX,
            _ => return Err(Refusal::Shape),
        };
        if offset > 0xfff || !offset.is_multiple_of(size as u16) {
            return Err(Refusal::Shape);
        }
        let value = value & bytes;
        Ok(Self {
            offset,
            size,
            value,
        })
    }

    /// Offset of the aligned 4 bytes that hold the register.
    #[must_use]
    pub const fn dword(&self) -> u16 {
        self.offset & !3
    }

    const fn shift(&self) -> u32 {
        (self.offset as u32 & 3) * 8
    }

    /// Which bits of the aligned 4 bytes are written.
    const fn covered(&self) -> u32 {
        u32::MAX >> (32 - self.size as u32 * 8) << self.shift()
    }
}

/// What the machine knows that decides about values.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// All functions, their BARs where they stand now ([`crate::Topology::functions`]).
    pub functions: &'a [Function],
    /// Where BARs may stand: found at boot.
    pub windows: &'a [Window],
    /// Ranges that the hypervisor keeps: IOMMU registers, local APIC, IOAPICs, HPETs, configuration space, its own memory.
    pub kept: &'a [Window],
    /// Messages handed out for this function.
    pub allowed_messages: &'a [Message],
}

/// What may be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Admitted {
    /// The value to write, in the width of the request.
    pub value: u32,
    /// The BAR that now stands elsewhere, and where: to be recorded by [`crate::Topology::note_bar`] after the write.
    pub moved: Option<(usize, u64)>,
}

/// Why nothing may be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Size, alignment or offset.
    #[error("a configuration write is 1, 2 or 4 bytes, aligned, below 4096")]
    Shape,
    /// No such function.
    #[error("there is no such function")]
    NoFunction,
    /// Bridges and unknown headers.
    #[error(
        "bridges belong to the hypervisor: bus numbers, windows and resets of a bus are not written"
    )]
    Bridge,
    /// Class 08_06h.
    #[error("an IOMMU is the hypervisor's")]
    Iommu,
    /// Access control services.
    #[error("access control is the hypervisor's")]
    AccessControl,
    /// ATS, PRI or PASID.
    #[error("address translation services, page requests and PASIDs are not used")]
    Translation,
    /// SR-IOV.
    #[error("virtual functions are enabled by a call, not by a write")]
    VirtualFunctions,
    /// Everything else that no rule names.
    #[error("no rule lets this register be written")]
    NotWritable,
    /// A register that stands still while a child holds the function.
    #[error("a child partition holds the function")]
    HeldByChild,
    /// Reset or power state of an attached function.
    #[error("reset and power state are written only while the function is blocked")]
    NotBlocked,
    /// Interrupts of a function that no domain holds.
    #[error("a blocked function raises no interrupts")]
    Blocked,
    /// A BAR written while it decodes, or not as a whole.
    #[error("a base address register is written whole and while its decoding is off")]
    BarInUse,
    /// A BAR outside every window, or over something else.
    #[error("the address lies outside the windows found at boot, or over somebody else's range")]
    BarPlace,
    /// A message that was not handed out.
    #[error("the message was not handed out for this function")]
    Message,
}

/// Decides about one write.
///
/// `read` gives the current value of the aligned 4 bytes at an offset of the same function. The result is a value in the
/// request's width: bits that the root may not change have their current value, bits that a 1 would clear a 0.
///
/// # Errors
/// The first [`Refusal`] that applies. Nothing may be written then.
pub fn check(
    world: &World<'_>,
    index: usize,
    holder: Holder,
    write: Write,
    mut read: impl FnMut(u16) -> u32,
) -> Result<Admitted, Refusal> {
    let function = world.functions.get(index).ok_or(Refusal::NoFunction)?;
    let rule = mask::rule(function, holder, write.dword())?;
    let covered = write.covered();
    if covered & (rule.plain | rule.clears) == 0 {
        return Err(Refusal::NotWritable);
    }
    let old = read(write.dword());
    let new = rule.apply(old, write.value << write.shift(), covered);
    let mut judge = Judge {
        world,
        index,
        function,
        holder,
        read,
    };
    let moved = judge.judge(write, old, new)?;
    Ok(Admitted {
        value: (new & covered) >> write.shift(),
        moved,
    })
}

/// The registers whose value matters.
struct Judge<'a, F> {
    world: &'a World<'a>,
    index: usize,
    function: &'a Function,
    holder: Holder,
    read: F,
}

impl<F: FnMut(u16) -> u32> Judge<'_, F> {
    fn judge(&mut self, write: Write, old: u32, new: u32) -> Result<Option<(usize, u64)>, Refusal> {
        let at = write.dword();
        match at {
            mask::COMMAND => self.decode(old, new).map(|()| None),
            0x10..=0x24 if self.function.header == Header::Device => self.bar(write, new),
            _ => self.interrupts(at, old, new).map(|()| None),
        }
    }

    /// Decoding is turned on only when every BAR of its kind stands where it may.
    fn decode(&mut self, old: u32, new: u32) -> Result<(), Refusal> {
        let risen = new & !old;
        let bars = self.function.bars.iter().enumerate();
        for (index, bar) in bars.filter_map(|(index, bar)| Some((index, (*bar)?))) {
            if risen & decode_bit(bar.kind) != 0 && !self.placed(index, bar.kind) {
                return Err(Refusal::BarPlace);
            }
        }
        Ok(())
    }

    fn placed(&mut self, bar: usize, kind: BarKind) -> bool {
        let address = self.address(bar, kind, |_, value| value);
        placement::allowed(self.world, self.index, bar, address)
    }

    /// The address that a BAR's registers hold, each passed through `change` with its index.
    fn address(&mut self, bar: usize, kind: BarKind, change: impl Fn(usize, u32) -> u32) -> u64 {
        let mut register = |index: usize| change(index, (self.read)(bar_offset(index)));
        match kind {
            BarKind::Io => (register(bar) & !3).into(),
            BarKind::Memory { wide: false, .. } => (register(bar) & !0xf).into(),
            BarKind::Memory { wide: true, .. } => {
                u64::from(register(bar.saturating_add(1))) << 32 | u64::from(register(bar) & !0xf)
            }
        }
    }

    /// One half of a wide BAR may be given back what it had, as after a reset: decoding is off, and [`Self::decode`] looks
    /// at the whole before it goes on.
    fn bar(&mut self, write: Write, new: u32) -> Result<Option<(usize, u64)>, Refusal> {
        let register = usize::from((write.dword() - 0x10) / 4);
        let (index, bar) = mask::bar_of(self.function, register).ok_or(Refusal::NotWritable)?;
        if write.size != 4 || (self.read)(mask::COMMAND) & decode_bit(bar.kind) != 0 {
            return Err(Refusal::BarInUse);
        }
        let address = self.address(
            index,
            bar.kind,
            |at, value| if at == register { new } else { value },
        );
        if address == bar.address {
            return Ok(None);
        }
        if placement::allowed(self.world, self.index, index, address) {
            return Ok(Some((index, address)));
        }
        let half = (bar.address >> if register == index { 0 } else { 32 }) as u32;
        let flags = if register == index { 0xf } else { 0 };
        if new & !flags == half & !flags {
            Ok(None)
        } else {
            Err(Refusal::BarPlace)
        }
    }

    fn interrupts(&mut self, at: u16, old: u32, new: u32) -> Result<(), Refusal> {
        if let Some(msix) = self.function.msix
            && at == msix.offset
        {
            return self.enable(old, new, 1 << 31);
        }
        let Some(msi) = self.function.msi else {
            return Ok(());
        };
        let messages = self.world.allowed_messages;
        let known = if at == msi.offset {
            self.enable(old, new, 1 << 16)?;
            (new & 1 << 16 == 0) || messages.contains(&self.message(&msi))
        } else if at == msi.offset + 4 {
            new == 0 || messages.iter().any(|message| message.address as u32 == new)
        } else if at == msi.data() {
            let data = new & 0xffff;
            data == 0 || messages.iter().any(|message| message.data == data)
        } else if msi.wide && at == msi.offset + 8 {
            new == 0
                || messages
                    .iter()
                    .any(|message| (message.address >> 32) as u32 == new)
        } else {
            true
        };
        if known { Ok(()) } else { Err(Refusal::Message) }
    }

    /// An enable bit that rises needs a domain behind it.
    const fn enable(&self, old: u32, new: u32, bit: u32) -> Result<(), Refusal> {
        if new & !old & bit != 0 && !self.holder.attached() {
            return Err(Refusal::Blocked);
        }
        Ok(())
    }

    fn message(&mut self, msi: &crate::Msi) -> Message {
        let low = u64::from((self.read)(msi.offset + 4));
        let high = if msi.wide {
            u64::from((self.read)(msi.offset + 8))
        } else {
            0
        };
        Message {
            address: high << 32 | low,
            data: (self.read)(msi.data()) & 0xffff,
        }
    }
}

const fn decode_bit(kind: BarKind) -> u32 {
    match kind {
        BarKind::Io => 1,
        BarKind::Memory { .. } => 2,
    }
}

const fn bar_offset(register: usize) -> u16 {
    // Registers are 0 to 5.
    0x10 + (register as u16 & 7) * 4
}
