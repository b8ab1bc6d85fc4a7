//! Into the kernel and out of it: boot, the exception vectors, and a thread's registers.
//!
//! The kernel runs with `Status.EXL` set, on one stack for each CPU: it is not interrupted, and never faults. What a thread had in its
//! registers lies where a word of its CPU points to (`skeleton_registers`); while the kernel runs, that is nowhere. Sources: MIPS32
//! Architecture Volume III, "Exception Vector Locations", "Status Register", "Cause Register"; MIPS32 System V ABI supplement for the calls of C.

use core::arch::global_asm;

use congruent::VirtAddr;

use super::super::Event;

/// What a thread has in its registers while it does not run. The assembly below knows the layout.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Registers {
    general: [u32; 32],
    hi: u32,
    lo: u32,
    pc: u32,
    cause: u32,
    address: u32,
}

const V0: usize = 2;
const A0: usize = 4;
const SP: usize = 29;

impl Registers {
    /// A thread that begins at `pc`, as a function that is given `argument`.
    pub(crate) fn new(pc: VirtAddr, stack: VirtAddr, argument: usize) -> Self {
        let mut general = [0; 32];
        general[A0] = argument as u32;
        // The caller of a function has room for four arguments there.
        general[SP] = (stack.0 as u32 & !7) - 16;
        Self { general, pc: pc.0 as u32, ..Self::default() }
    }

    /// Why the thread stopped.
    pub(crate) fn event(&self) -> Event {
        match self.cause >> 2 & 0x1f {
            0 => Event::Tick,
            1 | 3 => Event::Fault { address: VirtAddr(self.address.into()), store: true },
            2 => Event::Fault { address: VirtAddr(self.address.into()), store: false },
            8 => Event::Call,
            _ => Event::Wrong,
        }
    }

    /// The number of a system call, and what it was given.
    pub(crate) fn call(&self) -> (usize, [usize; 4]) {
        (self.general[V0] as usize, core::array::from_fn(|n| self.general[A0 + n] as usize))
    }

    /// The system call is over.
    pub(crate) fn answer(&mut self, value: usize) {
        self.general[V0] = value as u32;
        self.pc += 4;
    }

    /// Where the thread is, for who looks for what is wrong.
    pub(crate) fn pc(&self) -> usize {
        self.pc as usize
    }
}

global_asm!(
    r#"
    .set mips32r2
    .set noreorder
    .set noat
    .equ PC, 34 * 4

    .macro set_up
    mfc0 $8, $16            # Config.K0 = 5: KSEG0 is cacheable, and coherent with other CPUs
    ins $8, $0, 0, 3
    ori $8, $8, 5
    mtc0 $8, $16
    lui $8, 0x40            # Status: BEV, EXL, while the vectors change
    ori $8, $8, 2
    mtc0 $8, $12
    ehb
    lui $8, %hi(skeleton_vectors)
    addiu $8, $8, %lo(skeleton_vectors)
    mtc0 $8, $15, 1         # EBase
    mtc0 $0, $28            # TagLo
    mtc0 $0, $13            # Cause: vectors of interrupts are those of all else
    ori $8, $0, 0x8013      # Status: IM7 (timer), UM, EXL, IE
    mtc0 $8, $12
    ehb
    stack
    .endm

    .macro own_word         # $26: four times the number of this CPU, of which there are two
    mfc0 $26, $15, 1
    andi $26, $26, 1
    sll $26, $26, 2
    .endm

    .macro stack            # of 16 KiB, one for each CPU
    own_word
    sll $26, $26, 12
    lui $29, %hi(skeleton_stacks + 0x3ff0)
    addiu $29, $29, %lo(skeleton_stacks + 0x3ff0)
    addu $29, $29, $26
    .endm

    .section .text.start, "ax"
    .globl _start
_start:
    set_up
    jal skeleton_start
    nop

skeleton_leave:             # to the thread whose registers $2 points to
    own_word
    lui $27, %hi(skeleton_registers)
    addu $27, $27, $26
    sw $2, %lo(skeleton_registers)($27)
    move $26, $2
    lw $8, PC - 8($26)
    mthi $8
    lw $8, PC - 4($26)
    mtlo $8
    lw $8, PC($26)
    mtc0 $8, $14
    .irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 28, 29, 30, 31
    lw $\n, 4 * \n($26)
    .endr
    ehb
    eret

    .balign 4096
skeleton_vectors:           # 0x000: TLB refill
    j skeleton_enter
    nop
    .org skeleton_vectors + 0x180   # all else
skeleton_enter:
    own_word
    lui $27, %hi(skeleton_registers)
    addu $27, $27, $26
    lw $26, %lo(skeleton_registers)($27)
    sw $0, %lo(skeleton_registers)($27)
    beqz $26, skeleton_wrong
    nop
    .irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 28, 29, 30, 31
    sw $\n, 4 * \n($26)
    .endr
    mfhi $8
    sw $8, PC - 8($26)
    mflo $8
    sw $8, PC - 4($26)
    mfc0 $8, $14
    sw $8, PC($26)
    mfc0 $8, $13
    sw $8, PC + 4($26)
    mfc0 $8, $8
    sw $8, PC + 8($26)
    stack
    jal skeleton_trap
    nop
    b skeleton_leave
    nop

skeleton_wrong:             # the kernel's own exception
    mfc0 $4, $14
    mfc0 $5, $13
    mfc0 $6, $8
    stack
    jal skeleton_kernel_fault
    nop

    .balign 4096
    .globl skeleton_second
skeleton_second:            # another CPU, past the cache
    set_up
    lui $8, %hi(1f)
    addiu $8, $8, %lo(1f)
    jr $8
    nop
1:  jal skeleton_join
    nop
    jal skeleton_next
    nop
    b skeleton_leave
    nop

    .section .bss.start, "aw", @nobits
    .balign 16
skeleton_stacks:
    .space 2 * 16384
skeleton_registers:
    .space 2 * 4
    .previous
    "#
);
