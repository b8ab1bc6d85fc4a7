//! Writes the archive format of an initramfs: cpio "newc" (Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`).

/// An archive under construction.
pub struct Cpio {
    bytes: Vec<u8>,
    inode: u32,
}

impl Cpio {
    /// An empty archive.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), inode: 0 }
    }

    /// Adds a directory.
    pub fn directory(&mut self, path: &str) {
        self.entry(path, 0o040_755, (0, 0), &[]);
    }

    /// Adds a file that may be executed.
    pub fn program(&mut self, path: &str, contents: &[u8]) {
        self.entry(path, 0o100_755, (0, 0), contents);
    }

    /// Adds a character device.
    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.entry(path, 0o020_600, (major, minor), &[]);
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.inode = 0;
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), contents: &[u8]) {
        self.inode += 1;
        let length = u32::try_from(contents.len()).expect("a file of an initramfs is below 4 GiB");
        let name_length = u32::try_from(path.len() + 1).expect("a path is short");
        let (links, zero) = (1, 0);
        // inode, mode, uid, gid, links, time, length, device (2), device of a node (2), length of the name, checksum
        let fields = [self.inode, mode, 0, 0, links, 0, length, zero, zero, device.0, device.1, name_length, zero];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_header_of_110_bytes_then_name_and_contents_padded_to_four() {
        let mut cpio = Cpio::new();
        cpio.program("ab", b"hello");
        let bytes = cpio.finish();
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[14..22], b"000081ed"); // mode
        assert_eq!(&bytes[54..62], b"00000005"); // length
        assert_eq!(&bytes[94..102], b"00000003"); // length of the name with its end
        assert_eq!(&bytes[110..124], &b"ab\0\0\0\0hello\0\0\0"[..14]);
        assert!(bytes.len().is_multiple_of(4) && bytes.ends_with(b"TRAILER!!!\0\0\0\0"));
    }
}
