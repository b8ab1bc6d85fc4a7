//! Pipes: frames that the kernel copied bytes to, and pages of the page cache that came without a copy.

use alloc::vec;

use congruent_geometry::Frame;
use congruent_machine::Medium;

use super::Kernel;
use super::files::Key;
use super::frames::Use;
use super::space::pieces;
use crate::errno::Errno;
use crate::model::Segment;
use crate::outcome::{Whereabouts, Witness};
use crate::point::Point;
use crate::site::At;
use crate::watch::Sight;
use crate::{Bytes, FileId, PipeId, TaskId};

/// Buffers that a pipe holds at most (Linux: `PIPE_DEF_BUFFERS`).
const BUFFERS: usize = 16;

/// What one buffer of a pipe holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffer {
    frame: Frame,
    /// The first byte that has not been read.
    from: u32,
    to: u32,
    /// Whose page it is, if it came without a copy.
    file: Option<FileId>,
}

impl<M: Medium> Kernel<M> {
    fn room(&mut self, pipe: PipeId) -> usize {
        BUFFERS - self.pipes.entry(pipe).or_default().len()
    }

    pub(super) fn splice(&mut self, file: FileId, first: u32, pages: u32, pipe: PipeId) -> Result<u32, Errno> {
        let len = self.file(file)?.len;
        let page = self.page;
        let mut moved = 0;
        for index in first..first.saturating_add(pages) {
            let valid = len.saturating_sub(index.saturating_mul(page)).min(page);
            if valid == 0 || self.room(pipe) == 0 {
                break;
            }
            let frame = match self.cached(Key::File(file), index, None) {
                Ok(frame) => frame,
                Err(error) if moved == 0 => return Err(error),
                Err(_) => break,
            };
            self.frames.share(frame);
            self.object(Key::File(file)).piped += 1;
            let subject = self.page_of(frame);
            self.policy.splice(&self.b, subject);
            self.pipes.entry(pipe).or_default().push_back(Buffer { frame, from: 0, to: valid, file: Some(file) });
            let segment = Segment::File { file, page: index, from: 0, to: valid };
            self.model.pipes.entry(pipe).or_default().push_back(segment);
            moved += valid;
        }
        Ok(moved)
    }

    pub(super) fn pipe_write(&mut self, task: TaskId, pipe: PipeId, from: Bytes) -> Result<u32, Errno> {
        self.reachable(self.asid(task)?, from)?;
        let mut moved = 0;
        // A buffer holds a page's worth, wherever in memory it came from.
        for start in (0..from.len).step_by(self.page as usize) {
            if self.room(pipe) == 0 {
                break;
            }
            let len = (from.len - start).min(self.page);
            let mut bytes = vec![0; len as usize];
            let source = Bytes { offset: from.offset + start, len, ..from };
            let buffered = self.take_from_user(task, source, &mut bytes).and_then(|()| {
                let frame = self.allocate(None, Use::Kernel)?;
                self.policy.write_pipe(&self.b, frame, &bytes).inspect_err(|_| self.release(frame))?;
                Ok(frame)
            });
            match buffered {
                Ok(frame) => {
                    self.pipes.entry(pipe).or_default().push_back(Buffer { frame, from: 0, to: len, file: None });
                    self.model.pipes.entry(pipe).or_default().push_back(Segment::Bytes(bytes, 0));
                }
                Err(error) if moved == 0 => return Err(error),
                Err(_) => break,
            }
            moved += len;
            self.preempt(Point::BetweenPages);
        }
        Ok(moved)
    }

    pub(super) fn pipe_read(&mut self, task: TaskId, pipe: PipeId, to: Bytes) -> Result<u32, Errno> {
        self.reachable(self.asid(task)?, to)?;
        let mut moved = 0;
        while moved < to.len {
            let Some(buffer) = self.pipes.get(&pipe).and_then(|buffers| buffers.front()).copied() else { break };
            let len = (buffer.to - buffer.from).min(to.len - moved);
            let target = Bytes { offset: to.offset + moved, len, ..to };
            match self.drain(task, pipe, buffer, target) {
                Err(error) if moved == 0 => return Err(error),
                Err(_) => break,
                Ok(()) => moved += len,
            }
            self.preempt(Point::BetweenPages);
        }
        Ok(moved)
    }

    /// Moves the beginning of the first buffer to the program.
    fn drain(&mut self, task: TaskId, pipe: PipeId, buffer: Buffer, to: Bytes) -> Result<(), Errno> {
        // The program's pages first, so that a bad address loses nothing of the pipe.
        let asid = self.asid(task)?;
        for piece in pieces(to, self.page) {
            self.fault(asid, to.area, piece.page, super::Need::Write, false)?;
        }
        let mut bytes = vec![0; to.len as usize];
        self.policy.read_pipe(&self.b, buffer.frame, buffer.from, &mut bytes)?;
        let sight = Sight {
            witness: Witness::Kernel,
            site: At::PipeBuffer.site(),
            paddr: Some(self.base(buffer.frame).add(buffer.from.into())),
        };
        let segment = self.model.pipes.get(&pipe).and_then(|segments| segments.front());
        let want = match segment {
            Some(Segment::Bytes(bytes, read)) => &bytes[*read..*read + to.len as usize],
            Some(Segment::File { file, page, from, .. }) => {
                &self.model.file_bytes(*file, *page)[*from as usize..(*from + to.len) as usize]
            }
            None => &[],
        };
        self.watch.compare(&self.b.hw(), &sight, &bytes, want, |_| Whereabouts::Pipe(pipe));
        self.give_to_user(task, to, &bytes)?;
        self.advance(pipe, to.len);
        Ok(())
    }

    /// The first bytes of a pipe have been read.
    fn advance(&mut self, pipe: PipeId, len: u32) {
        if let Some(segments) = self.model.pipes.get_mut(&pipe) {
            let empty = match segments.front_mut() {
                Some(Segment::Bytes(bytes, read)) => {
                    *read += len as usize;
                    *read == bytes.len()
                }
                Some(Segment::File { from, to, .. }) => {
                    *from += len;
                    from == to
                }
                None => false,
            };
            if empty {
                segments.pop_front();
            }
        }
        let Some(buffers) = self.pipes.get_mut(&pipe) else { return };
        let Some(buffer) = buffers.front_mut() else { return };
        buffer.from += len;
        if buffer.from == buffer.to {
            let Buffer { frame, file, .. } = *buffer;
            buffers.pop_front();
            if let Some(file) = file {
                self.object(Key::File(file)).piped -= 1;
            }
            self.release(frame);
        }
    }
}
