//! A processor that serves its guest's interrupts by itself, after the manual's words: the highest request goes into service as
//! soon as the guest takes interrupts and neither its task priority nor what is in service stands in the way.

use address::Vector;
use guest::apic::{LocalApic, VectorSet};

/// What such a processor keeps of one guest.
#[derive(Debug, Default)]
pub struct Serving {
    /// The processor can do it.
    pub offered: bool,
    /// It does.
    pub on: bool,
    requested: VectorSet,
    served: VectorSet,
}

impl Serving {
    /// On or off, as it is offered and `apic` allows.
    pub fn follow(&mut self, apic: &mut LocalApic) {
        let on = self.offered && apic.may_be_served();
        if !on {
            self.take_back(apic);
        }
        self.on = on;
    }

    /// Takes over what `apic` has.
    pub fn hand_over(&mut self, apic: &mut LocalApic) {
        if self.on {
            let (requested, served) = apic.hand_over();
            for (to, from) in [(&mut self.requested, requested), (&mut self.served, served)] {
                (0..8).for_each(|index| to.insert_register(index, from.register(index)));
            }
        }
    }

    /// Takes over what was posted: bits of the vectors from `first` on.
    pub fn request(&mut self, first: u32, bits: u64) {
        for half in 0..2 {
            let index = first / 32 + half;
            let bits = (bits >> (32 * half)) as u32;
            self.requested.insert_register(index, bits);
        }
    }

    /// Gives everything back.
    pub fn take_back(&mut self, apic: &mut LocalApic) {
        if self.on {
            let registers = [&self.requested, &self.served]
                .map(|set| core::array::from_fn(|index| set.register(index as u32)));
            apic.take_back(&registers);
            self.forget();
        }
    }

    /// INIT.
    pub fn forget(&mut self) {
        (self.requested, self.served) = Default::default();
    }

    /// The vector that priorities let through.
    #[must_use]
    pub fn due(&self, task_priority: u8) -> Option<Vector> {
        let class = self.served.highest().map_or(0, |vector| vector.0 >> 4);
        let vector = self.requested.highest().filter(|_| self.on)?;
        (vector.0 >> 4 > class.max(task_priority)).then_some(vector)
    }

    /// Begins the service of a vector.
    pub fn begin(&mut self, vector: Vector) {
        self.requested.remove(vector);
        self.served.insert(vector);
    }

    /// Ends the service of the highest vector.
    pub fn end(&mut self) {
        if let Some(vector) = self.served.highest() {
            self.served.remove(vector);
        }
    }
}
