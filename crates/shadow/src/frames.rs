//! Which frames have a shadow: by number for those that machines have, in a tree for those beyond.
//!
//! Guarantees: a frame is found with two loads, whatever source asks and in whatever order; 4 bytes per touched frame, and not much more
//! as long as they lie together, and 4 more to know the frame of a page.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use congruent_geometry::Frame;

/// log2 of the frames whose pages are kept together.
const SHIFT: u32 = 8;
const TOGETHER: usize = 1 << SHIFT;
/// Frames from here on are in the tree (16 GiB of 4 KiB pages).
const FAR: u64 = 1 << 22;

/// The pages of all touched frames, and the frames of all pages.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    /// Per group of frames, where its pages are, in groups; the first one is of none.
    places: Vec<u32>,
    /// Per frame of a group that was touched, its page, plus one.
    pages: Vec<u32>,
    far: BTreeMap<u64, u32>,
    frames: Vec<Frame>,
}

impl Frames {
    pub fn new() -> Self {
        Self { places: Vec::new(), pages: alloc::vec![0; TOGETHER], far: BTreeMap::new(), frames: Vec::new() }
    }

    /// The page of a frame, if it has one.
    #[inline]
    pub fn find(&self, frame: Frame) -> Option<u32> {
        if frame.0 >= FAR {
            return self.far.get(&frame.0).copied();
        }
        let place = self.places.get((frame.0 >> SHIFT) as usize)?;
        let within = frame.0 as usize % TOGETHER;
        self.pages.get(((*place as usize) << SHIFT) + within)?.checked_sub(1)
    }

    /// Gives a frame that has none the next page.
    ///
    /// # Panics
    /// If there are 2^32 - 1 pages.
    #[cold]
    pub fn add(&mut self, frame: Frame) -> u32 {
        let page = u32::try_from(self.frames.len()).ok().filter(|page| *page < u32::MAX).expect("fewer than 2^32 frames");
        self.frames.push(frame);
        if frame.0 >= FAR {
            self.far.insert(frame.0, page);
            return page;
        }
        let group = (frame.0 >> SHIFT) as usize;
        if self.places.len() <= group {
            self.places.resize(group + 1, 0);
        }
        if self.places[group] == 0 {
            self.places[group] = (self.pages.len() >> SHIFT) as u32;
            self.pages.resize(self.pages.len() + TOGETHER, 0);
        }
        let first = (self.places[group] as usize) << SHIFT;
        self.pages[first + frame.0 as usize % TOGETHER] = page + 1;
        page
    }

    /// The first frame from `first` to `last`, inclusive, that has a page, and its page.
    pub fn next(&self, first: Frame, last: Frame) -> Option<(Frame, u32)> {
        let end = last.0.min(((self.places.len() as u64) << SHIFT).saturating_sub(1));
        let mut at = first.0;
        while at <= end && !self.places.is_empty() {
            if self.places[(at >> SHIFT) as usize] == 0 {
                at = ((at >> SHIFT) + 1) << SHIFT;
            } else if let Some(page) = self.find(Frame(at)) {
                return Some((Frame(at), page));
            } else {
                at += 1;
            }
        }
        let (frame, page) = self.far.range(first.0..).next()?;
        (*frame <= last.0).then_some((Frame(*frame), *page))
    }

    /// The frame of a page.
    ///
    /// # Panics
    /// If there is no such page.
    #[inline]
    pub fn of(&self, page: u32) -> Frame {
        self.frames[page as usize]
    }

    /// How many have pages.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        // What a node of a B-tree holds beside its entries is small; two thirds full is usual.
        let far = self.far.len() * (size_of::<(u64, u32)>() * 3 / 2);
        (self.places.capacity() + self.pages.capacity()) * size_of::<u32>() + self.frames.capacity() * size_of::<Frame>() + far
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_has_the_page_it_was_given_and_those_in_a_range_are_found_in_order() {
        // Both sides of the ends of groups and of the near frames, and the last frame of all.
        let touched = [0, 3, 255, 256, 0x1_0000, FAR - 1, FAR, FAR + 7, u64::MAX];
        let mut frames = Frames::new();
        assert_eq!(frames.next(Frame(0), Frame(u64::MAX)), None);
        // Not in order.
        for place in [4, 0, 8, 2, 6, 1, 5, 3, 7] {
            assert_eq!(frames.find(Frame(touched[place])), None);
            let page = frames.add(Frame(touched[place]));
            assert_eq!((frames.find(Frame(touched[place])), frames.of(page)), (Some(page), Frame(touched[place])));
        }
        assert_eq!(frames.len(), touched.len());
        let edges: Vec<u64> =
            touched.iter().flat_map(|frame| [frame.saturating_sub(1), *frame, frame.saturating_add(1)]).collect();
        for (first, last) in edges.iter().flat_map(|first| edges.iter().map(move |last| (*first, *last))) {
            let expected = touched.into_iter().find(|frame| (first..=last).contains(frame));
            assert_eq!(frames.next(Frame(first), Frame(last)).map(|(frame, _)| frame.0), expected, "{first:#x} to {last:#x}");
        }
        for frame in edges {
            assert_eq!(frames.find(Frame(frame)).is_some(), touched.contains(&frame), "{frame:#x}");
        }
    }

    #[test]
    fn memory_that_lies_together_costs_some_twelve_bytes_per_frame_wherever_it_begins() {
        for first in [0, 0xc000, FAR - 0x4000] {
            let mut frames = Frames::new();
            (first..first + 0x4000).for_each(|frame| {
                frames.add(Frame(frame));
            });
            assert!(frames.bytes() / 0x4000 <= 24, "{} bytes per frame from {first:#x} on", frames.bytes() / 0x4000);
        }
    }
}
