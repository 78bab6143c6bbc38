//! Replays every target's corpus, then mutations of it with a fixed seed.

use std::fs;
use std::path::Path;

use fuzz::mutate::{Random, mutate};
use fuzz::{TARGETS, Target};

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target.name);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a file of the corpus").path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| fs::read(file).expect("a readable file"))
        .collect()
}

#[test]
fn every_corpus_file_is_survived() {
    for target in &TARGETS {
        let files = corpus(target);
        assert!(!files.is_empty(), "{} has no corpus", target.name);
        for data in files {
            (target.run)(&data);
            // Every cut of it: where a length field is believed, this finds it.
            let step = data.len() / 64 + 1;
            (0..data.len())
                .step_by(step)
                .for_each(|end| (target.run)(&data[..end]));
        }
    }
}

#[test]
fn mutations_are_survived() {
    for target in &TARGETS {
        let mut random = Random::new(0x5eed_0000 + target.name.len() as u64);
        for data in corpus(target) {
            let mut current = data.clone();
            for round in 0..target.mutations {
                // Changes pile up for a while, then start anew.
                let from = if round % 8 == 0 { &data } else { &current };
                current = mutate(from, &mut random);
                (target.run)(&current);
            }
        }
    }
}
