//! A private root: packages of a Debian release, unpacked into the user's cache folder and never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::succeeds;
use crate::progress::{Ticker, quietly, say};
use crate::workspace;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What a private root is made of.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Its folder's name in the cache; a changed recipe needs a new one.
    pub name: &'static str,
    /// What it is, for a person.
    pub what: &'static str,
    /// The release of the main archive.
    pub release: &'static str,
    /// Whether the release's security archive belongs to it.
    pub security: bool,
    /// The packages; what they depend on comes along.
    pub packages: &'static [&'static str],
    /// Packages that are left out by the start of their name.
    pub left_out: &'static [&'static str],
    /// About how much is fetched and how much is unpacked, in MB.
    pub size: (u32, u32),
}

/// The machine's own mirrors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrors {
    /// Of the main archive.
    pub main: String,
    /// Of the security archive, when apt knows one.
    pub security: Option<String>,
}

/// The folder of a finished private root, when there is one.
pub fn finished(recipe: &Recipe) -> Result<Option<PathBuf>> {
    let root = workspace::cache()?.join(recipe.name);
    Ok(root.is_dir().then_some(root))
}

/// Whether this machine can make private roots; the reason when it cannot.
pub fn possible() -> Result<()> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let debian = release.lines().any(|line| line == "ID=debian");
    ensure!(debian, "this is not a Debian system");
    ensure!(
        cfg!(target_arch = "x86_64"),
        "this is not an x86-64 machine"
    );
    for program in ["apt-get", "dpkg-deb"] {
        ensure!(
            succeeds(Command::new(program).arg("--version")),
            "{program} does not work here"
        );
    }
    ensure!(
        Path::new(KEYRING).exists(),
        "{KEYRING} is missing (package debian-archive-keyring)"
    );
    Ok(())
}

/// Makes the private root; the caller holds the set-up's lock. `check` sees the unpacked root before it counts.
pub fn make(recipe: &Recipe, check: impl Fn(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = workspace::cache()?;
    let (fetched, unpacked) = recipe.size;
    say(format!(
        "{} is missing: fetching Debian's packages of {} (about {fetched} MB, {unpacked} MB unpacked) into {}; \
         nothing is installed on the system",
        recipe.what,
        recipe.release,
        cache.display()
    ));
    // Only one set-up runs at a time, so a folder of this name is what an interrupted one left.
    let work = cache.join(format!("{}.unfinished", recipe.name));
    remove(&work)?;
    let root =
        fetch(recipe, &work).with_context(|| format!("{} could not be fetched", recipe.what))?;
    check(&root)?;
    let finished = cache.join(recipe.name);
    fs::rename(&root, &finished).with_context(|| format!("cannot rename {}", root.display()))?;
    remove(&work)?;
    Ok(finished)
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

fn fetch(recipe: &Recipe, work: &Path) -> Result<PathBuf> {
    for folder in ["etc", "lists/partial", "cache/archives/partial", "root"] {
        let folder = work.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let log = work.join("log");
    let mirrors = mirrors(work, &log)?;
    fs::write(work.join("status"), "")?;
    fs::write(work.join("etc/sources.list"), sources(recipe, &mirrors)?)?;
    quietly("reading the package lists", apt(work).arg("update"), &log)?;
    let mut install = apt(work);
    install
        .args([
            "install",
            "-y",
            "--download-only",
            "--no-install-recommends",
        ])
        .args(recipe.packages);
    quietly("fetching the packages", &mut install, &log)?;
    let root = work.join("root");
    unpack(recipe, &work.join("cache/archives"), &root)?;
    Ok(root)
}

/// `apt-get` that knows only the folder `work`: neither the system's packages nor its settings.
fn apt(work: &Path) -> Command {
    let mut command = Command::new("apt-get");
    let folder = |name: &str| work.join(name).display().to_string();
    let options = [
        format!("Dir::Etc::sourcelist={}", folder("etc/sources.list")),
        "Dir::Etc::sourceparts=/dev/null".into(),
        "Dir::Etc::preferencesparts=/dev/null".into(),
        "Dir::Etc::preferences=/dev/null".into(),
        format!("Dir::State={}", work.display()),
        format!("Dir::State::lists={}", folder("lists")),
        format!("Dir::State::status={}", folder("status")),
        format!("Dir::Cache={}", folder("cache")),
        // As root, apt would fetch as a user of its own, who cannot write here.
        "APT::Sandbox::User=root".into(),
        "Acquire::Retries=3".into(),
    ];
    for option in options {
        command.arg("-o").arg(option);
    }
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C");
    command
}

/// The text of `sources.list`.
pub fn sources(recipe: &Recipe, mirrors: &Mirrors) -> Result<String> {
    let line = |uri: &str, suite: &str| format!("deb [signed-by={KEYRING}] {uri} {suite} main\n");
    let mut text = line(&mirrors.main, recipe.release);
    if recipe.security {
        let Some(uri) = &mirrors.security else {
            bail!(
                "apt knows no Debian security archive: add {}-security to its sources",
                recipe.release
            );
        };
        text.push_str(&line(uri, &format!("{}-security", recipe.release)));
    }
    Ok(text)
}

/// Asks apt for the machine's mirrors: no name of a host is written in this program.
fn mirrors(work: &Path, log: &Path) -> Result<Mirrors> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let named = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let codename = named.unwrap_or_default().trim_matches('"');
    if let Some(mirrors) = choose(&targets(None)?, codename) {
        return Ok(mirrors);
    }
    // apt learns a source's code name with its package lists, which a fresh machine does not have yet.
    let lists = work.join("system-lists");
    fs::create_dir_all(lists.join("partial"))?;
    let mut update = Command::new("apt-get");
    update
        .args(list_option(&lists))
        .args(["-o", "APT::Sandbox::User=root"]);
    // An archive that cannot be reached does not matter as long as Debian's own can.
    let _ = quietly(
        "asking apt for the machine's mirrors",
        update.arg("update"),
        log,
    );
    let found = choose(&targets(Some(&lists))?, codename);
    found
        .with_context(|| format!("apt has no source for Debian \"{codename}\" that can be reached"))
}

fn list_option(lists: &Path) -> [String; 2] {
    [
        "-o".into(),
        format!("Dir::State::lists={}", lists.display()),
    ]
}

fn targets(lists: Option<&Path>) -> Result<String> {
    let mut command = Command::new("apt-get");
    if let Some(lists) = lists {
        command.args(list_option(lists));
    }
    let output = command
        .args(["indextargets", "--format", "$(CODENAME)|$(REPO_URI)"])
        .output();
    let output = output.context("cannot start apt-get")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Picks from lines `CODENAME|URI`.
fn choose(targets: &str, codename: &str) -> Option<Mirrors> {
    let find = |wanted: &str| {
        let mut lines = targets.lines().filter_map(|line| line.split_once('|'));
        lines
            .find(|(name, _)| *name == wanted)
            .map(|(_, uri)| uri.trim().to_string())
    };
    let security = find(&format!("{codename}-security"));
    Some(Mirrors {
        main: find(codename).filter(|_| !codename.is_empty())?,
        security,
    })
}

fn unpack(recipe: &Recipe, archives: &Path, root: &Path) -> Result<()> {
    let listed = fs::read_dir(archives).context("apt fetched nothing")?;
    let mut packages: Vec<PathBuf> = listed
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    packages.retain(|path| wanted(recipe, path));
    packages.sort();
    ensure!(!packages.is_empty(), "apt fetched no packages");
    let mut ticker = Ticker::new("unpacking");
    for (index, package) in packages.iter().enumerate() {
        let unpacked = succeeds(Command::new("dpkg-deb").arg("-x").arg(package).arg(root));
        ensure!(
            unpacked,
            "{} cannot be unpacked: is the disk full?",
            package.display()
        );
        ticker.tick(&format!("({} of {})", index + 1, packages.len()));
    }
    ticker.done();
    Ok(())
}

fn wanted(recipe: &Recipe, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".deb") && !recipe.left_out.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: Recipe = Recipe {
        name: "x",
        what: "x",
        release: "bookworm",
        security: true,
        packages: &["rustc-web"],
        left_out: &["libc6"],
        size: (1, 1),
    };

    const TARGETS: &str = "|http://other.example/x\nbookworm-updates|http://a.example/debian/\n\
        bookworm|http://a.example/debian/\nbookworm-security|http://b.example/security/\n";

    #[test]
    fn mirrors_come_from_apt() {
        let mirrors = choose(TARGETS, "bookworm").unwrap();
        assert_eq!(mirrors.main, "http://a.example/debian/");
        assert_eq!(
            mirrors.security.as_deref(),
            Some("http://b.example/security/")
        );
        assert_eq!(choose(TARGETS, "trixie"), None);
        assert_eq!(choose(TARGETS, ""), None);
    }

    #[test]
    fn sources_name_both_archives() {
        let mirrors = choose(TARGETS, "bookworm").unwrap();
        let text = sources(&RECIPE, &mirrors).unwrap();
        let expected = format!(
            "deb [signed-by={KEYRING}] http://a.example/debian/ bookworm main\n\
             deb [signed-by={KEYRING}] http://b.example/security/ bookworm-security main\n"
        );
        assert_eq!(text, expected);
        let without = Mirrors {
            security: None,
            ..mirrors
        };
        assert!(
            sources(&RECIPE, &without)
                .unwrap_err()
                .to_string()
                .contains("security archive")
        );
        assert!(
            sources(
                &Recipe {
                    security: false,
                    ..RECIPE
                },
                &without
            )
            .is_ok()
        );
    }

    #[test]
    fn some_packages_are_left_out() {
        assert!(wanted(&RECIPE, Path::new("/a/rustc-web_1.96_amd64.deb")));
        assert!(!wanted(&RECIPE, Path::new("/a/libc6_2.36_amd64.deb")));
        assert!(!wanted(&RECIPE, Path::new("/a/lock")));
    }
}
