//! What a memory callback is told of its access: kind and length, packed by QEMU into an integer whose form is its own.
//!
//! Guarantees: a shape that is remembered in a byte is never zero, so that zero can stand for "not asked yet". Not here: what only QEMU can
//! say of an access (`api`).

use congruent_trace::AccessKind;

/// A guest memory access as QEMU packs it into an integer.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct AccessInfo(pub u32);

/// What an [`AccessInfo`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccessShape {
    /// Whether bytes are read or written.
    pub kind: AccessKind,
    /// The length in bytes, a power of two up to 64.
    pub size: u32,
}

impl AccessShape {
    const STORE: u8 = 0x80;
    const SIZE: u8 = 0x7f;

    /// The shape in one byte that is never zero.
    pub fn pack(self) -> u8 {
        let store = if self.kind == AccessKind::Store { Self::STORE } else { 0 };
        store | (self.size as u8 & Self::SIZE)
    }

    /// The shape in a byte, `None` for zero.
    #[inline]
    pub fn unpack(packed: u8) -> Option<Self> {
        let kind = if packed & Self::STORE != 0 { AccessKind::Store } else { AccessKind::Load };
        (packed != 0).then_some(Self { kind, size: u32::from(packed & Self::SIZE) })
    }
}

/// Where an access went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Memory, at this physical address.
    Memory(u64),
    /// A device, at this physical address.
    Device(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_survives_its_byte_and_zero_is_none() {
        for kind in [AccessKind::Load, AccessKind::Store] {
            for size in [1, 2, 4, 8, 16, 32, 64] {
                let shape = AccessShape { kind, size };
                assert_eq!(AccessShape::unpack(shape.pack()), Some(shape));
            }
        }
        assert_eq!(AccessShape::unpack(0), None);
    }
}
