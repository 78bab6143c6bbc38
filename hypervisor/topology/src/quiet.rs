//! Puts a function to rest at boot: what firmware may have left on that goes around the IOMMU or makes new requesters is
//! switched off, and the access controls that isolation needs are switched on.

use address::DeviceId;

use crate::{ConfigSpace, Function, Header};

const COMMAND: u16 = 0x04;
const BUS_MASTER: u16 = 1 << 2;

/// ACS source validation, request redirect, completion redirect, upstream forwarding.
pub(crate) const ACS_NEEDED: u16 = 1 | 1 << 2 | 1 << 3 | 1 << 4;

/// Puts a function to rest again, as at boot: after a reset, before anything may attach it. Returns whether access control came
/// back as the groups assume it; where it did not, the function must stay blocked.
pub fn rest<C: ConfigSpace>(config: &mut C, known: &Function) -> bool {
    let mut now = known.clone();
    if let Some(acs) = &mut now.acs {
        // A control that the function lost is set anew, none is taken away.
        acs.enabled |= config.read16(known.id, acs.offset + 6);
    }
    function(config, &mut now);
    let enabled = |function: &Function| function.acs.map_or(0, |acs| acs.enabled & ACS_NEEDED);
    enabled(&now) & enabled(known) == enabled(known)
}

/// Clears and sets what must be. Host bridges are left alone; bridges keep forwarding.
pub(crate) fn function<C: ConfigSpace>(config: &mut C, function: &mut Function) {
    if function.is_host_bridge() {
        return;
    }
    let id = function.id;
    if function.header == Header::Device {
        function.mastering = config.read16(id, COMMAND) & BUS_MASTER != 0;
        clear(config, id, Some(COMMAND), BUS_MASTER);
        clear(
            config,
            id,
            function.msi.map(|msi| msi.offset + 2),
            1 | 7 << 4,
        );
        clear(
            config,
            id,
            function.msix.map(|msix| msix.offset + 2),
            1 << 15,
        );
        // Phantom functions speak under ids that no table mentions.
        clear(
            config,
            id,
            function.pcie.map(|pcie| pcie.offset + 8),
            1 << 9,
        );
    }
    clear(config, id, function.sriov.map(|sriov| sriov.offset + 8), 1);
    clear(config, id, function.ats.map(|ats| ats + 6), 1 << 15);
    clear(config, id, function.pri.map(|pri| pri + 4), 1);
    clear(config, id, function.pasid.map(|pasid| pasid + 6), 7);
    if let Some(acs) = &mut function.acs {
        let wanted = acs.enabled & acs.capable | acs.capable & ACS_NEEDED;
        // Translated requests with ATS off are nobody's: the bit that lets them pass stays off.
        config.write16(id, acs.offset + 6, wanted & !(1 << 6));
        acs.enabled = config.read16(id, acs.offset + 6);
    }
}

fn clear<C: ConfigSpace>(config: &mut C, id: DeviceId, offset: Option<u16>, bits: u16) {
    if let Some(offset) = offset {
        let value = config.read16(id, offset);
        if value & bits != 0 {
            config.write16(id, offset, value & !bits);
        }
    }
}
