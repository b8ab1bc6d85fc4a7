//! What every byte must be: address spaces, files and pipes as if there were no caches, no frames and no devices.
//!
//! Independent of the kernel: it knows mappings and offsets only. The kernel tells it *when* something took effect
//! (where that is a matter of order between threads), never *what* it was.

mod spaces;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;

pub(crate) use spaces::{Source, Space};

use crate::{AreaId, FileId, PipeId};

/// A page's bytes.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub bytes: Rc<Vec<u8>>,
    /// Whether a program has stored here and not said so to the instruction side: fetches may see old or new.
    pub unsynced: bool,
}

impl Leaf {
    fn zero(page: u32) -> Self {
        Self { bytes: Rc::new(vec![0; page as usize]), unsynced: false }
    }

    fn put(&mut self, offset: usize, from: &[u8], by_program: bool) {
        Rc::make_mut(&mut self.bytes)[offset..offset + from.len()].copy_from_slice(from);
        self.unsynced |= by_program;
    }
}

/// A file: what programs see, and what the disk holds, in whole pages.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileModel {
    pub pages: Vec<Leaf>,
    pub disk: Vec<Leaf>,
}

/// What a pipe holds, in order.
#[derive(Clone, Debug)]
pub(crate) enum Segment {
    /// Copied bytes, and how many of them have been read.
    Bytes(Vec<u8>, usize),
    /// Bytes of a page of a file, as they are when they are read.
    File { file: FileId, page: u32, from: u32, to: u32 },
}

#[derive(Debug)]
pub(crate) struct Model {
    pub page: u32,
    zero: Leaf,
    /// By number of the address space.
    spaces: Vec<Option<Space>>,
    files: BTreeMap<FileId, FileModel>,
    /// Memory that processes share, and rings.
    objects: BTreeMap<u32, Vec<Leaf>>,
    pub pipes: BTreeMap<PipeId, VecDeque<Segment>>,
}

impl Model {
    pub fn new(page: u32) -> Self {
        Self {
            page,
            zero: Leaf::zero(page),
            spaces: Vec::new(),
            files: BTreeMap::new(),
            objects: BTreeMap::new(),
            pipes: BTreeMap::new(),
        }
    }

    /// Makes or replaces a file, on the disk and as programs see it.
    pub fn create(&mut self, file: FileId, bytes: &[u8]) {
        let page = self.page as usize;
        let leaf = |part: &[u8]| {
            let mut leaf = Leaf::zero(self.page);
            leaf.put(0, part, false);
            leaf
        };
        let pages: Vec<Leaf> = bytes.chunks(page).map(leaf).collect();
        self.files.insert(file, FileModel { disk: pages.clone(), pages });
    }

    pub fn file(&mut self, file: FileId) -> &mut FileModel {
        self.files.entry(file).or_default()
    }

    /// Makes a file at least so many pages long.
    pub fn extend(&mut self, file: FileId, pages: u32) {
        let zero = self.zero.clone();
        let file = self.file(file);
        if file.pages.len() < pages as usize {
            file.pages.resize(pages as usize, zero.clone());
            file.disk.resize(pages as usize, zero);
        }
    }

    pub fn file_bytes(&self, file: FileId, page: u32) -> &[u8] {
        self.files.get(&file).and_then(|file| file.pages.get(page as usize)).map_or(&self.zero.bytes, |leaf| &leaf.bytes)
    }

    pub fn disk_bytes(&self, file: FileId, page: u32) -> &[u8] {
        self.files.get(&file).and_then(|file| file.disk.get(page as usize)).map_or(&self.zero.bytes, |leaf| &leaf.bytes)
    }

    /// Bytes of one page of a file change.
    pub fn write_file(&mut self, file: FileId, page: u32, offset: u32, from: &[u8]) {
        self.file(file).pages[page as usize].put(offset as usize, from, true);
    }

    /// Bytes of one page of a file on the disk change.
    pub fn write_disk(&mut self, file: FileId, page: u32, offset: u32, from: &[u8]) {
        self.file(file).disk[page as usize].put(offset as usize, from, true);
    }

    /// The cache has let go of a page: the disk has what programs see from now on. No difference, unless the disk got wrong bytes.
    pub fn dropped(&mut self, file: FileId, page: u32) {
        let file = self.file(file);
        let unsynced = file.pages[page as usize].unsynced;
        file.pages[page as usize] = Leaf { unsynced, ..file.disk[page as usize].clone() };
    }

    pub fn make_object(&mut self, id: u32, pages: u32) {
        self.objects.insert(id, vec![self.zero.clone(); pages as usize]);
    }

    pub fn end_object(&mut self, id: u32) {
        self.objects.remove(&id);
    }

    pub fn space(&mut self, asid: u16) -> &mut Space {
        let at = usize::from(asid);
        if self.spaces.len() <= at {
            self.spaces.resize_with(at + 1, || None);
        }
        self.spaces[at].get_or_insert_with(Space::default)
    }

    pub fn end_space(&mut self, asid: u16) {
        self.spaces[usize::from(asid)] = None;
    }

    /// The child's memory is the parent's.
    pub fn fork(&mut self, parent: u16, child: u16) {
        let copy = self.space(parent).clone();
        *self.space(child) = copy;
    }

    /// What a page of a mapping holds.
    pub fn leaf(&self, asid: u16, area: AreaId, page: u32) -> &Leaf {
        let area = self.spaces.get(usize::from(asid)).and_then(Option::as_ref).and_then(|space| space.area(area));
        let Some(area) = area else { return &self.zero };
        if let Some(Some(leaf)) = area.own.get(page as usize) {
            return leaf;
        }
        let shared = match area.source {
            Source::Zero => None,
            Source::File(file) => self.files.get(&file).and_then(|file| file.pages.get((area.first + page) as usize)),
            Source::Object(id) => self.objects.get(&id).and_then(|pages| pages.get((area.first + page) as usize)),
        };
        shared.unwrap_or(&self.zero)
    }

    /// The page becomes the process's own, if it can: what others store to what it was a copy of is not seen any more.
    pub fn privatise(&mut self, asid: u16, area: AreaId, page: u32) {
        let leaf = self.leaf(asid, area, page).clone();
        if let Some(area) = self.space(asid).area_mut(area)
            && !area.shared
            && let Some(own @ None) = area.own.get_mut(page as usize)
        {
            *own = Some(leaf);
        }
    }

    /// Bytes of one page of a mapping change.
    pub fn write(&mut self, asid: u16, area: AreaId, page: u32, offset: u32, from: &[u8], by_program: bool) {
        self.privatise(asid, area, page);
        if let Some(leaf) = self.leaf_mut(asid, area, page) {
            leaf.put(offset as usize, from, by_program);
        }
    }

    /// Fetches of the page see what is there from now on.
    pub fn synced(&mut self, asid: u16, area: AreaId, page: u32) {
        if let Some(leaf) = self.leaf_mut(asid, area, page) {
            leaf.unsynced = false;
        }
    }

    fn leaf_mut(&mut self, asid: u16, area: AreaId, page: u32) -> Option<&mut Leaf> {
        let area = self.spaces.get_mut(usize::from(asid))?.as_mut()?.area_mut(area)?;
        if let Some(own) = area.own.get_mut(page as usize)
            && own.is_some()
        {
            return own.as_mut();
        }
        let number = (area.first + page) as usize;
        match area.source {
            Source::Zero => None,
            Source::File(file) => self.files.get_mut(&file)?.pages.get_mut(number),
            Source::Object(id) => self.objects.get_mut(&id)?.get_mut(number),
        }
    }
}
