//! Page faults: from what a page of a mapping is to an entry in the page tables.

use congruent_geometry::Frame;
use congruent_machine::{Asid, Medium};

use super::files::Key;
use super::frames::Use;
use super::space::Entry;
use super::{Kernel, Need};
use crate::AreaId;
use crate::errno::Errno;
use crate::site::At;
use crate::tables::{Allowed, Pte};

impl<M: Medium> Kernel<M> {
    /// Makes a page of a mapping accessible, and says which frame it is in. With `force` (a debugger) the mapping's rights do not
    /// matter, but a page that is not the process's own is copied before it is stored to.
    ///
    /// Pages become writable at their first store only, as on cores that keep dirty bits in software.
    pub(super) fn fault(&mut self, asid: Asid, id: AreaId, page: u32, need: Need, force: bool) -> Result<Frame, Errno> {
        let area = self.area(asid, id)?;
        let entry = area.entries.get(page as usize).copied().ok_or(Errno::Fault)?;
        let write = need == Need::Write;
        let denied = match need {
            Need::Read => false,
            Need::Write => !area.write && (!force || area.shared),
            Need::Execute => !area.execute,
        };
        if entry == Entry::Hole || denied {
            return Err(Errno::Fault);
        }
        let (shared, object, user) = (area.shared, area.object, self.user(asid, area, page));
        let allowed = Allowed { write: write && area.write, execute: area.execute };
        let frame = match (entry, object) {
            (Entry::Own(frame), _) if write && self.frames.refs(frame) > 1 => self.copy_page(asid, id, page, frame)?,
            (Entry::Own(frame), _) => frame,
            (Entry::Swapped(slot), _) => {
                let frame = self.swap_in(slot, self.b.geometry.colour(user.va).index())?;
                self.set_entry(asid, id, page, Entry::Own(frame))?;
                // Others may have the page in the swap as well; this copy is this process's.
                frame
            }
            (_, None) => {
                let frame = self.allocate(Some(self.b.geometry.colour(user.va).index()), Use::Anon)?;
                let fresh = self.page_of(frame);
                if let Err(error) = self.policy.clear(&self.b, fresh, user) {
                    self.release(frame);
                    return Err(error);
                }
                self.set_entry(asid, id, page, Entry::Own(frame))?;
                frame
            }
            (_, Some((key, first))) => {
                let index = first + page;
                let cached = self.cached(key, index, Some(user))?;
                match (write, shared) {
                    (false, _) => cached,
                    (true, true) => {
                        self.soil(key, index);
                        cached
                    }
                    (true, false) => self.copy_page(asid, id, page, cached)?,
                }
            }
        };
        self.install(asid, id, page, frame, allowed)?;
        Ok(frame)
    }

    pub(super) fn set_entry(&mut self, asid: Asid, id: AreaId, page: u32, entry: Entry) -> Result<(), Errno> {
        self.area_mut(asid, id)?.entries[page as usize] = entry;
        Ok(())
    }

    /// A page of a shared object is about to be newer than the disk.
    pub(super) fn soil(&mut self, key: Key, index: u32) {
        if let Some(cached) = self.object(key).cache.get_mut(&index) {
            cached.dirty = true;
        }
    }

    /// Makes or widens the entry of a page.
    pub(super) fn install(&mut self, asid: Asid, id: AreaId, page: u32, frame: Frame, allowed: Allowed) -> Result<(), Errno> {
        let user = self.user(asid, self.area(asid, id)?, page);
        let subject = self.page_of(frame);
        let old = self.b.hw().pte(asid, user.va).filter(|pte| pte.frame == frame);
        // An entry of a private page that others share stays read-only, and what was allowed stays allowed.
        let write = allowed.write || old.is_some_and(|pte| pte.allowed.write);
        let allowed = Allowed { write, ..allowed };
        if old.is_some() && allowed.write && old.is_none_or(|pte| !pte.allowed.write) {
            // `wp_page_reuse`.
            self.policy.page(&self.b, subject, user);
        }
        let b = &self.b;
        let mut done = false;
        self.policy.map(b, subject, user, allowed, &mut || {
            let mut hw = b.hw();
            hw.at(At::SetPte);
            hw.set_pte(asid, user.va, Pte { frame, allowed });
            done = true;
        })?;
        debug_assert!(done, "a policy that maps a page installs its entry");
        if allowed.execute && old.is_none_or(|pte| !pte.allowed.execute) {
            self.model.synced(asid.0, id, page);
        }
        Ok(())
    }

    /// Takes the entry of a page away, if there is one; TLBs included.
    pub(super) fn uninstall(&mut self, asid: Asid, va: congruent_geometry::VirtAddr) -> Result<(), Errno> {
        let old = self.b.hw().clear_pte(asid, va);
        if let Some(pte) = old {
            let page = self.page_of(pte.frame);
            self.policy.unmapped(&self.b, page, va)?;
        }
        Ok(())
    }
}
