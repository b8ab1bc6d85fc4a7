//! The devices whose transfers are known: one number each, so that sources and reports mean the same device. Devices on PCI have those of
//! their vendor and kind, in this order.

use crate::Site;

/// The bus master of the PIIX4 IDE controller (malta).
pub const PIIX_IDE: Site = Site(0x8086_7111);
/// The DMA controller of BCM2835, on behalf of the SD host and others.
pub const BCM2835_DMA: Site = Site(0x2835);
/// AMD's PCnet, malta's network card.
pub const PCNET: Site = Site(0x1022_2000);
/// Any virtio device that sees caches and is seen by them, whatever it is connected by.
pub const VIRTIO: Site = Site(0x1af4);
/// Any device whose transfers are not seen. Its writes are known by their outcome alone: memory is not what it was when the last copy of it was
/// thrown away. When between that and now they were is not known.
pub const UNSEEN: Site = Site(u32::MAX);

/// What a device is called in a report; `None` for a number that no device here has.
#[must_use]
pub const fn name(device: Site) -> Option<&'static str> {
    match device {
        PIIX_IDE => Some("the IDE controller"),
        BCM2835_DMA => Some("the DMA controller"),
        PCNET => Some("the network card"),
        VIRTIO => Some("a virtio device"),
        UNSEEN => Some("a device that is not followed"),
        _ => None,
    }
}
