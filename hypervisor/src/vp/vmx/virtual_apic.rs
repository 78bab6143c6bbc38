//! The page of a guest's local APIC registers, and interrupts that the processor serves from it.

use core::ptr::NonNull;

use address::Spa;
use guest::Vcpu;
use guest::apic::{LocalApic, VectorSet, msr};
use guest::vmx::Field;
use guest::vmx::virtual_apic::{
    self as place, FLOOR, IN_SERVICE, InterruptStatus, REQUESTED, STRIDE, TASK_PRIORITY,
};

use super::instruction::vmread;
use super::vcpu::Vmx;

/// The page. The processor reads and writes it while the guest runs, and only then.
pub struct VirtualApic(NonNull<u8>);

impl VirtualApic {
    /// In a zeroed frame that is the VP's alone.
    pub fn new(frame: Spa) -> Self {
        let page = crate::memory::virtual_of(frame.as_u64());
        let mut page = Self(NonNull::new(page).unwrap_or(NonNull::dangling()));
        page.take_requests();
        page
    }

    fn read(&self, offset: usize) -> u32 {
        // SAFETY: inside the frame, which is this VP's alone.
        unsafe { self.0.add(offset & 0xffc).cast().read_volatile() }
    }

    fn write(&mut self, offset: usize, value: u32) {
        // SAFETY: as above.
        unsafe { self.0.add(offset & 0xffc).cast().write_volatile(value) };
    }

    /// Eight registers from this offset on.
    fn registers(&self, first: usize) -> [u32; 8] {
        core::array::from_fn(|index| self.read(first + index * STRIDE))
    }

    fn take(&mut self, first: usize) -> [u32; 8] {
        let registers = self.registers(first);
        (0..8).for_each(|index| self.write(first + index * STRIDE, 0));
        registers
    }

    fn take_requests(&mut self) -> [u32; 8] {
        let mut requests = self.take(REQUESTED);
        requests[0] &= !FLOOR;
        self.write(REQUESTED, FLOOR);
        requests
    }

    fn add(&mut self, first: usize, vectors: &VectorSet) {
        for index in 0..8 {
            let more = vectors.register(index);
            if more != 0 {
                let at = first + index as usize * STRIDE;
                self.write(at, self.read(at) | more);
            }
        }
    }

    /// Task priority class, 0 to 15.
    #[inline]
    pub fn task_priority(&self) -> u8 {
        self.read(TASK_PRIORITY) as u8 >> 4
    }

    /// Writes it.
    pub fn set_task_priority(&mut self, class: u8) {
        self.write(TASK_PRIORITY, u32::from(class & 15) << 4);
    }

    /// What the processor has to know of the requests and services here.
    pub fn status(&self) -> InterruptStatus {
        InterruptStatus::of(&self.registers(REQUESTED), &self.registers(IN_SERVICE))
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.take_requests();
        self.take(IN_SERVICE);
    }

    /// The registers that never change while their APIC is in x2APIC mode.
    fn show(&mut self, apic: &LocalApic) {
        let registers = [
            (place::ID, msr::ID),
            (place::VERSION, msr::VERSION),
            (place::LOGICAL, msr::LDR),
        ];
        for (offset, index) in registers {
            self.write(offset, apic.read(index, 0, 0).unwrap_or(0) as u32);
        }
    }
}

impl Vmx {
    /// Has the processor serve interrupts, or not, from the next entry on.
    pub(super) fn follow(&mut self, apic: &mut LocalApic) {
        let served = self.features.serves && apic.may_be_served();
        if served == self.window.served {
            return;
        }
        if served {
            self.window.request(false);
            self.apic_page.show(apic);
        } else {
            self.recall(apic);
        }
        self.window.served = served;
    }

    pub(super) fn give(&mut self, apic: &mut LocalApic) {
        if !self.window.served || !apic.has_work() {
            return;
        }
        let (requested, in_service) = apic.hand_over();
        self.apic_page.add(REQUESTED, &requested);
        self.apic_page.add(IN_SERVICE, &in_service);
        self.put_status();
    }

    pub(super) fn recall(&mut self, apic: &mut LocalApic) {
        if self.window.served {
            let page = &mut self.apic_page;
            apic.take_back(&[page.take_requests(), page.take(IN_SERVICE)]);
            self.put_status();
        }
    }

    /// Tells the processor of a change in the page; while the VP is parked, its next unpark does.
    pub(super) fn put_status(&mut self) {
        if self.live && self.features.serves {
            let status = self.apic_page.status().into_bits();
            self.put(Field::GUEST_INTERRUPT_STATUS, status.into());
        }
    }

    pub(super) fn delivers(&self) -> bool {
        if !self.window.served {
            return false;
        }
        let status = if self.live {
            InterruptStatus::from_bits(vmread(Field::GUEST_INTERRUPT_STATUS) as u16)
        } else {
            self.apic_page.status()
        };
        status.delivers(self.task_priority())
    }
}
