//! Mutations that are the same in every run.

/// A small generator of numbers (xorshift, 64 bits).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed; zero counts as one.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// The next number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound.max(1)
    }
}

/// Numbers that parsers trip over.
const EDGES: [u8; 8] = [0, 1, 2, 7, 0x40, 0x7f, 0x80, 0xff];

/// One to eight changes: a byte, a bit, a cut, a copied stretch.
#[must_use]
pub fn mutate(data: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = data.to_vec();
    for _ in 0..=random.below(8) {
        change(&mut bytes, random);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, random: &mut Random) {
    let (kind, at) = (random.below(8), random.below(bytes.len()));
    if kind == 7 && bytes.len() < 4096 {
        let stretch: Vec<u8> = bytes[at..].iter().take(random.below(64)).copied().collect();
        let to = random.below(bytes.len());
        bytes.splice(to..to, stretch);
    } else if kind == 6 && random.below(4) == 0 {
        bytes.truncate(at);
    } else if let Some(byte) = bytes.get_mut(at) {
        *byte = match kind {
            0..3 => EDGES[random.below(EDGES.len())],
            3..5 => *byte ^ 1 << random.below(8),
            _ => random.below(256) as u8,
        };
    } else {
        bytes.push(random.below(256) as u8);
    }
}
