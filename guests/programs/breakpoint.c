/*
 * A debugger: stops a child in a function that both had run before, puts a breakpoint there, lets the child run into it, takes it out again.
 * The kernel writes into the child's code through a mapping of its own and must make the child's next fetch see it.
 *
 * The first store gives the child a frame of its own, and the frame decides the kernel's colour: children are made until one has a frame
 * of another colour than the code's, or, as the harmless twin, of the same.
 *
 * Where there are several CPUs, the children run on the last and the debugger on the first: each has what the other must not miss.
 */
#define _GNU_SOURCE
#include "cpus.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#ifdef __mips__
#define BREAKPOINT 0x0000000du /* break */
#else
#define BREAKPOINT 0xe7f001f0u /* what the kernel takes for a breakpoint: udf #16 */
#endif
#define ROUNDS 16
#define CHILDREN 64

NOT_INLINED static void child_runs_here(void)
{
	__asm__ volatile("" ::: "memory");
}

static void wait_for(pid_t child, int signal)
{
	int status;

	must("waitpid", waitpid(child, &status, 0));
	if (!WIFSTOPPED(status) || WSTOPSIG(status) != signal)
		fail("the child did not stop by signal %d but %x", signal, (unsigned)status);
}

static long word_of(pid_t child)
{
	long word;

	errno = 0;
	word = ptrace(PTRACE_PEEKTEXT, child, (void *)child_runs_here, NULL);
	must("peek", errno ? -1 : 0);
	return word;
}

static void poke(pid_t child, long word)
{
	must("poke", ptrace(PTRACE_POKETEXT, child, (void *)child_runs_here, (void *)word));
}

/* A stopped child, on this CPU, whose code has a frame of its own. */
static pid_t start(uint32_t cpu)
{
	pid_t child = must("fork", fork());

	if (child == 0) {
		go_to(cpu);
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		for (;;) {
			child_runs_here();
			raise(SIGSTOP);
		}
	}
	wait_for(child, SIGSTOP);
	poke(child, word_of(child));
	return child;
}

/* Whether the child's code has a frame as wanted. Colours that differ modulo two differ in every cache that is tried. */
static int is_wanted(pid_t child, int congruent)
{
	uintptr_t page = (uintptr_t)child_runs_here / PAGE;
	uint64_t frame;
	char who[16];
	int pagemap;

	snprintf(who, sizeof who, "%d", (int)child);
	pagemap = open_pagemap(who);
	frame = frame_at(pagemap, page);
	close(pagemap);
	return congruent ? frame % COLOURS == page % COLOURS : frame % 2 != page % 2;
}

int main(int argc, char **argv)
{
	pid_t children[CHILDREN];
	int congruent = congruent_only(argc, argv), made = 0, round;
	uint32_t last = cpus() - 1;
	long original;
	pid_t child;

	program_name = congruent ? "breakpoint:congruent" : "breakpoint";
	fflush(stdout);
	go_to(0);
	do {
		if (made == CHILDREN)
			fail("none of %d children has code in a frame of the colour", made);
		child = children[made++] = start(last);
	} while (!is_wanted(child, congruent));
	original = word_of(child);
	for (round = 0; round < ROUNDS; round++) {
		poke(child, BREAKPOINT);
		must("continue", ptrace(PTRACE_CONT, child, NULL, NULL));
		wait_for(child, SIGTRAP);
		poke(child, original);
		must("continue", ptrace(PTRACE_CONT, child, NULL, NULL));
		wait_for(child, SIGSTOP);
	}
	while (made--) {
		kill(children[made], SIGKILL);
		waitpid(children[made], NULL, 0);
	}
	printf("PASS %s\n", program_name);
	return 0;
}
