//! What a page's *alias* is: the number under which the rules know a virtual address of it.
//!
//! With physical tags it is the colour, and nothing is kept here. With virtual tags a copy is found again only by the address space
//! and page through which it was filled, so each of those is an alias of its own, of whatever colour; they are numbered per page
//! as they come. A copy may also be found by who means another frame: so it is known which frames a virtual page stood for.
//!
//! Guarantees: a page has as many aliases as a key has room for, [`MOST`]; numbers of aliases that hold nothing are given out again.
//! Not here: who holds what (`line`), what it means to meet another frame's copy (`homonym`).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use congruent_geometry::{CacheGeometry, Colour, VirtAddr};

use crate::config::VirtualTags;

/// Aliases that one page can have at a time: as many as a key has room for colours.
pub(crate) const MOST: usize = 1 << 10;

/// The number by which the judge knows a virtual address of one page. Made from a colour where the cache has physical tags, by
/// [`Shadow::alias`](crate::Shadow::alias) for any cache.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Alias(pub(crate) u16);

impl From<Colour> for Alias {
    #[inline]
    fn from(colour: Colour) -> Self {
        Self(colour.index() as u16)
    }
}

/// What a line with a virtual tag is found by, beside its place in the page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Tag {
    /// The address space; 0 where the hardware does not tell them apart, or all share the page.
    space: u64,
    page: u64,
}

/// One alias of one page of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Home {
    pub page: u32,
    pub alias: u16,
}

/// Aliases of all pages.
#[derive(Clone, Debug)]
pub(crate) struct Aliases {
    tags: Option<VirtualTags>,
    geometry: CacheGeometry,
    space: u32,
    generation: u64,
    /// Per page of memory, its aliases by number.
    tags_of: Vec<Vec<Tag>>,
    /// The pages of memory that a virtual page stood for and that may still be held through it.
    homes: BTreeMap<Tag, Vec<Home>>,
    /// Lines of virtual pages that may hold one of several frames' copies: after a prefetch. They are looked at when next accessed.
    mixed: BTreeSet<(Tag, u32)>,
}

impl Aliases {
    pub fn new(tags: Option<VirtualTags>, geometry: CacheGeometry) -> Self {
        Self { tags, geometry, space: 0, generation: 0, tags_of: Vec::new(), homes: BTreeMap::new(), mixed: BTreeSet::new() }
    }

    /// Whether tags are virtual.
    #[inline]
    pub fn are_virtual(&self) -> bool {
        self.tags.is_some()
    }

    /// Adds a page of memory.
    pub fn push_page(&mut self) {
        if self.are_virtual() {
            self.tags_of.push(Vec::new());
        }
    }

    /// From here on, addresses are of this space.
    pub fn enter(&mut self, space: u32) {
        self.space = space;
    }

    /// How often a number was given out a second time.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What the cache tells this address by.
    pub fn tag(&self, vaddr: VirtAddr) -> Tag {
        let space = match self.tags {
            // One more, because 0 is what all share.
            Some(VirtualTags::BySpace { shared_from }) if vaddr < shared_from => u64::from(self.space) + 1,
            _ => 0,
        };
        Tag { space, page: vaddr.0 >> self.geometry.page_shift() }
    }

    /// The alias of a page that has this tag, if it has a number.
    pub fn find(&self, page: u32, tag: Tag) -> Option<u16> {
        self.tags_of.get(page as usize)?.iter().position(|known| *known == tag).map(|alias| alias as u16)
    }

    /// The tag of an alias.
    pub fn tag_of(&self, page: u32, alias: u16) -> Option<Tag> {
        self.tags_of.get(page as usize)?.get(usize::from(alias)).copied()
    }

    /// Gives a page's alias the next number; `None` if there is none left.
    pub fn add(&mut self, page: u32, tag: Tag) -> Option<u16> {
        let tags = self.tags_of.get_mut(page as usize)?;
        (tags.len() < MOST).then(|| {
            tags.push(tag);
            tags.len() as u16 - 1
        })
    }

    /// Gives a number to another alias. Through the one that had it nothing may be held.
    pub fn replace(&mut self, home: Home, tag: Tag) {
        let Some(known) = self.tags_of.get_mut(home.page as usize).and_then(|tags| tags.get_mut(usize::from(home.alias))) else {
            return;
        };
        let old = core::mem::replace(known, tag);
        self.generation += 1;
        self.leave(old, home);
    }

    /// The pages that may be held through this tag.
    pub fn homes(&self, tag: Tag) -> &[Home] {
        self.homes.get(&tag).map_or(&[], Vec::as_slice)
    }

    /// Notes that a page, not one of its [`homes`](Self::homes) so far, may be held through this tag from now on.
    pub fn settle_in(&mut self, tag: Tag, home: Home) {
        self.homes.entry(tag).or_default().push(home);
    }

    /// Notes that a page is not held through this tag any more.
    pub fn leave(&mut self, tag: Tag, home: Home) {
        if let Some(homes) = self.homes.get_mut(&tag) {
            homes.retain(|held| *held != home);
            if homes.is_empty() {
                self.homes.remove(&tag);
            }
        }
    }

    /// Notes whether a line of a virtual page may hold one of several frames' copies.
    pub fn set_mixed(&mut self, tag: Tag, line: u32, mixed: bool) {
        if mixed {
            self.mixed.insert((tag, line));
        } else {
            self.mixed.remove(&(tag, line));
        }
    }

    /// Whether what this alias holds of a line may be another frame's.
    pub fn is_mixed(&self, page: u32, alias: u16, line: u32) -> bool {
        !self.mixed.is_empty() && self.tag_of(page, alias).is_some_and(|tag| self.mixed.contains(&(tag, line)))
    }

    /// The colour of an alias, which says which sets its lines are in.
    #[inline]
    pub fn colour(&self, page: u32, alias: u16) -> u16 {
        self.colour_in(&self.geometry, page, alias)
    }

    /// The same in another cache of pages of the same size.
    #[inline]
    pub fn colour_in(&self, cache: &CacheGeometry, page: u32, alias: u16) -> u16 {
        if !self.are_virtual() {
            return alias;
        }
        self.tag_of(page, alias).map_or(0, |tag| cache.colour(VirtAddr(tag.page << cache.page_shift())).index() as u16)
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        let tags: usize = self.tags_of.iter().map(|tags| tags.capacity() * size_of::<Tag>()).sum();
        let homes: usize = self.homes.values().map(|homes| homes.capacity() * size_of::<Home>()).sum();
        let entries = self.homes.len() * size_of::<(Tag, Vec<Home>)>() * 3 / 2;
        let mixed = self.mixed.len() * size_of::<(Tag, u32)>() * 3 / 2;
        tags + homes + entries + mixed + self.tags_of.capacity() * size_of::<Vec<Tag>>()
    }
}
