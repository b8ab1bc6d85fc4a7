//! The one definition of the command line that boots a guest.

use std::ffi::OsString;

use anyhow::{Context, Result, ensure};

use super::emulator::Qemu;
use super::machine::{Cpu, Guest};
use crate::place;

/// How long a kernel's command line may be: QEMU's malta board passes it in an entry of 256 bytes, behind `rd_start=0xffffffff8… rd_size=…`,
/// for which 48 are kept.
const LONGEST_ARGUMENTS: usize = 256 - 48;

/// The word that has a kernel run elsewhere than where it was linked, if it can; to the kernel it says nothing.
pub const MOVES_ITSELF: &str = "kaslr";

/// One boot of a guest.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Which guest.
    pub guest: Guest,
    /// Under which emulator.
    pub qemu: Qemu,
    /// The core, if not the guest's default one.
    pub cpu: Option<String>,
    /// Whether the run is to go the same way every time: time is counted in instructions, and starts at a fixed date.
    pub repeatable: bool,
    /// How many CPUs it has.
    pub cpus: u32,
    /// The programs to run after the boot, as `congruent.run=` takes them: `name:argument…,name…`.
    pub run: String,
    /// Whether each is started under a name that begins with its number in that list, as in `2.disk`.
    pub numbered: bool,
    /// More words for the kernel's command line.
    pub words: String,
    /// What it has beside its board.
    pub devices: Devices,
}

/// Devices that move bytes by themselves, and memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Devices {
    /// None but the board's own.
    None,
    /// The board's disk. What is written there is gone afterwards.
    Disk,
    /// A virtio disk, which by its standard is coherent with the caches.
    Virtio,
    /// A virtio disk that says it is not.
    VirtioOnPlatform,
    /// So much memory that a part of it is high.
    HighMemory,
    /// The board's network card, in a network of two: one serves a [page](super::page), the other sends back what it gets.
    Network,
}

impl Boot {
    /// A boot on the guest's default core that runs `run`.
    pub fn new(guest: Guest, qemu: Qemu, run: impl Into<String>) -> Self {
        Self {
            guest,
            qemu,
            cpu: None,
            cpus: 1,
            repeatable: false,
            run: run.into(),
            numbered: false,
            words: String::new(),
            devices: Devices::None,
        }
    }

    /// The command line: the program and its arguments.
    ///
    /// # Errors
    /// If the guest or the emulator has not been made yet.
    pub fn command(&self) -> Result<Vec<OsString>> {
        let machine = self.guest.machine();
        let emulator = self.qemu.program(machine.system)?;
        let dir = place::guests().join(machine.directory);
        let (kernel, initramfs) = (dir.join("kernel/vmlinuz"), dir.join("initramfs.cpio"));
        for needed in [&kernel, &initramfs] {
            ensure!(needed.exists(), "{} is missing: run `cargo xtask guests`", needed.display());
        }
        let mut line: Vec<OsString> = vec![emulator.into()];
        let mut add = |words: &[&str]| line.extend(words.iter().map(OsString::from));
        add(machine.board);
        if let Cpu::Default(cpu) = machine.cpu {
            add(&["-cpu", self.cpu.as_deref().unwrap_or(cpu)]);
        }
        let arguments = self.kernel_arguments();
        ensure!(arguments.len() < LONGEST_ARGUMENTS, "too many programs for one boot: the boards cut `{arguments}` off");
        add(&["-accel", "tcg,thread=single", "-nographic", "-no-reboot", "-append", &arguments]);
        if self.cpus > 1 {
            add(&["-smp", &self.cpus.to_string()]);
        }
        if self.repeatable {
            // 16 ns an instruction: faster guests spend a virtual second of boot waiting for the clock chip, instruction by instruction.
            add(&["-icount", "shift=4,sleep=off", "-rtc", "base=2026-01-01T00:00:00,clock=vm", "-seed", "1"]);
        }
        line.extend(self.device_arguments()?);
        line.extend([OsString::from("-kernel"), kernel.into(), OsString::from("-initrd"), initramfs.into()]);
        let tree = dir.join("kernel/board.dtb");
        if tree.exists() {
            line.extend([OsString::from("-dtb"), tree.into()]);
        }
        Ok(line)
    }

    fn device_arguments(&self) -> Result<Vec<OsString>> {
        let needed = |name: &str| {
            let file = place::guests().join(name);
            ensure!(file.exists(), "{} is missing: run `cargo xtask guests`", file.display());
            // A comma ends a value there, two are one.
            Ok(file.to_string_lossy().replace(',', ",,"))
        };
        let machine = self.guest.machine();
        let drive = |interface: &str| -> Result<[OsString; 2]> {
            let image = needed("disk")?;
            Ok(["-drive".into(), format!("if={interface},id=disk,format=raw,snapshot=on,file={image}").into()])
        };
        let virtio = |options: &str| -> Result<Vec<OsString>> {
            let device = format!("virtio-blk-pci,drive=disk{options}");
            Ok(drive("none")?.into_iter().chain(["-device".into(), device.into()]).collect())
        };
        Ok(match self.devices {
            Devices::None => Vec::new(),
            Devices::HighMemory => ["-m".into(), "1G".into()].into(),
            Devices::Disk => {
                let interface = machine.disk.with_context(|| format!("the kernel of {} has no disk", machine.directory))?;
                drive(interface)?.into()
            }
            Devices::Virtio => virtio("")?,
            Devices::VirtioOnPlatform => virtio(",disable-legacy=on,iommu_platform=on")?,
            Devices::Network => {
                let card = machine.network.with_context(|| format!("the kernel of {} has no network", machine.directory))?;
                let page = needed("page")?;
                // A server that is gone before the request has come takes its answer with it.
                let server = format!("sh -c \"cat '{page}'; cat > /dev/null\"");
                let network = format!(
                    "user,model={card},restrict=on,guestfwd=tcp:10.0.2.100:80-cmd:{server},guestfwd=tcp:10.0.2.101:7-cmd:cat"
                );
                // Cards have a program for starting computers, which no package here brings and no kernel needs.
                vec!["-global".into(), format!("{card}.romfile=").into(), "-nic".into(), network.into()]
            }
        })
    }

    /// Whether another program fits on the kernel's command line.
    pub fn fits(&self) -> bool {
        self.kernel_arguments().len() < LONGEST_ARGUMENTS
    }

    fn kernel_arguments(&self) -> String {
        let list = if self.numbered { "rows" } else { "run" };
        let space = if self.words.is_empty() { "" } else { " " };
        let mut words = self.guest.machine().words.to_owned();
        if self.words == MOVES_ITSELF {
            words = words.replace(" nokaslr", "");
        }
        format!("{words} rdinit=/init panic=1{space}{} congruent.{list}={}", self.words, self.run)
    }
}
