//! Into the kernel and out of it: boot, the exception vectors, and a thread's registers.
//!
//! The kernel runs in supervisor mode, on one stack, with interrupts off. While a thread runs, that mode's stack pointer points to the end of
//! where its registers are kept, and an exception pushes them there. Sources: ARM Architecture Reference Manual (DDI 0100I), A2.6 "Exceptions",
//! A4 `SRS`, `RFE`, `CPS`, B4 "Virtual Memory System Architecture"; ARM1176JZF-S Technical Reference Manual (DDI 0301H), "c12, Vector Base
//! Address Register".

use core::arch::global_asm;

use congruent::VirtAddr;

use super::super::Event;

/// What a thread has in its registers while it does not run. The assembly below knows the layout.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Registers {
    vector: u32,
    data_status: u32,
    data_address: u32,
    fetch_status: u32,
    stack: u32,
    link: u32,
    general: [u32; 13],
    pc: u32,
    status: u32,
}

/// User mode, fast interrupts off.
const USER: u32 = 0x50;

impl Registers {
    /// A thread that begins at `pc`, as a function that is given `argument`.
    pub(crate) fn new(pc: VirtAddr, stack: VirtAddr, argument: usize) -> Self {
        let mut general = [0; 13];
        general[0] = argument as u32;
        Self { general, stack: stack.0 as u32 & !7, pc: pc.0 as u32, status: USER, ..Self::default() }
    }

    /// Why the thread stopped.
    pub(crate) fn event(&self) -> Event {
        // Bits 10 and 3 to 0: no translation of a section or page, or one without the right.
        let fault = |status: u32| (matches!(status & 0x40f, 5 | 7), matches!(status & 0x40f, 13 | 15));
        match (self.vector, fault(self.data_status), fault(self.fetch_status)) {
            (2, ..) => Event::Call,
            (3, _, (true, _)) => Event::Fault { address: VirtAddr(self.pc.into()), store: false },
            (4, (true, _) | (_, true), _) => {
                Event::Fault { address: VirtAddr(self.data_address.into()), store: self.data_status >> 11 & 1 != 0 }
            }
            (6, ..) => Event::Tick,
            _ => Event::Wrong,
        }
    }

    /// The number of a system call, and what it was given.
    pub(crate) fn call(&self) -> (usize, [usize; 4]) {
        (self.general[7] as usize, core::array::from_fn(|n| self.general[n] as usize))
    }

    /// The system call is over.
    pub(crate) fn answer(&mut self, value: usize) {
        self.general[0] = value as u32;
        self.pc += 4;
    }

    /// Where the thread is, for who looks for what is wrong.
    pub(crate) fn pc(&self) -> usize {
        self.pc as usize
    }
}

global_asm!(
    r#"
    .arm
    .equ LINEAR, 0xc0000000
    .equ MEMORY, 0x140e     @ a section: TEX 1, C, B: write-back, write-allocate; the kernel's alone
    .equ DEVICE, 0x0406     @ a section: B: a device; the kernel's alone

    .section .text.start, "ax"
    .globl _start
_start:                     @ at its physical address
    ldr r0, =SKELETON_SECTIONS - LINEAR
    ldr r1, =MEMORY
    mov r2, r0
    add r3, r0, #0x3000     @ the entry of LINEAR
    mov r4, #64             @ MiB, there and, for the next instructions, here
1:  str r1, [r2], #4
    str r1, [r3], #4
    add r1, r1, #0x100000
    subs r4, r4, #1
    bne 1b
    ldr r1, =0x20000000 | DEVICE
    add r3, r0, #0x3c80     @ the entry of 0xf2000000
    mov r4, #16
1:  str r1, [r3], #4
    add r1, r1, #0x100000
    subs r4, r4, #1
    bne 1b
    ldr r1, =SKELETON_WINDOWS - LINEAR + 1
    add r3, r0, #0x3fc0     @ the entry of WINDOWS
    str r1, [r3]
    mov r1, #0
    mcr p15, 0, r1, c7, c7, 0   @ both caches hold nothing
    mcr p15, 0, r1, c8, c7, 0   @ nor does the TLB
    mcr p15, 0, r0, c2, c0, 0   @ the table
    mcr p15, 0, r1, c2, c0, 2
    mov r2, #1
    mcr p15, 0, r2, c3, c0, 0   @ domain 0: as the table says
    mcr p15, 0, r1, c7, c10, 4
    mrc p15, 0, r2, c1, c0, 0
    ldr r3, =0x00801005         @ XP, I, C, M
    orr r2, r2, r3
    mcr p15, 0, r2, c1, c0, 0
    ldr pc, =2f
2:  ldr r0, =SKELETON_SECTIONS  @ at its own address
    ldr r2, =SKELETON_USERS - LINEAR + 1
    mov r4, #64
3:  str r2, [r0]                @ the first MiB is users', of the others there is nothing
    mcr p15, 0, r0, c7, c10, 1
    mov r2, #0
    add r0, r0, #4
    subs r4, r4, #1
    bne 3b
    mcr p15, 0, r2, c7, c10, 4
    mcr p15, 0, r2, c8, c7, 0
    ldr r0, =skeleton_vectors
    mcr p15, 0, r0, c12, c0, 0
    ldr sp, =skeleton_stack_end
    bl skeleton_start
skeleton_leave:                 @ to the thread whose registers r0 points to
    add sp, r0, #16
    ldmia sp, {{sp, lr}}^
    nop
    add sp, sp, #8
    ldmia sp!, {{r0-r12}}
    rfeia sp!

    .balign 32
skeleton_vectors:
    b skeleton_wrong
    b skeleton_undefined
    b skeleton_call
    b skeleton_fetch
    b skeleton_data
    b skeleton_wrong
    b skeleton_interrupt
    b skeleton_wrong

    .macro enter vector, back
    sub lr, lr, #\back
    srsdb sp!, #0x13
    cps #0x13
    stmdb sp!, {{r0-r12}}
    stmdb sp, {{sp, lr}}^
    sub sp, sp, #8
    mov r0, #\vector
    b skeleton_stopped
    .endm

    .macro of_users             @ or it is the kernel's own
    mrs sp, spsr
    tst sp, #15
    bne skeleton_wrong
    .endm

skeleton_undefined:
    of_users
    enter 1, 4
skeleton_call:
    enter 2, 4
skeleton_fetch:
    of_users
    enter 3, 4
skeleton_data:
    of_users
    enter 4, 8
skeleton_interrupt:
    enter 6, 4

skeleton_stopped:
    mrc p15, 0, r1, c5, c0, 0
    mrc p15, 0, r2, c6, c0, 0
    mrc p15, 0, r3, c5, c0, 1
    stmdb sp!, {{r0-r3}}
    ldr sp, =skeleton_stack_end
    bl skeleton_trap
    b skeleton_leave

skeleton_wrong:
    mov r0, lr
    mrc p15, 0, r1, c5, c0, 0
    mrc p15, 0, r2, c6, c0, 0
    ldr sp, =skeleton_stack_end
    bl skeleton_kernel_fault
    .ltorg

    .section .bss.start, "aw", %nobits
    .balign 16384
SKELETON_SECTIONS:
    .space 16384
skeleton_stack:
    .space 16384
skeleton_stack_end:
    .previous
    "#
);
