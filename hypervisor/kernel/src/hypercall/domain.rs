//! Device domains.

use abi::Status;
use abi::domain::{Attach, Domain, IDENTITY, Map, NULL, Unmap, WithFlags};
use abi::partition::privilege;
use address::{Gpa, Iova, PAGE_SHIFT, PartitionId};
use device::DomainName;
use paging::{MemoryType, Rights};

use super::device::pci;
use super::{Outcome, Request};
use crate::Kernel;
use crate::memory::{Frames, Holder};
use crate::partition::{Partition, PartitionCell, State};
use crate::seams::Machine;
use crate::status::IntoStatus;

/// Repetitions that one execution of an unmapping or a query handles.
const PER_SLICE: u16 = 512;

/// A domain that an argument names, with its owner.
struct Named<'a> {
    name: DomainName,
    id: u32,
    cell: &'a PartitionCell,
}

impl<M: Machine> Kernel<M> {
    /// The domain that an argument names; its owner exists, the domain itself perhaps not.
    fn domain(&self, request: &Request<'_>, input: &Domain) -> Result<Named<'_>, Status> {
        request.caller.needs(privilege::CPU_MANAGEMENT)?;
        if input.vtl != 0 || input.reserved != [0; 7] || input.id as u32 != 0 {
            return Err(Status::INVALID_PARAMETER);
        }
        let owner = request.caller.resolve(input.partition);
        let cell = self
            .partitions
            .get(owner)
            .ok_or(Status::INVALID_PARTITION_ID)?;
        let id = (input.id >> 32) as u32;
        let name = match id {
            IDENTITY => DomainName::identity(owner),
            _ => DomainName::numbered(owner, id),
        };
        Ok(Named { name, id, cell })
    }

    /// As [`Kernel::domain`], for calls that do not work on the identity domain, which follows the GPA map by itself.
    fn numbered(&self, request: &Request<'_>, input: &Domain) -> Result<Named<'_>, Status> {
        let named = self.domain(request, input)?;
        if matches!(named.id, IDENTITY | NULL) {
            Err(Status::OPERATION_DENIED)
        } else {
            Ok(named)
        }
    }

    pub(super) fn create_device_domain(
        &self,
        request: &mut Request<'_>,
    ) -> Result<Outcome, Status> {
        let input: WithFlags = request.parameters()?;
        let named = self.numbered(request, &input.domain)?;
        if input.flags != 0 || input.reserved != 0 {
            return Err(Status::INVALID_PARAMETER);
        }
        let mut body = initialized(named.cell)?;
        let pool = &mut body.pool.source(self.machine.tables());
        let mut devices = self.devices.lock();
        devices
            .create_domain(named.name.owner, named.id, pool)
            .map_err(IntoStatus::status)?;
        Ok(Outcome::Done)
    }

    /// Removes a domain without devices. It maps nothing any more: what it mapped has been given back one by one.
    pub(super) fn delete_device_domain(
        &self,
        request: &mut Request<'_>,
    ) -> Result<Outcome, Status> {
        let input: Domain = request.parameters()?;
        let named = self.numbered(request, &input)?;
        let mut body = initialized(named.cell)?;
        let pool = &mut body.pool.source(self.machine.tables());
        let mut devices = self.devices.lock();
        if devices
            .domain_info(named.name)
            .ok_or(Status::NOT_FOUND)?
            .pages
            != 0
        {
            return Err(Status::OBJECT_IN_USE);
        }
        let progress = devices
            .delete_domain(
                named.name.owner,
                named.id,
                pool,
                super::lifecycle::TEARDOWN_STEPS,
            )
            .map_err(IntoStatus::status)?;
        Ok(match progress {
            device::Progress::Done => Outcome::Done,
            device::Progress::More => Outcome::Retry,
        })
    }

    pub(super) fn attach_device_domain(
        &self,
        request: &mut Request<'_>,
    ) -> Result<Outcome, Status> {
        let input: Attach = request.parameters()?;
        let named = self.domain(request, &input.domain)?;
        let device = pci(input.device)?;
        let mut body = initialized(named.cell)?;
        let pool = &mut body.pool.source(self.machine.tables());
        let mut devices = self.devices.lock();
        if named.id == NULL {
            devices
                .detach_domain(device, named.name.owner)
                .map_err(IntoStatus::status)?;
        } else {
            devices
                .attach_domain(device, named.name, pool)
                .map_err(IntoStatus::status)?;
        }
        Ok(Outcome::Done)
    }

    /// Maps pages of the owner's GPA map: RAM that its SLAT maps, with no right that the SLAT does not give.
    pub(super) fn map_device_gpa_pages(
        &self,
        request: &mut Request<'_>,
    ) -> Result<Outcome, Status> {
        let input: Map = request.parameters()?;
        let named = self.numbered(request, &input.domain)?;
        let rights = match input.flags {
            1 => Rights::READ,
            3 => Rights::READ | Rights::WRITE,
            _ => return Err(Status::INVALID_PARAMETER),
        };
        if input.target_vtl != 0 || input.reserved != [0; 3] {
            return Err(Status::INVALID_PARAMETER);
        }
        let offset = u64::from(request.control.start()) << PAGE_SHIFT;
        let start = input
            .iova
            .checked_add(offset)
            .ok_or(Status::INVALID_PARAMETER)?;
        let list: &[u64] = request.rest()?;
        let mut frames = self.frames.lock();
        let mut body = initialized(named.cell)?;
        let mut spas = [0u64; abi::domain::MAP_MAX];
        let (pinned, mut status) = self.pin_all(&mut frames, &body, list, rights, &mut spas);
        let pool = &mut body.pool.source(self.machine.tables());
        let mut devices = self.devices.lock();
        let pages = spas.get(..pinned).ok_or(Status::INVALID_PARAMETER)?;
        let (done, result) = devices.map(named.name, Iova::new(start), pages, rights, pool);
        if let Err(error) = result {
            status = error.status();
        }
        pages.iter().skip(done).for_each(|&page| frames.unpin(page));
        Ok(Outcome::Reps(done as u16, status))
    }

    /// Finds the frames behind pages of a GPA map, and counts a domain mapping of each, as far as they may be mapped.
    fn pin_all(
        &self,
        frames: &mut Frames,
        body: &Partition,
        list: &[u64],
        rights: Rights,
        spas: &mut [u64],
    ) -> (usize, Status) {
        let Some(slat) = body.slat.live() else {
            return (0, Status::INVALID_PARTITION_STATE);
        };
        let is_root = body.is_root();
        for (index, (&gpfn, spa)) in list.iter().zip(spas).enumerate() {
            let found = Gpa::from_page(gpfn)
                .and_then(|gpa| slat.query(self.machine.tables(), gpa.as_u64()));
            let Some(found) = found.filter(|found| found.access.memory == MemoryType::WriteBack)
            else {
                return (index, Status::INVALID_PARAMETER);
            };
            if !found.access.rights.contains(rights) {
                return (index, Status::ACCESS_DENIED);
            }
            if let Err(refused) = frames.pin(found.spa.page(), body.holder, is_root) {
                return (index, refused.status());
            }
            *spa = found.spa.page();
        }
        (list.len(), Status::SUCCESS)
    }

    pub(super) fn unmap_device_gpa_pages(
        &self,
        request: &mut Request<'_>,
    ) -> Result<Outcome, Status> {
        let input: Unmap = request.parameters()?;
        let named = self.numbered(request, &input.domain)?;
        let reps = request.left().min(PER_SLICE);
        let offset = u64::from(request.control.start()) << PAGE_SHIFT;
        let start = input
            .iova
            .checked_add(offset)
            .ok_or(Status::INVALID_PARAMETER)?;
        let mut frames = self.frames.lock();
        let mut body = initialized(named.cell)?;
        let pool = &mut body.pool.source(self.machine.tables());
        let mut devices = self.devices.lock();
        let removed = &mut *request.removed;
        removed.clear();
        let (owed, result) = devices
            .unmap_with(
                named.name,
                Iova::new(start),
                u64::from(reps),
                pool,
                |entry| removed.push(&entry),
            )
            .map_err(IntoStatus::status)?;
        let proof = devices.flush(owed).map_err(IntoStatus::status)?;
        request.removed.pages().for_each(|page| frames.unpin(page));
        let done = proof.pages() as u16;
        proof.release(pool);
        Ok(match result {
            Err(error) => Outcome::Reps(done, error.status()),
            Ok(()) if reps < request.left() => Outcome::Again(done),
            Ok(()) => Outcome::Reps(done, Status::SUCCESS),
        })
    }

    pub(super) fn query_device_domain(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let input: Domain = request.parameters()?;
        let named = self.domain(request, &input)?;
        let start = usize::from(request.control.start());
        let devices = self.devices.lock();
        for done in 0..request.left() {
            let at = start + usize::from(done);
            let iova = request.list::<u64>()?[at];
            let found = devices
                .query(named.name, Iova::new(iova))
                .map_err(IntoStatus::status)?;
            let Some(found) = found else {
                return Ok(Outcome::Reps(done, Status::NOT_FOUND));
            };
            request.answer(at, &found.spa.page());
        }
        Ok(Outcome::Done)
    }

    pub(super) fn flush_device_domain(&self, request: &mut Request<'_>) -> Result<Outcome, Status> {
        let input: WithFlags = request.parameters()?;
        let named = self.domain(request, &input.domain)?;
        if input.flags != 0 || input.reserved != 0 {
            return Err(Status::INVALID_PARAMETER);
        }
        self.devices
            .lock()
            .flush_domain(named.name)
            .map_err(IntoStatus::status)?;
        Ok(Outcome::Done)
    }

    /// Whether any page of a range of a child's map is pinned by a domain of its own; the number of pages before the first.
    pub(super) fn before_pinned(
        &self,
        frames: &Frames,
        body: &Partition,
        start: u64,
        pages: u64,
    ) -> u64 {
        let Some(slat) = body.slat.live() else {
            return 0;
        };
        // What the hypercall page hides stays in place as long as it does.
        let pages = body
            .overlay
            .map_or(pages, |overlay| overlay.pages_before(start, pages));
        if !frames.holds_pins(body.holder) {
            return pages;
        }
        (0..pages)
            .find(|page| {
                let found = slat.query(self.machine.tables(), start + (page << PAGE_SHIFT));
                found.is_some_and(|found| frames.is_pinned(found.spa.page()))
            })
            .unwrap_or(pages)
    }

    /// Partitions that a unit's failure took devices from.
    #[must_use]
    pub fn holder_of(&self, partition: PartitionId) -> Option<Holder> {
        self.partitions
            .get(partition)
            .map(|cell| cell.body.lock().holder)
    }
}

/// A partition that can have domains, locked.
pub(super) fn initialized(cell: &PartitionCell) -> Result<spin::MutexGuard<'_, Partition>, Status> {
    let body = cell.body.lock();
    if body.state == State::Initialized {
        Ok(body)
    } else {
        Err(Status::INVALID_PARTITION_STATE)
    }
}
