//! Virtual tags: aliases that come and go, and copies of another frame that an access meets under its own address.
//!
//! Guarantees: after an access through a virtual page, no line of another frame counts as held by the data cache under the address it
//! used, after a fetch by the instruction cache; after a prefetch, either may be. Both caches number aliases alike. Without virtual
//! tags nothing here is reached. Not here: what an alias is (`aliases`).

use alloc::vec::Vec;

use congruent_geometry::{ByteMask, VirtAddr};
use congruent_trace::{AccessKind, Maintenance};

use crate::aliases::{Alias, Home, MOST, Tag};
use crate::code::CodeKey;
use crate::finding::{HazardClass, Party, PartyKind};
use crate::heads::{Head, LineId};
use crate::line::{CODE, Copy, Hazard, Line};
use crate::shadow::{PageId, Shadow};

/// Pages that a virtual page may have stood for before it is looked which of them may still be held.
const FEW: usize = 4;

impl Shadow {
    /// The alias of a page that this virtual address is, in the address space told last: what [`quiet_load`](Self::quiet_load)
    /// and [`quiet_store`](Self::quiet_store) want. It may be kept while [`alias_generation`](Self::alias_generation) stays the same.
    #[inline]
    pub fn alias(&mut self, page: PageId, vaddr: VirtAddr) -> Alias {
        if self.aliases.are_virtual() { self.virtual_alias(page, vaddr) } else { self.geometry.colour(vaddr).into() }
    }

    /// Changes when an [alias](Self::alias) given out before may stand for another address. Never, if tags are physical.
    #[must_use]
    pub fn alias_generation(&self) -> u64 {
        self.aliases.generation()
    }

    #[cold]
    fn virtual_alias(&mut self, page: PageId, vaddr: VirtAddr) -> Alias {
        let tag = self.aliases.tag(vaddr);
        let known = self.aliases.find(page.0, tag).or_else(|| self.aliases.add(page.0, tag));
        Alias(known.unwrap_or_else(|| {
            // As good as any that holds nothing; or the oldest, taken as written back.
            let unused = (0..MOST as u16).find(|alias| self.holds_nothing(Home { page: page.0, alias: *alias }));
            let home = Home { page: page.0, alias: unused.unwrap_or(0) };
            if unused.is_none() {
                self.taken_as_dropped += 1;
                for line in 0..self.geometry.lines_per_page() {
                    let id = LineId { page: page.0, line };
                    self.maintain_line_now(Maintenance::WriteBackInvalidate, id, home.alias);
                    self.drop_code(id, home.alias);
                }
            }
            self.aliases.replace(home, tag);
            home.alias
        }))
    }

    /// The lines that maintenance of this virtual address acts on, each with the alias it does so through: with physical tags the
    /// one that holds the physical address, with virtual ones those that were filled through the virtual one.
    pub(crate) fn meant_by(&self, id: Option<LineId>, vaddr: VirtAddr) -> Vec<(LineId, u16)> {
        if !self.aliases.are_virtual() {
            let places = self.places.reached(self.colour_of(vaddr));
            return id.into_iter().flat_map(|id| places.clone().map(move |place| (id, place))).collect();
        }
        self.lines_under(vaddr)
    }

    /// The same on the instruction side.
    pub(crate) fn code_meant_by(&self, id: Option<LineId>, vaddr: VirtAddr) -> Vec<(LineId, u16)> {
        if !self.aliases.are_virtual() {
            let places = self.places.reached_code(self.code.colour_of(vaddr));
            return id.into_iter().flat_map(|id| places.clone().map(move |place| (id, place))).collect();
        }
        self.lines_under(vaddr)
    }

    fn lines_under(&self, vaddr: VirtAddr) -> Vec<(LineId, u16)> {
        let line = self.geometry.page_offset(vaddr.0) >> self.geometry.line_shift();
        let homes = self.aliases.homes(self.aliases.tag(vaddr)).iter();
        homes.map(|home| (LineId { page: home.page, line }, home.alias)).collect()
    }

    /// Before an access or a prefetch of this line through a virtual page: other frames' lines under the same address. Those that
    /// an access (`consumer`, of `bytes`) may meet are reported, and then as good as written back and invalidated. True if such a
    /// line may be held still, as after a prefetch it may.
    pub(crate) fn meet_homonyms(&mut self, id: LineId, alias: u16, bytes: ByteMask, consumer: Option<Party>) -> bool {
        if !self.aliases.are_virtual() {
            return false;
        }
        let (mut both, mut met_again) = (false, false);
        let Some(tag) = self.aliases.tag_of(id.page, alias) else { return false };
        for home in self.others_under(tag, Home { page: id.page, alias }) {
            let met = LineId { page: home.page, ..id };
            let Some(consumer) = consumer else {
                if !self.may_hold(met, home.alias) {
                    continue;
                }
                self.go_astray(None, id, bytes, met, home.alias);
                // Either may be held now. Neither has a compact form until it is known which.
                both = true;
                self.aliases.set_mixed(tag, id.line, true);
                let line = self.open(met);
                self.close(met, line);
                continue;
            };
            met_again |= self.meet(id, bytes, consumer, met, home.alias);
        }
        if consumer.is_some() {
            // The next access has to be looked at, too, if it would meet what was healed only.
            self.aliases.set_mixed(tag, id.line, met_again);
        }
        both
    }

    /// Before a fetch of this line through a virtual page: other frames' lines that the instruction cache may hold under the same
    /// address are reported, and dropped.
    pub(crate) fn meet_code_homonyms(&mut self, id: LineId, alias: u16, bytes: ByteMask, consumer: Party) {
        if !self.aliases.are_virtual() {
            return;
        }
        let Some(tag) = self.aliases.tag_of(id.page, alias) else { return };
        for home in self.others_under(tag, Home { page: id.page, alias }) {
            if self.meet(id, bytes, consumer, LineId { page: home.page, ..id }, home.alias | CODE) {
                self.aliases.set_mixed(tag, id.line, true);
            }
        }
    }

    /// The other pages that may be held under a tag, and through which aliases; `own` is noted to be from now on.
    fn others_under(&mut self, tag: Tag, own: Home) -> Vec<Home> {
        if !self.aliases.homes(tag).contains(&own) {
            if self.aliases.homes(tag).len() >= FEW {
                self.forget_homes(tag);
            }
            self.aliases.settle_in(tag, own);
        }
        self.aliases.homes(tag).iter().copied().filter(|home| home.page != own.page).collect()
    }

    /// Reports it if an access of these bytes of `id` may hit what `place` holds of the line `met` instead, and heals that: it is as good
    /// as written back and invalidated. True if there was such a hazard, or there would be without what was healed.
    fn meet(&mut self, id: LineId, bytes: ByteMask, consumer: Party, met: LineId, place: u16) -> bool {
        if !self.may_know(met, place) {
            return false;
        }
        match consumer.kind {
            PartyKind::Load => self.go_astray(Some(AccessKind::Load), id, bytes, met, place),
            PartyKind::Store => self.go_astray(Some(AccessKind::Store), id, bytes, met, place),
            // Fetches are given nothing, and change no bytes.
            PartyKind::Fetch | PartyKind::UncachedLoad | PartyKind::UncachedStore | PartyKind::Dma => {}
        }
        let mut line = self.open(met);
        let holds = |copies: &[Copy]| copies.iter().any(|copy| copy.colour == place);
        let held = holds(&line.copies);
        let hazardous = held || line.unhealed.as_ref().is_some_and(|other| holds(&other.line.copies));
        if hazardous {
            let class = if consumer.kind == PartyKind::Store { HazardClass::WriteHomonym } else { HazardClass::ReadHomonym };
            let producer = line.last_writer().map(|by| self.shown(met.page, by));
            if held {
                line.part();
            }
            let mut hazards = core::mem::take(&mut self.hazards);
            let (producer_stamp, still_dirty) = (None, false);
            hazards.push(Hazard { class, bytes, producer, follows: !held, producer_is_last: true, producer_stamp, still_dirty });
            self.report(id, &mut line, &mut hazards, consumer);
            self.hazards = hazards;
        }
        if held {
            line.drop_healed(place, self.shape.ways_of(place));
        }
        self.close(met, line);
        if held && place & CODE != 0 {
            for other in self.code.fetched_with(met).filter(|other| *other != met) {
                let mut line = self.open(other);
                line.part();
                line.drop_healed(place, self.shape.ways_of(place));
                self.close(other, line);
            }
        }
        hazardous
    }

    /// The party with a colour for its place in the caches, by which the rules know it.
    pub(crate) fn shown(&self, page: u32, party: Party) -> Party {
        let colour = party.colour.map(|place| match party.kind {
            PartyKind::Fetch => self.code_colour(page, place),
            PartyKind::Load | PartyKind::Store | PartyKind::UncachedLoad | PartyKind::UncachedStore | PartyKind::Dma => {
                self.colour_at(page, place)
            }
        });
        Party { colour, ..party }
    }

    /// Whether the data cache may hold the line through this alias, after all that was swept and mended.
    fn may_hold(&mut self, id: LineId, alias: u16) -> bool {
        self.may_know(id, alias) && self.looks_into(id, |line| line.copies.iter().any(|copy| copy.colour == alias))
    }

    /// Whether a place may hold the line, as far as its compact form tells, and whether anything is mended or not.
    fn may_know(&self, id: LineId, place: u16) -> bool {
        let head = self.heads.head(id);
        if place & CODE != 0 {
            return match self.code.key(id) {
                CodeKey::Empty => false,
                CodeKey::Alone { colour, .. } => colour == place & !CODE,
                CodeKey::InRecord => true,
            };
        }
        match head {
            Head::Empty => false,
            Head::Single { colour, .. } => colour == place,
            Head::Shared { .. } => self.heads.names(id, place),
            Head::Record(_) => true,
        }
    }

    fn looks_into(&mut self, id: LineId, what: impl Fn(&Line) -> bool) -> bool {
        let line = self.open(id);
        let answer = what(&line);
        self.close(id, line);
        answer
    }

    /// Whether neither cache may hold any line of a page through this alias.
    fn holds_nothing(&mut self, home: Home) -> bool {
        (0..self.geometry.lines_per_page()).all(|line| {
            let id = LineId { page: home.page, line };
            let places = [home.alias, home.alias | CODE];
            places.into_iter().all(|place| {
                !self.may_know(id, place) || !self.looks_into(id, |line| line.all_copies().any(|copy| copy.colour == place))
            })
        })
    }

    /// Forgets the pages that a virtual page stood for and of which nothing is held through it any more.
    fn forget_homes(&mut self, tag: Tag) {
        for home in self.aliases.homes(tag).to_vec() {
            if self.holds_nothing(home) {
                self.aliases.leave(tag, home);
            }
        }
    }
}
