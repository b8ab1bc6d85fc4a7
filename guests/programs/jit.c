/*
 * Writes functions into memory, tells the kernel to make them fit for execution, and calls them; again and again in the same place, so that
 * an instruction cache that was not told holds the previous one. With the argument `forgets` the kernel is not told. With `migrates` each
 * function is written on one CPU and called on the other, by turns.
 */
#define _GNU_SOURCE
#include "cpus.h"

#include <sys/syscall.h>

#define FUNCTIONS 8u

typedef uint32_t function(void);

/* A function that returns `value`, at most 15 bits. */
NOT_INLINED static void program_writes_code(volatile uint32_t *code, uint32_t value)
{
#ifdef __mips__
	code[0] = 0x03e00008u;         /* jr $ra */
	code[1] = 0x24020000u | value; /* addiu $v0, $zero, value */
#else
	code[0] = 0xe3a00000u | (value & 0xffu);         /* mov r0, #low */
	code[1] = 0xe3800c00u | (value >> 8 & 0xffu);    /* orr r0, r0, #high << 8 */
	code[2] = 0xe12fff1eu;                           /* bx lr */
#endif
}

static void make_executable(char *code, uint32_t length)
{
#ifdef __mips__
	must("cacheflush", syscall(SYS_cacheflush, code, length, 3));
#else
	must("cacheflush", syscall(0x0f0002, code, code + length, 0));
#endif
}

int main(int argc, char **argv)
{
	int forgets = argc > 1 && !strcmp(argv[1], "forgets");
	int migrates = argc > 1 && !strcmp(argv[1], "migrates");
	uint32_t round, n;
	char *area;

	program_name = forgets ? "jit:forgets" : migrates ? "jit:migrates" : "jit";
	area = mmap(NULL, FUNCTIONS * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	for (round = 0; round < 16; round++)
		for (n = 0; n < FUNCTIONS; n++) {
			char *code = area + n * PAGE + 64 * n;
			uint32_t value = round * 256 + n, result;

			if (migrates)
				go_to(round & 1);
			program_writes_code((volatile uint32_t *)code, value);
			if (!forgets)
				make_executable(code, 12);
			if (migrates)
				go_to(~round & 1);
			result = ((function *)code)();
			if (result != value)
				fail("function %u returned %u", value, result);
		}
	printf("PASS %s\n", program_name);
	return 0;
}
