//! One reading of a function's configuration space. Nothing of it is read again later (CFG-08).

use address::DeviceId;
use alloc::vec::Vec;
use arrayvec::ArrayVec;

use crate::capability::{self, Broken, Capability, extended_id, id};
use crate::{
    Acs, Bar, Bridge, ConfigSpace, Function, Header, Intx, Msi, MsiX, Pcie, PortType, Reason,
    RequesterRange, SrIov, bar, quiet, sharing,
};

/// Reads a function and puts it to rest; `None` where there is none.
pub(crate) fn read<C: ConfigSpace>(
    config: &mut C,
    id: DeviceId,
    parent: Option<usize>,
) -> Option<Function> {
    let name = config.read32(id, 0);
    let (vendor, device) = (name as u16, (name >> 16) as u16);
    if vendor == u16::MAX || vendor == 0 {
        return None;
    }
    let mut function = blank(id, vendor, device, parent);
    let class = config.read32(id, 8);
    function.class = class >> 8;
    function.revision = class as u8;
    function.header = header(config, id);
    function.intx = sharing::pin(config, id).map(|pin| Intx {
        root_device: id.device(),
        root_bus: id.bus(),
        pin,
        shared: false,
    });
    let wrong = fill(config, &mut function);
    let unstable = config.read32(id, 0) != name || config.read32(id, 8) != class;
    function.unassignable = kind(&function)
        .or(unstable.then_some(Reason::Unstable))
        .or(wrong.err());
    Some(function)
}

fn blank(id: DeviceId, vendor: u16, device: u16, parent: Option<usize>) -> Function {
    let own = RequesterRange::single(id.requester);
    Function {
        id,
        vendor,
        device,
        class: 0,
        revision: 0,
        header: Header::Other(0x7f),
        parent,
        bars: [None; 6],
        msi: None,
        msix: None,
        pcie: None,
        power: None,
        advanced_features: None,
        flr: false,
        acs: None,
        ats: None,
        pri: None,
        pasid: None,
        sriov: None,
        intx: None,
        aliases: ArrayVec::from_iter([own]),
        interrupt_source: own,
        group: 0,
        unit: None,
        rmrr: false,
        mastering: false,
        unassignable: None,
    }
}

fn header<C: ConfigSpace>(config: &mut C, id: DeviceId) -> Header {
    match config.read8(id, 0x0e) & 0x7f {
        0 => Header::Device,
        1 => Header::Bridge(Bridge {
            secondary: config.read8(id, 0x19),
            subordinate: config.read8(id, 0x1a),
            walked: false,
        }),
        other => Header::Other(other),
    }
}

/// What the function is rules it out before anything that it says.
fn kind(function: &Function) -> Option<Reason> {
    match function.header {
        _ if function.is_host_bridge() => Some(Reason::HostBridge),
        Header::Bridge(_) => Some(Reason::Bridge),
        Header::Other(_) => Some(Reason::UnknownHeader),
        Header::Device if function.base_class() == 6 => Some(Reason::Bridge),
        Header::Device if function.is_iommu() => Some(Reason::Iommu),
        Header::Device => None,
    }
}

fn fill<C: ConfigSpace>(config: &mut C, function: &mut Function) -> Result<(), Reason> {
    let id = function.id;
    if matches!(function.header, Header::Other(_)) {
        return Ok(());
    }
    // What can be read is kept even where the rest is broken: the guard and the groups go by it.
    let capabilities = lists(config, function).map_err(|Broken| Reason::BrokenCapabilities);
    quiet::function(config, function);
    // A host bridge decodes what the whole machine needs: it is not sized.
    if function.is_host_bridge() {
        return capabilities;
    }
    let registers = if function.is_bridge() { 2 } else { 6 };
    let (bars, broken) = bar::size_all(config, id, registers);
    function.bars = bars;
    capabilities?;
    match broken {
        Some(index) => Err(Reason::BrokenBar(index)),
        None => check_msix(function),
    }
}

fn lists<C: ConfigSpace>(config: &mut C, function: &mut Function) -> Result<(), Broken> {
    let list = capability::conventional(config, function.id)?;
    conventional(config, function, &list)?;
    if function.pcie.is_none() {
        return Ok(());
    }
    let list: Vec<Capability> = capability::extended(config, function.id)?;
    extended(config, function, &list)
}

fn conventional<C: ConfigSpace>(
    config: &mut C,
    function: &mut Function,
    list: &[Capability],
) -> Result<(), Broken> {
    let (id, at) = (function.id, |id| capability::only(list, id));
    function.power = within(at(id::POWER)?, 8)?;
    function.pcie = within(at(id::PCIE)?, 12)?.map(|offset| pcie(config, id, offset));
    function.advanced_features = within(at(id::ADVANCED_FEATURES)?, 6)?;
    let advanced = match function.advanced_features {
        Some(offset) => config.read8(id, offset + 3) & 2 != 0,
        None => false,
    };
    function.flr = advanced || function.pcie.is_some_and(|pcie| pcie.flr);
    function.msi = at(id::MSI)?
        .map(|offset| msi(config, id, offset))
        .transpose()?;
    function.msix = within(at(id::MSIX)?, 12)?.map(|offset| msix(config, id, offset));
    Ok(())
}

/// The capability, if it ends inside conventional configuration space.
fn within(offset: Option<u16>, length: u16) -> Result<Option<u16>, Broken> {
    match offset {
        Some(offset) if offset > 0x100 - length => Err(Broken),
        offset => Ok(offset),
    }
}

fn pcie<C: ConfigSpace>(config: &mut C, id: DeviceId, offset: u16) -> Pcie {
    let flags = config.read16(id, offset + 2);
    Pcie {
        offset,
        port: match (flags >> 4) as u8 & 0xf {
            0 | 1 => PortType::Endpoint,
            4 => PortType::RootPort,
            5 => PortType::UpstreamPort,
            6 => PortType::DownstreamPort,
            7 => PortType::PcieToPci,
            8 => PortType::PciToPcie,
            9 => PortType::RootComplexEndpoint,
            10 => PortType::EventCollector,
            other => PortType::Other(other),
        },
        flr: config.read32(id, offset + 4) & 1 << 28 != 0,
    }
}

fn msi<C: ConfigSpace>(config: &mut C, id: DeviceId, offset: u16) -> Result<Msi, Broken> {
    let control = config.read16(id, offset + 2);
    let messages = control >> 1 & 7;
    let msi = Msi {
        offset,
        wide: control & 1 << 7 != 0,
        maskable: control & 1 << 8 != 0,
        messages: 1 << messages.min(5),
    };
    if messages > 5 || offset + msi.length() > 0x100 {
        return Err(Broken);
    }
    Ok(msi)
}

fn msix<C: ConfigSpace>(config: &mut C, id: DeviceId, offset: u16) -> MsiX {
    let table = config.read32(id, offset + 4);
    let pba = config.read32(id, offset + 8);
    MsiX {
        offset,
        vectors: (config.read16(id, offset + 2) & 0x7ff) + 1,
        table_bar: table as u8 & 7,
        table_offset: table & !7,
        pba_bar: pba as u8 & 7,
        pba_offset: pba & !7,
    }
}

/// Table and pending bits lie in memory BARs and apart from each other, or there is no MSI-X.
fn check_msix(function: &mut Function) -> Result<(), Reason> {
    let Some(msix) = function.msix else {
        return Ok(());
    };
    let table = (u64::from(msix.table_offset), msix.table_bytes());
    let pba = (u64::from(msix.pba_offset), msix.pba_bytes());
    let bar = |index: u8| function.bars.get(usize::from(index)).copied().flatten();
    let apart =
        msix.table_bar != msix.pba_bar || table.0 + table.1 <= pba.0 || pba.0 + pba.1 <= table.0;
    if apart && inside(bar(msix.table_bar), table) && inside(bar(msix.pba_bar), pba) {
        return Ok(());
    }
    function.msix = None;
    Err(Reason::BrokenMsiX)
}

fn inside(bar: Option<Bar>, (offset, bytes): (u64, u64)) -> bool {
    bar.is_some_and(|bar| bar.is_memory() && offset + bytes <= bar.size)
}

fn extended<C: ConfigSpace>(
    config: &mut C,
    function: &mut Function,
    list: &[Capability],
) -> Result<(), Broken> {
    let (id, at) = (function.id, |id, length: u16| {
        let offset = capability::only(list, id)?;
        // The last register of the capability lies inside the 4 KiB.
        if offset.is_some_and(|offset| offset > 0x1000 - length) {
            Err(Broken)
        } else {
            Ok(offset)
        }
    });
    function.ats = at(extended_id::ATS, 8)?;
    function.pri = at(extended_id::PRI, 16)?;
    function.pasid = at(extended_id::PASID, 8)?;
    function.acs = at(extended_id::ACS, 8)?.map(|offset| Acs {
        offset,
        capable: config.read16(id, offset + 4),
        enabled: config.read16(id, offset + 6),
    });
    function.sriov = at(extended_id::SRIOV, 64)?.map(|offset| sriov(config, id, offset));
    Ok(())
}

fn sriov<C: ConfigSpace>(config: &mut C, id: DeviceId, offset: u16) -> SrIov {
    SrIov {
        offset,
        total: config.read16(id, offset + 0x0e),
        first_offset: config.read16(id, offset + 0x14),
        stride: config.read16(id, offset + 0x16),
        device: config.read16(id, offset + 0x1a),
    }
}
