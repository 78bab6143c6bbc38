//! A stand-in for the machine and the hypervisor, for the tests of whole commands: it answers as if all went well, fails
//! where it is told to, and keeps books on memory and partitions.

extern crate std;

use abi::message::Message;
use abi::vendor::DeviceInfo;
use abi::{Call, CallInput, CallResult, Status};
use alloc::string::String;
use alloc::vec::Vec;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use crate::agent::Agent;
use crate::facts::{Facts, Span};
use crate::machine::Machine;

/// What the stand-in remembers.
#[derive(Default)]
pub struct Books {
    /// Pieces of RAM that were taken: address and bytes.
    pub taken: BTreeMap<u64, Vec<u8>>,
    /// Pages that were lent.
    pub lent: BTreeSet<u64>,
    /// Pages deposited.
    pub deposited: Vec<u64>,
    /// Partitions that exist.
    pub partitions: BTreeSet<u64>,
    /// Calls, in order.
    pub calls: Vec<Call>,
    /// Registers written last, by number.
    pub registers: BTreeMap<u32, u64>,
    /// Bytes written to ports.
    pub ports: Vec<(u16, u8)>,
    /// The call with this number fails.
    pub fail: Option<(usize, Status)>,
    next: u64,
}

/// The stand-in.
#[derive(Default)]
pub struct StandIn {
    /// Its books.
    pub books: Mutex<Books>,
    /// Files of the boot volume.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Devices of the machine.
    pub devices: Vec<DeviceInfo>,
}

/// An agent on a stand-in with two LPs.
pub fn agent(stand_in: StandIn) -> Agent<StandIn> {
    let facts = Facts {
        lps: 2,
        free: Vec::new(),
        ecam: Vec::new(),
        ranges: Vec::new(),
        modules: Vec::new(),
        tsc_hz: 1_000_000,
        console: None,
    };
    Agent::new(stand_in, facts)
}

impl StandIn {
    fn answer(
        &self,
        call: Call,
        control: CallInput,
        input: &[u8],
        output: &mut [u8],
        completed: &mut u16,
    ) -> Status {
        let mut books = self.books.lock().unwrap();
        let word = |at: usize| {
            let bytes = input.get(at..at + 8).unwrap_or(&[0; 8]);
            u64::from_le_bytes(bytes.try_into().unwrap())
        };
        match call {
            Call::CreatePartition => {
                books.next += 1;
                let id = books.next + 1;
                books.partitions.insert(id);
                output[..8].copy_from_slice(&id.to_le_bytes());
                Status::SUCCESS
            }
            Call::DeletePartition if books.deposited.is_empty() => {
                assert!(books.partitions.remove(&word(0)));
                Status::SUCCESS
            }
            Call::DeletePartition => Status::OBJECT_IN_USE,
            Call::DepositMemory => {
                let pages = input[8..].chunks(8);
                let pages = pages.map(|page| u64::from_le_bytes(page.try_into().unwrap()));
                books.deposited.extend(pages.skip(control.start().into()));
                Status::SUCCESS
            }
            Call::WithdrawMemory => {
                *completed = (*completed).min(books.deposited.len() as u16);
                for place in output.chunks_mut(8).take((*completed).into()) {
                    place.copy_from_slice(&books.deposited.pop().unwrap().to_le_bytes());
                }
                Status::NO_RESOURCES
            }
            Call::SetVpRegisters => {
                for entry in input[16..].chunks(32) {
                    let name = u32::from_le_bytes(entry[..4].try_into().unwrap());
                    let value = u64::from_le_bytes(entry[16..24].try_into().unwrap());
                    books.registers.insert(name, value);
                }
                Status::SUCCESS
            }
            Call::VendorDeviceInfo => match self.devices.get(word(0) as usize) {
                Some(info) => {
                    output.copy_from_slice(zerocopy::IntoBytes::as_bytes(info));
                    Status::SUCCESS
                }
                None => Status::NO_DATA,
            },
            Call::VendorWhyNot => {
                let text = b"the machine has no IOMMU";
                output[..8].copy_from_slice(&(text.len() as u64).to_le_bytes());
                output[8..8 + text.len()].copy_from_slice(text);
                Status::SUCCESS
            }
            Call::VendorTakeFault | Call::VendorDomainInfo | Call::VendorInterruptInfo => {
                Status::NO_DATA
            }
            _ => Status::SUCCESS,
        }
    }
}

impl Machine for StandIn {
    fn hypercall(&self, control: CallInput, input: &[&[u8]], output: &mut [u8]) -> CallResult {
        let mut books = self.books.lock().unwrap();
        let call = Call::from_code(control.code()).unwrap();
        let number = books.calls.len();
        books.calls.push(call);
        if let Some((at, status)) = books.fail
            && at == number
        {
            return CallResult::new(status, control.start());
        }
        drop(books);
        let mut completed = control.count();
        let status = self.answer(call, control, &input.concat(), output, &mut completed);
        CallResult::new(status, completed)
    }

    fn take_memory(&self, length: u64, align: u64) -> Option<Span> {
        let mut books = self.books.lock().unwrap();
        if length > 1 << 30 {
            return None;
        }
        books.next += 1;
        let start = (1 << 40) + books.next * (4 << 30) / align * align;
        books.taken.insert(start, alloc::vec![0; length as usize]);
        Some(Span { start, length })
    }

    fn give_memory(&self, span: Span) {
        let taken = self.books.lock().unwrap().taken.remove(&span.start);
        assert_eq!(taken.map(|bytes| bytes.len() as u64), Some(span.length));
    }

    fn lend_page(&self) -> Option<u64> {
        let mut books = self.books.lock().unwrap();
        books.next += 1;
        let page = books.next;
        books.lent.insert(page);
        Some(page)
    }

    fn reclaim_page(&self, page: u64) {
        assert!(self.books.lock().unwrap().lent.remove(&page));
    }

    fn free_memory(&self) -> u64 {
        1 << 30
    }

    fn read_memory(&self, address: u64, to: &mut [u8]) {
        let books = self.books.lock().unwrap();
        let (start, bytes) = books.taken.range(..=address).next_back().unwrap();
        let offset = (address - start) as usize;
        to.copy_from_slice(&bytes[offset..offset + to.len()]);
    }

    fn write_memory(&self, address: u64, from: &[u8]) {
        let mut books = self.books.lock().unwrap();
        let (start, bytes) = books.taken.range_mut(..=address).next_back().unwrap();
        let offset = (address - start) as usize;
        bytes[offset..offset + from.len()].copy_from_slice(from);
    }

    fn module(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    fn read_register(&self, _: u64, _: u8) -> u64 {
        u64::MAX
    }

    fn write_register(&self, _: u64, _: u8, _: u64) {}

    fn read_port(&self, _: u16) -> u8 {
        0xff
    }

    fn write_port(&self, port: u16, value: u8) {
        self.books.lock().unwrap().ports.push((port, value));
    }

    fn ticks(&self) -> u64 {
        let mut books = self.books.lock().unwrap();
        books.next += 1_000_000;
        books.next
    }

    fn take_message(&self) -> Option<Message> {
        None
    }

    fn idle(&self) {}
}
