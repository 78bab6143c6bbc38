//! `cargo xtask image`: a disk image with a GPT and one EFI system partition.

use std::fs::{self, File, OpenOptions};
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use qemu_suite::scratch::Scratch;
use qemu_suite::volume::{self, VolumeFile};

use crate::build::{self, Flavor};
use crate::progress::say;
use crate::run::Refused;
use crate::setup;
use crate::workspace;

const MIB: u64 = 1 << 20;
/// Room for the partition tables at both ends.
const TABLES: u64 = MIB;
/// FAT32 needs at least 65,525 clusters, and some firmware accepts nothing smaller than it.
const SMALLEST_VOLUME: u64 = 64 * MIB;

/// The options of `cargo xtask image`.
#[derive(Args, Clone, Debug)]
pub struct Image {
    /// The file to write [default: target/portcullis/portcullis.img]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The start script [default: a script that only explains itself]
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// A further file for the boot volume's folder `portcullis` (a guest image, a module); may be repeated
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// `cargo xtask image`.
pub fn run(options: &Image) -> Result<()> {
    let (script, files) = inputs(options)?;
    let artifacts = build::build(&setup::toolchain()?, Flavor::Release)?;
    let scratch = Scratch::new("image")?;
    let payloads: Vec<String> = artifacts
        .payloads
        .keys()
        .filter(|name| *name == "net.elf")
        .cloned()
        .collect();
    volume::assemble(scratch.path(), &artifacts, &payloads, &script, &files)?;
    let default = workspace::metadata()?
        .target_folder
        .join("portcullis/portcullis.img");
    let out = options.out.clone().unwrap_or(default);
    write(scratch.path(), &out)?;
    say(format!("wrote {}", out.display()));
    say(format!(
        "to a USB stick at /dev/sdX, which loses its contents: dd if={} of=/dev/sdX bs=4M",
        out.display()
    ));
    Ok(())
}

fn inputs(options: &Image) -> Result<(String, Vec<VolumeFile>)> {
    let script = match &options.script {
        None => include_str!("../scripts/stick.cfg").to_string(),
        Some(path) => {
            let text = fs::read_to_string(path);
            text.map_err(|error| {
                Refused(format!(
                    "the script {} cannot be read: {error}",
                    path.display()
                ))
            })?
        }
    };
    let mut files = Vec::new();
    for path in &options.files {
        let name = path.file_name().filter(|_| path.is_file());
        let name = name.ok_or_else(|| Refused(format!("{} is not a file", path.display())))?;
        files.push(VolumeFile {
            name: name.to_string_lossy().into_owned(),
            source: path.clone(),
        });
    }
    Ok((script, files))
}

/// Writes the contents of `folder` as a bootable disk to `out`.
pub fn write(folder: &Path, out: &Path) -> Result<()> {
    let contents = size_of(folder)?;
    let volume_size = (contents + contents / 8 + 8 * MIB)
        .next_multiple_of(MIB)
        .max(SMALLEST_VOLUME);
    let volume = fat(folder, volume_size)?;
    let mut options = OpenOptions::new();
    let disk = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(out);
    let mut disk = disk.with_context(|| format!("cannot write {}", out.display()))?;
    let start = partition(&mut disk, volume_size)?;
    disk.seek(SeekFrom::Start(start))?;
    disk.write_all(&volume)
        .with_context(|| format!("cannot write {}", out.display()))?;
    disk.sync_all()?;
    Ok(())
}

/// Writes both partition tables; gives the byte at which the only partition begins.
fn partition(disk: &mut File, volume_size: u64) -> Result<u64> {
    let block = LogicalBlockSize::Lb512;
    let disk_size = volume_size + 2 * TABLES;
    disk.set_len(disk_size)?;
    let blocks = u32::try_from(disk_size / 512 - 1).unwrap_or(u32::MAX);
    ProtectiveMBR::with_lb_size(blocks).overwrite_lba0(disk)?;
    let config = GptConfig::new().writable(true).logical_block_size(block);
    let mut table = config.create_from_device(&mut *disk, None)?;
    let align = Some(MIB / 512);
    let id = table.add_partition(
        "Portcullis",
        volume_size,
        gpt::partition_types::EFI,
        0,
        align,
    )?;
    let first = table
        .partitions()
        .get(&id)
        .context("the partition is gone")?
        .first_lba;
    table.write()?;
    Ok(first * 512)
}

fn fat(folder: &Path, size: u64) -> Result<Vec<u8>> {
    let mut volume = Cursor::new(vec![0u8; usize::try_from(size)?]);
    let options = FormatVolumeOptions::new()
        .volume_label(*b"PORTCULLIS ")
        .fat_type(fatfs::FatType::Fat32);
    // One sector to a cluster: enough of them for FAT32 whatever the size of the volume.
    fatfs::format_volume(&mut volume, options.bytes_per_cluster(512))?;
    let filesystem = FileSystem::new(&mut volume, FsOptions::new())?;
    fill(&filesystem.root_dir(), folder)?;
    filesystem.unmount()?;
    Ok(volume.into_inner())
}

type Folder<'a, 'b> = fatfs::Dir<'a, &'b mut Cursor<Vec<u8>>>;

fn fill(to: &Folder<'_, '_>, from: &Path) -> Result<()> {
    for entry in entries(from)? {
        let name = entry
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if entry.is_dir() {
            fill(&to.create_dir(&name)?, &entry)?;
        } else {
            let contents =
                fs::read(&entry).with_context(|| format!("cannot read {}", entry.display()))?;
            let mut file = to.create_file(&name)?;
            file.write_all(&contents)?;
            file.flush()?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut entries = listed
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

fn size_of(folder: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in entries(folder)? {
        total += if entry.is_dir() {
            size_of(&entry)?
        } else {
            fs::metadata(&entry)?.len()
        };
    }
    ensure!(total < 1 << 31, "the boot volume would exceed 2 GiB");
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_is_written_can_be_read_back() {
        let scratch = Scratch::new("image").unwrap();
        let folder = scratch.path().join("volume");
        fs::create_dir_all(folder.join("EFI/BOOT")).unwrap();
        fs::write(folder.join("EFI/BOOT/BOOTX64.EFI"), b"loader").unwrap();
        fs::create_dir_all(folder.join("portcullis")).unwrap();
        fs::write(folder.join("portcullis/root-agent.elf"), b"agent").unwrap();
        let out = scratch.path().join("disk.img");
        write(&folder, &out).unwrap();

        let table = GptConfig::new().open(&out).unwrap();
        let partitions: Vec<_> = table
            .partitions()
            .values()
            .filter(|part| part.is_used())
            .collect();
        assert_eq!(partitions.len(), 1);
        assert_eq!(partitions[0].part_type_guid, gpt::partition_types::EFI);
        let start = partitions[0].first_lba as usize * 512;
        assert_eq!(start as u64 % MIB, 0);

        let bytes = fs::read(&out).unwrap();
        let volume = Cursor::new(bytes[start..start + SMALLEST_VOLUME as usize].to_vec());
        let filesystem = FileSystem::new(volume, FsOptions::new()).unwrap();
        assert_eq!(filesystem.fat_type(), fatfs::FatType::Fat32);
        // The second name is too long for a FAT of old.
        for (path, expected) in [
            ("EFI/BOOT/BOOTX64.EFI", "loader"),
            ("portcullis/root-agent.elf", "agent"),
        ] {
            let mut text = String::new();
            filesystem
                .root_dir()
                .open_file(path)
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            assert_eq!(text, expected);
        }
    }
}
