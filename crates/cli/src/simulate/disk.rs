//! What the simulated disk stores on: memory, or a file of the host.
//!
//! Guarantees: a sector that was written is in the file when the write returns; of an error of the host the first is kept, with its
//! words, and every sector written before it stays. Not promised: that the file survives a crash of the host.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context as _, bail};
use congruent_machine::{Medium, MediumError, SECTOR};

/// A file of the host as a medium. What was never written reads as zeros.
pub(crate) struct FileMedium {
    file: File,
    sectors: u64,
    trouble: Trouble,
}

/// The first error of the host, for whoever reports at the end.
pub(crate) type Trouble = Rc<RefCell<Option<String>>>;

impl FileMedium {
    /// Opens a new or empty file: what others keep in theirs is not overwritten.
    pub(crate) fn open(path: &Path, sectors: u64) -> anyhow::Result<(Self, Trouble)> {
        let shown = path.display();
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).with_context(|| {
                format!("cannot open `{shown}` as a disk; give --disk a file in a directory you may write to")
            })?;
        let metadata = file.metadata().with_context(|| format!("cannot tell what `{shown}` is"))?;
        if metadata.is_file() && metadata.len() > 0 {
            bail!("`{shown}` is not empty, and a simulated disk would overwrite what is in it; give --disk a new file");
        }
        let trouble = Trouble::default();
        Ok((Self { file, sectors, trouble: trouble.clone() }, trouble))
    }

    /// The same file for the next run, blank again.
    pub(crate) fn again(&self) -> anyhow::Result<Self> {
        if self.file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            self.file.set_len(0).context("cannot empty the disk's file for the next policy")?;
        }
        let file = self.file.try_clone().context("cannot use the disk's file again")?;
        Ok(Self { file, sectors: self.sectors, trouble: self.trouble.clone() })
    }

    fn failed(&self, doing: &str, sector: u64, error: &io::Error) {
        self.trouble.borrow_mut().get_or_insert_with(|| format!("{doing} sector {sector}: {error}"));
    }
}

impl Medium for FileMedium {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read(&mut self, sector: u64, to: &mut [u8; SECTOR]) -> Result<(), MediumError> {
        let mut done = 0;
        while done < SECTOR {
            match self.file.read_at(&mut to[done..], sector * SECTOR as u64 + done as u64) {
                // Beyond the file's end is what was never written.
                Ok(0) => {
                    to[done..].fill(0);
                    return Ok(());
                }
                Ok(more) => done += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed("reading", sector, &error);
                    return Err(MediumError::Unreadable);
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, sector: u64, from: &[u8; SECTOR]) -> Result<(), MediumError> {
        self.file.write_all_at(from, sector * SECTOR as u64).map_err(|error| {
            self.failed("writing", sector, &error);
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => MediumError::Full,
                _ => MediumError::Unwritable,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_the_rest_is_zeros() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        let (mut disk, trouble) = FileMedium::open(&path, 10).unwrap();
        disk.write(3, &[7; SECTOR]).unwrap();
        let mut sector = [1; SECTOR];
        for (number, holds) in [(3, 7), (2, 0), (9, 0)] {
            disk.read(number, &mut sector).unwrap();
            assert_eq!(sector, [holds; SECTOR], "sector {number}");
        }
        assert!(trouble.borrow().is_none());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 4 * SECTOR as u64);
        let refused = FileMedium::open(&path, 10).err().unwrap().to_string();
        assert!(refused.contains("is not empty"), "{refused}");
        assert_eq!(disk.again().unwrap().read(3, &mut sector), Ok(()));
        assert_eq!(sector, [0; SECTOR]);
    }

    #[test]
    fn a_full_host_is_said_in_its_own_words() {
        let (mut disk, trouble) = FileMedium::open(Path::new("/dev/full"), 10).unwrap();
        assert_eq!(disk.write(5, &[0; SECTOR]), Err(MediumError::Full));
        assert_eq!(disk.write(6, &[0; SECTOR]), Err(MediumError::Full));
        let said = trouble.borrow().clone().unwrap();
        assert!(said.starts_with("writing sector 5: No space left"), "{said}");
    }
}
