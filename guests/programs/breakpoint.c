/*
 * A debugger: stops a child in a function that both had run before, puts a breakpoint there, lets the child run into it, takes it out again.
 * The kernel writes into the child's code through a mapping of its own and must make the child's next fetch see it.
 */
#include "colours.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#ifdef __mips__
#define BREAKPOINT 0x0000000du /* break */
#else
#define BREAKPOINT 0xe7f001f0u /* what the kernel takes for a breakpoint: udf #16 */
#endif
#define ROUNDS 16

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

int main(void)
{
	long original;
	pid_t child;
	int round;

	program_name = "breakpoint";
	fflush(stdout);
	child = must("fork", fork());
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		for (;;) {
			child_runs_here();
			raise(SIGSTOP);
		}
	}
	wait_for(child, SIGSTOP);
	errno = 0;
	original = ptrace(PTRACE_PEEKTEXT, child, (void *)child_runs_here, NULL);
	must("peek", errno ? -1 : 0);
	for (round = 0; round < ROUNDS; round++) {
		must("poke", ptrace(PTRACE_POKETEXT, child, (void *)child_runs_here, (void *)BREAKPOINT));
		must("continue", ptrace(PTRACE_CONT, child, NULL, NULL));
		wait_for(child, SIGTRAP);
		must("poke", ptrace(PTRACE_POKETEXT, child, (void *)child_runs_here, (void *)original));
		must("continue", ptrace(PTRACE_CONT, child, NULL, NULL));
		wait_for(child, SIGSTOP);
	}
	kill(child, SIGKILL);
	waitpid(child, &round, 0);
	printf("PASS breakpoint\n");
	return 0;
}
