/*
 * The system calls of the skeleton (src/syscall.rs), and what the program needs of its processor.
 */
#ifndef CALLS_H
#define CALLS_H

typedef unsigned int u32;

#define PAGE 4096u
#define NOT_INLINED __attribute__((noinline, noclone))

#if defined(__mips__)
static u32 call(u32 number, u32 first, u32 second, u32 third, u32 fourth)
{
	register u32 v0 __asm__("$2") = number;
	register u32 a0 __asm__("$4") = first;
	register u32 a1 __asm__("$5") = second;
	register u32 a2 __asm__("$6") = third;
	register u32 a3 __asm__("$7") = fourth;

	__asm__ volatile("syscall" : "+r"(v0) : "r"(a0), "r"(a1), "r"(a2), "r"(a3) : "memory");
	return v0;
}

/* A function that returns 1, and the word of it that a debugger changes to have it return another number. */
u32 answers(void);
__asm__(".set push\n.set noreorder\n.text\n.balign 64\n.globl answers\n.type answers, @function\nanswers:\n\tjr $31\nanswer:\n\taddiu $2, $0, 1\n.size answers, . - answers\n.set pop\n");
#define ANSWER(number) (0x24020000u | (number))
#elif defined(__arm__)
static u32 call(u32 number, u32 first, u32 second, u32 third, u32 fourth)
{
	register u32 r7 __asm__("r7") = number;
	register u32 r0 __asm__("r0") = first;
	register u32 r1 __asm__("r1") = second;
	register u32 r2 __asm__("r2") = third;
	register u32 r3 __asm__("r3") = fourth;

	__asm__ volatile("svc #0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2), "r"(r3) : "memory");
	return r0;
}

u32 answers(void);
__asm__(".text\n.balign 64\n.globl answers\n.type answers, %function\nanswers:\nanswer:\n\tmov r0, #1\n\tbx lr\n.size answers, . - answers\n");
#define ANSWER(number) (0xe3a00000u | (number))
#endif

extern u32 answer[];

#define FAILED 0xffffffffu

static inline void say(const char *text, u32 length) { call(0, (u32)text, length, 0, 0); }
static inline void exit_process(void) { call(1, 0, 0, 0, 0); }
static inline void exit_thread(void) { call(2, 0, 0, 0, 0); }
static inline void yield(void) { call(3, 0, 0, 0, 0); }
static inline u32 spawn(void (*function)(u32), u32 stack, u32 argument) { return call(4, (u32)function, stack, argument, 0); }
static inline u32 fork(void) { return call(5, 0, 0, 0, 0); }
static inline void wait(u32 process) { call(6, process, 0, 0, 0); }
static inline void exec(const char *arguments, u32 length) { call(7, (u32)arguments, length, 0, 0); }
static inline u32 map_file(u32 page, u32 address, u32 writable) { return call(8, page, address, writable, 0); }
static inline u32 unmap(u32 address) { return call(9, address, 0, 0, 0); }
static inline u32 read_file(u32 at, void *to, u32 length) { return call(10, at, (u32)to, length, 0); }
static inline u32 write_file(u32 at, const void *from, u32 length) { return call(11, at, (u32)from, length, 0); }
static inline u32 peek(u32 process, const volatile void *address) { return call(12, process, (u32)address, 0, 0); }
static inline u32 poke(u32 process, volatile void *address, u32 word) { return call(13, process, (u32)address, word, 0); }
static inline void kill(u32 process) { call(15, process, 0, 0, 0); }
static inline u32 read_disk(u32 sector, void *to, u32 length) { return call(14, sector, (u32)to, length, 0); }
static inline u32 write_disk(u32 sector, const void *from, u32 length) { return call(14, sector, (u32)from, length, 1); }

#endif
