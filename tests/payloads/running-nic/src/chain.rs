//! The loader, from the volume that this stage came from.

use core::mem::MaybeUninit;

use uefi::boot::{self, LoadImageSource};
use uefi::proto::BootPolicy;
use uefi::proto::device_path::build::{DevicePathBuilder, media::FilePath};
use uefi::proto::device_path::{DeviceSubType, DeviceType, LoadedImageDevicePath};

const LONGEST: usize = 1024;

/// Starts the loader; comes back only when that fails.
pub fn load() -> Result<(), &'static str> {
    let own = boot::open_protocol_exclusive::<LoadedImageDevicePath>(boot::image_handle())
        .map_err(|_| "the stage does not know where it came from")?;
    let mut room = [MaybeUninit::uninit(); LONGEST];
    let mut path = DevicePathBuilder::with_buf(&mut room);
    let file = (DeviceType::MEDIA, DeviceSubType::MEDIA_FILE_PATH);
    for node in own.node_iter().take_while(|node| node.full_type() != file) {
        path = path.push(&node).map_err(|_| "the path is too long")?;
    }
    let loader = FilePath {
        path_name: uefi::cstr16!("\\EFI\\BOOT\\LOADER.EFI"),
    };
    let path = path.push(&loader).map_err(|_| "the path is too long")?;
    let path = path.finalize().map_err(|_| "the path is too long")?;
    let source = LoadImageSource::FromDevicePath {
        device_path: path,
        boot_policy: BootPolicy::ExactMatch,
    };
    let image = boot::load_image(boot::image_handle(), source)
        .map_err(|_| "the loader cannot be loaded")?;
    boot::start_image(image).map_err(|_| "the loader came back")
}
