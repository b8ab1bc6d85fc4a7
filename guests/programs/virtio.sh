#!/bin/busybox sh
# A virtio disk, read and written by the program `disk`: past the page cache, and through it.
for module in virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk; do
	insmod "/modules/$module.ko" 2> /dev/null
done
/programs/disk "$@" && echo "PASS virtio"
