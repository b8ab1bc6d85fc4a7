/*
 * Executes itself with 64 KiB of arguments, which the kernel stores into the new stack through its own mapping before the new program
 * runs; the new program must find every byte. Several generations, so that several frames of every colour are used.
 */
#include "colours.h"

#define ARGUMENTS 64
#define LENGTH 1023 /* and the zero at the end: 64 KiB in all */
#define GENERATIONS 6

static char letter(unsigned argument, unsigned i, unsigned generation)
{
	return (char)('a' + (argument * 7 + i * 3 + generation * 11) % 26);
}

/* The first wrong argument, or ARGUMENTS. */
NOT_INLINED static unsigned program_reads_arguments(char **arguments, unsigned generation)
{
	unsigned argument, i;

	for (argument = 0; argument < ARGUMENTS; argument++) {
		for (i = 0; i < LENGTH; i++)
			if (arguments[argument][i] != letter(argument, i, generation))
				return argument;
		if (arguments[argument][LENGTH])
			return argument;
	}
	return ARGUMENTS;
}

int main(int argc, char **argv)
{
	static char text[ARGUMENTS][LENGTH + 1];
	static char *arguments[ARGUMENTS + 3];
	unsigned generation = argc > 2 ? (unsigned)atoi(argv[1]) : 0, argument, i;
	char number[8];

	program_name = "exec_args";
	if (generation) {
		argument = argc == ARGUMENTS + 2 ? program_reads_arguments(argv + 2, generation) : 0;
		if (argument != ARGUMENTS)
			fail("generation %u: argument %u of %d is wrong", generation, argument, argc);
	}
	if (generation == GENERATIONS) {
		printf("PASS %s: %d generations with 64 KiB each\n", program_name, GENERATIONS);
		return 0;
	}
	generation++;
	snprintf(number, sizeof number, "%u", generation);
	arguments[0] = argv[0];
	arguments[1] = number;
	for (argument = 0; argument < ARGUMENTS; argument++) {
		for (i = 0; i < LENGTH; i++)
			text[argument][i] = letter(argument, i, generation);
		arguments[argument + 2] = text[argument];
	}
	fflush(stdout);
	execv(argv[0], arguments);
	fail("execv %s: %s", argv[0], strerror(errno));
}
