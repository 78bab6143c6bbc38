//! House checks: rules about the source text that no compiler knows.

mod dialects;
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::workspace::{self, Package};
use source::Source;

/// Folders whose code may be `unsafe`.
const MAY_BE_UNSAFE: [&str; 5] = [
    "hypervisor/src",
    "boot/src",
    "root-agent/runtime",
    "tests/payloads/running-nic",
    "tests/payloads/xapic",
];
const ARCHITECTURE: &str = "hypervisor/ARCHITECTURE.md";

/// Folders that must not know whose IOMMU the machine has.
const VENDOR_FREE: [&str; 4] = [
    "hypervisor/device/",
    "hypervisor/abi/",
    "hypervisor/kernel/",
    "root-agent/",
];
/// Words of one vendor's IOMMU, anywhere in a line.
const VENDOR_WORDS: [&str; 10] = [
    "vt-d", "vtd", "amd-vi", "amdvi", "intel", "dmar", "ivrs", "drhd", "ivhd", "irte",
];
/// The same, only as whole words.
const VENDOR_WHOLE_WORDS: [&str; 2] = ["amd", "dte"];

/// A rule with what it found.
#[derive(Clone, Debug)]
pub struct Check {
    /// The rule.
    pub rule: &'static str,
    /// `PLACE: what is wrong`, one for each violation.
    pub violations: Vec<String>,
}

/// Reads the whole source tree and applies every rule.
pub fn run() -> Result<Vec<Check>> {
    let root = workspace::root();
    let packages = workspace::metadata()?.packages;
    let mut files = Vec::new();
    collect(&root, &root, &mut files)?;
    let sources: Vec<(String, Source)> = files
        .iter()
        .filter(|(path, _)| path.ends_with(".rs"))
        .map(|(path, text)| (path.clone(), Source::read(text)))
        .collect();
    let architecture = fs::read_to_string(root.join(ARCHITECTURE)).unwrap_or_default();
    Ok(vec![
        Check {
            rule: "safe crates forbid unsafe code",
            violations: forbidding(&root, &packages),
        },
        Check {
            rule: "unsafe code stays in its folders",
            violations: outside(&sources),
        },
        Check {
            rule: "every unsafe block has its reason",
            violations: each(&sources, Source::unreasoned),
        },
        Check {
            rule: "every package takes the workspace's lints",
            violations: linted(&root, &packages),
        },
        Check {
            rule: "cited invariants exist",
            violations: citations(&files, &numbers(&architecture)),
        },
        Check {
            rule: "no vendor's words above the IOMMU dialects",
            violations: vendor_words(&files),
        },
        Check {
            rule: "files of one dialect alone have their reason",
            violations: dialects::unpaired(&files, &architecture),
        },
        Check {
            rule: "no paths of one machine",
            violations: machine_paths(&files),
        },
    ])
}

/// Lines of vendor-free folders that hold a vendor's word.
fn vendor_words(files: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    let inside = |path: &String| VENDOR_FREE.iter().any(|folder| path.starts_with(folder));
    for (path, text) in files.iter().filter(|(path, _)| inside(path)) {
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = vendor_word(line) {
                found.push(format!("{path}:{}: \"{word}\"", number + 1));
            }
        }
    }
    found
}

fn vendor_word(line: &str) -> Option<&'static str> {
    let line = line.to_lowercase();
    let whole = |word: &&&str| {
        line.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .any(|it| it == **word)
    };
    let anywhere = VENDOR_WORDS.iter().find(|word| line.contains(**word));
    anywhere
        .or_else(|| VENDOR_WHOLE_WORDS.iter().find(whole))
        .copied()
}

/// Every text file below `folder` as (path from the root, text), without build products and hidden folders.
fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) -> Result<()> {
    let listed =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = listed
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<PathBuf>>>()?;
    paths.sort();
    for path in paths {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if name != ".git" && name != "target" {
                collect(root, &path, files)?;
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            let shown = path.strip_prefix(root).unwrap_or(&path);
            files.push((shown.display().to_string(), text));
        }
    }
    Ok(())
}

fn must_forbid(folder: &Path) -> bool {
    let below_machine = folder.starts_with("hypervisor") && folder != Path::new("hypervisor");
    below_machine || folder == Path::new("root-agent")
}

fn forbidding(root: &Path, packages: &[Package]) -> Vec<String> {
    let mut violations = Vec::new();
    for package in packages
        .iter()
        .filter(|package| must_forbid(&package.folder))
    {
        let roots = ["src/lib.rs", "src/main.rs"].map(|file| package.folder.join(file));
        for file in roots.iter().filter(|file| root.join(file).exists()) {
            let text = fs::read_to_string(root.join(file)).unwrap_or_default();
            if !Source::read(&text).code.contains("#![forbid(unsafe_code)]") {
                violations.push(format!(
                    "{}: #![forbid(unsafe_code)] is missing",
                    file.display()
                ));
            }
        }
    }
    violations
}

fn outside(sources: &[(String, Source)]) -> Vec<String> {
    let elsewhere = sources.iter().filter(|(path, _)| {
        !MAY_BE_UNSAFE
            .iter()
            .any(|folder| Path::new(path).starts_with(folder))
    });
    let say = |path: &String, line| {
        format!(
            "{path}:{line}: unsafe code belongs in {}",
            MAY_BE_UNSAFE.join(", ")
        )
    };
    elsewhere
        .flat_map(|(path, source)| {
            source
                .unsafe_lines()
                .into_iter()
                .map(move |line| say(path, line))
        })
        .collect()
}

fn each(sources: &[(String, Source)], rule: fn(&Source) -> Vec<usize>) -> Vec<String> {
    let say =
        |path: &String, line| format!("{path}:{line}: there is no // SAFETY: comment above it");
    sources
        .iter()
        .flat_map(|(path, source)| rule(source).into_iter().map(move |line| say(path, line)))
        .collect()
}

/// The limit on a function's length and the other lints hold only where a package takes them.
fn linted(root: &Path, packages: &[Package]) -> Vec<String> {
    let manifest = |package: &Package| package.folder.join("Cargo.toml");
    let takes = |package: &&Package| {
        let text = fs::read_to_string(root.join(manifest(package))).unwrap_or_default();
        let mut lines = text
            .lines()
            .skip_while(|line| line.trim() != "[lints]")
            .skip(1);
        lines
            .next()
            .is_some_and(|line| line.trim() == "workspace = true")
    };
    let lacking = packages.iter().filter(|package| !takes(package));
    lacking
        .map(|package| {
            format!(
                "{}: [lints] workspace = true is missing",
                manifest(package).display()
            )
        })
        .collect()
}

/// The numbers of the list under the heading that speaks of invariants.
fn numbers(architecture: &str) -> BTreeSet<u32> {
    let mut numbers = BTreeSet::new();
    let mut inside = false;
    for line in architecture.lines() {
        if line.starts_with('#') {
            inside = line.to_lowercase().contains("invariant");
        } else if inside && let Some((number, _)) = line.trim_start_matches("- ").split_once('.') {
            let number = number
                .trim_start_matches(['[', '*', 'I'])
                .trim_end_matches([']', '*']);
            numbers.extend(number.parse::<u32>());
        }
    }
    numbers
}

/// Numbers that a line cites: `[I7]`, or the word and then the number.
fn cited(line: &str) -> Vec<u32> {
    let lower = line.to_lowercase();
    let mut found = Vec::new();
    for mark in ["[i", "invariant "] {
        for (place, _) in lower.match_indices(mark) {
            let rest = lower.get(place + mark.len()..).unwrap_or_default();
            let end = rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len());
            let (digits, behind) = rest.split_at(end);
            if mark != "[i" || behind.starts_with(']') {
                found.extend(digits.parse::<u32>());
            }
        }
    }
    found
}

fn citations(files: &[(String, String)], known: &BTreeSet<u32>) -> Vec<String> {
    let own = |path: &str| path.starts_with("xtask/src/checks");
    let mut violations = Vec::new();
    for (path, text) in files
        .iter()
        .filter(|(path, _)| path.ends_with(".rs") && !own(path))
    {
        for (index, line) in text.lines().enumerate() {
            let missing = cited(line)
                .into_iter()
                .filter(|number| !known.contains(number));
            violations.extend(missing.map(|number| {
                format!(
                    "{path}:{}: {ARCHITECTURE} has no invariant {number}",
                    index + 1
                )
            }));
        }
    }
    violations
}

fn machine_paths(files: &[(String, String)]) -> Vec<String> {
    // Written in pieces, so that this file does not break its own rule.
    let forbidden = [
        concat!("/", "work/"),
        concat!("/", "root/."),
        concat!("/", "home/"),
    ];
    let mut violations = Vec::new();
    for (path, text) in files {
        for (index, line) in text.lines().enumerate() {
            let found = forbidden.iter().find(|start| has_absolute(line, start));
            violations
                .extend(found.map(|start| format!("{path}:{}: a path below {start}", index + 1)));
        }
    }
    violations
}

/// Whether `start` begins a path in `line`, rather than being the middle of one.
fn has_absolute(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(place, _)| {
        let before = line.get(..place).and_then(|text| text.chars().next_back());
        before.is_none_or(|c| !(c.is_alphanumeric() || "._-}".contains(c)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendors_words_are_found_and_others_are_not() {
        for line in ["the AMD unit", "a DTE.", "VT-d", "read_ivrs(x)", "irte"] {
            assert!(vendor_word(line).is_some(), "{line}");
        }
        for line in ["a virtual amdahl", "update", "commanded", "unit"] {
            assert_eq!(vendor_word(line), None);
        }
    }

    #[test]
    fn no_vendors_word_stands_where_none_may() {
        let rule = "no vendor's words above the IOMMU dialects";
        let checks = run().expect("a readable tree");
        let check = checks.iter().find(|it| it.rule == rule).expect("the rule");
        assert!(check.violations.is_empty(), "{:#?}", check.violations);
    }

    #[test]
    fn crates_that_must_forbid_unsafe() {
        let must = |folder: &str| must_forbid(Path::new(folder));
        assert!(must("hypervisor/kernel") && must("root-agent"));
        assert!(
            !must("hypervisor") && !must("root-agent/runtime") && !must("boot") && !must("xtask")
        );
    }

    #[test]
    fn unsafe_outside_its_folders_is_found() {
        let sources = [
            (
                "hypervisor/src/main.rs".to_string(),
                Source::read("unsafe fn f() {}"),
            ),
            (
                "hypervisor/kernel/src/lib.rs".to_string(),
                Source::read("fn g() {}\nunsafe fn f() {}"),
            ),
        ];
        let found = outside(&sources);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("hypervisor/kernel/src/lib.rs:2:"),
            "{found:?}"
        );
    }

    #[test]
    fn invariants_are_numbered_and_cited() {
        let text = "# X\n1. not one\n## Invariants\n1. a\n   more\n2. b\n11. c\n## Locks\n3. no\n";
        let known = numbers(text);
        assert_eq!(known, BTreeSet::from([1, 2, 11]));
        assert_eq!(
            cited("// [I7] and Invariant 11; [index] invariant x, [i]"),
            [7, 11]
        );
        let files = [
            ("a.rs".to_string(), "// [I2]\n// [I3]\n".to_string()),
            ("b.md".into(), "[I9]".into()),
        ];
        assert_eq!(
            citations(&files, &known),
            [format!("a.rs:2: {ARCHITECTURE} has no invariant 3")]
        );
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        let home = concat!("/", "home/");
        assert!(has_absolute(&format!("see {home}x"), home));
        assert!(has_absolute(&format!("{home}x"), home));
        assert!(
            !has_absolute(&format!("https://example.org{home}x/index"), home) || home.is_empty()
        );
        assert!(!has_absolute(&format!("a{home}x"), home));
    }
}
