//! Physical memory with two views: what processors stored, and what a walker that does not snoop sees.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::rc::Rc;

use address::Spa;

/// Called after each store of a processor: what a walker sees then, it may see for ever.
struct Watcher(Rc<dyn Fn()>);

/// Memory that lies elsewhere: asked for a line of 64 bytes, it lets it be changed, or says that it has none there.
struct Elsewhere(Rc<Lines>);

type Lines = dyn Fn(u64, &mut dyn FnMut(&mut [u64; 8])) -> bool;

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Elsewhere")
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

/// Words by frame.
#[derive(Debug, Default)]
struct Frames(HashMap<u64, Box<[u64; 512]>>);

impl Frames {
    fn get(&self, at: u64) -> u64 {
        let frame = self.0.get(&(at >> 12));
        frame.map_or(0, |words| words[(at >> 3 & 511) as usize])
    }

    fn set(&mut self, at: u64, value: u64) {
        let frame = self.0.entry(at >> 12).or_insert_with(|| Box::new([0; 512]));
        frame[(at >> 3 & 511) as usize] = value;
    }
}

/// 64-bit words by address. What was never written is zero.
#[derive(Debug, Default)]
pub struct Memory {
    processor: RefCell<Frames>,
    walker: RefCell<Frames>,
    /// Written back, waiting in the chipset's write buffer.
    buffered: RefCell<HashSet<u64>>,
    /// Walkers see only what was cleaned.
    incoherent: Cell<bool>,
    /// Walkers see only what the write buffers were flushed of.
    buffering: Cell<bool>,
    watcher: RefCell<Option<Watcher>>,
    elsewhere: RefCell<Option<Elsewhere>>,
}

impl Memory {
    /// From now on walkers see only what was cleaned.
    pub fn set_incoherent(&self) {
        self.incoherent.set(true);
    }

    /// From now on walkers see only what was in memory at the last write-buffer flush.
    pub fn set_buffering(&self) {
        self.buffering.set(true);
    }

    /// The word that a processor reads.
    pub fn read(&self, at: u64) -> u64 {
        self.processor.borrow().get(at)
    }

    /// From now on `watcher` is called after each store of a processor; it must not store itself.
    pub fn watch(&self, watcher: impl Fn() + 'static) {
        self.watcher.replace(Some(Watcher(Rc::new(watcher))));
    }

    /// A processor stored something, here or in a register.
    pub fn seen(&self) {
        let watcher = self.watcher.borrow();
        if let Some(watcher) = watcher.as_ref() {
            (watcher.0)();
        }
    }

    /// A processor's store.
    pub fn write(&self, at: u64, value: u64) {
        self.store(at, value);
        self.seen();
    }

    fn store(&self, at: u64, value: u64) {
        self.processor.borrow_mut().set(at, value);
        if !self.incoherent.get() {
            self.arrive(at & !7);
        }
    }

    /// A processor's store of 128 bits, which nobody sees half of.
    pub fn write_wide(&self, at: u64, low: u64, high: u64) {
        self.store(at, low);
        self.store(at + 8, high);
        self.seen();
    }

    /// Cache lines of a range go to memory.
    pub fn clean(&self, at: u64, bytes: u64) {
        let first = at & !63;
        for word in (first..at + bytes).step_by(8) {
            self.arrive(word);
        }
        let end = (at + bytes).next_multiple_of(64);
        for word in ((at + bytes) & !7..end).step_by(8) {
            self.arrive(word);
        }
    }

    fn arrive(&self, word: u64) {
        if self.buffering.get() {
            self.buffered.borrow_mut().insert(word);
        } else {
            let value = self.read(word);
            self.walker.borrow_mut().set(word, value);
        }
    }

    /// The write buffers are flushed.
    pub(crate) fn flush_buffers(&self) {
        for word in self.buffered.borrow_mut().drain() {
            let value = self.read(word);
            self.walker.borrow_mut().set(word, value);
        }
    }

    /// The word that a walker sees.
    pub(crate) fn walk(&self, at: u64) -> u64 {
        self.walker.borrow().get(at)
    }

    /// A device's, or a unit's, store of 32 bits.
    pub(crate) fn device_write32(&self, at: u64, value: u32) {
        let shift = (at & 4) * 8;
        let word = self.read(at) & !(0xffff_ffff << shift) | u64::from(value) << shift;
        self.processor.borrow_mut().set(at, word);
        self.walker.borrow_mut().set(at, word);
    }

    /// From now on lines that `lines` has are there, and not here.
    pub fn add(&self, lines: impl Fn(u64, &mut dyn FnMut(&mut [u64; 8])) -> bool + 'static) {
        self.elsewhere.replace(Some(Elsewhere(Rc::new(lines))));
    }

    /// A device's, or a unit's, update of 64 aligned bytes, which nobody sees half of; it snoops.
    pub(crate) fn update_line(&self, at: u64, update: &mut dyn FnMut(&mut [u64; 8])) {
        let elsewhere = self.elsewhere.borrow();
        if elsewhere.as_ref().is_some_and(|it| (it.0)(at, update)) {
            return;
        }
        let words = (at..).step_by(8);
        let mut line = [0; 8];
        for (word, at) in line.iter_mut().zip(words.clone()) {
            *word = self.read(at);
        }
        update(&mut line);
        for (word, at) in line.into_iter().zip(words) {
            self.processor.borrow_mut().set(at, word);
            self.walker.borrow_mut().set(at, word);
        }
    }

    /// A frame's words become zero.
    pub fn zero(&self, frame: Spa) {
        for word in 0..512 {
            self.write(frame.as_u64() + word * 8, 0);
        }
    }
}
