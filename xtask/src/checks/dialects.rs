//! What both dialects have carries one name; what only one has is justified where the architecture is described.

use std::collections::BTreeSet;

/// Folders that have a folder for each dialect of remapping hardware.
const PAIRS: [&str; 2] = ["hypervisor/iommu/src", "tests/model/src"];
const DIALECTS: [&str; 2] = ["vtd", "amdvi"];

/// Files of one dialect alone that `architecture` does not name.
pub fn unpaired(files: &[(String, String)], architecture: &str) -> Vec<String> {
    PAIRS
        .iter()
        .flat_map(|folder| {
            let [one, other] = DIALECTS.map(|dialect| names(files, folder, dialect));
            let alone = one.symmetric_difference(&other);
            let unnamed = alone.filter(|name| !architecture.contains(&format!("`{name}`")));
            unnamed
                .map(|name| format!("{folder}: {name} is of one dialect, and nobody says why"))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Names of the Rust files right in a dialect's folder.
fn names(files: &[(String, String)], folder: &str, dialect: &str) -> BTreeSet<String> {
    let start = format!("{folder}/{dialect}/");
    let inside = files
        .iter()
        .filter_map(|(path, _)| path.strip_prefix(&start));
    inside
        .filter(|name| !name.contains('/'))
        .map(str::to_string)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_dialect_has_alone_must_be_named() {
        let files = [
            "vtd/irte.rs",
            "vtd/root.rs",
            "vtd/tests/only.rs",
            "amdvi/irte.rs",
        ];
        let files = files.map(|path| (format!("hypervisor/iommu/src/{path}"), String::new()));
        assert_eq!(unpaired(&files, "`root.rs`: why"), [] as [&str; 0]);
        let found = unpaired(&files, "root.rs");
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("root.rs"), "{found:?}");
    }
}
