/*
 * What the skeleton's processes run: two of them, with a thread each, do to one another all that makes caches disagree, and each checks that
 * it sees what was stored last. The first one says so, a line for each thing: on a machine whose caches hold bytes, too, each line must come.
 */
#include "calls.h"

/* Pages that nobody has until they are used. */
#define ZEROS 0x20000u
#define STORED 0x22000u /* two pages, by a thread */
#define BUFFER 0x28000u
#define OTHER_BUFFER 0x2b000u
#define FILE 0x30000u
#define TURNS_ELSEWHERE 0x35000u
#define NUMBERS_ELSEWHERE 0x36000u
#define STACK_OF_THREAD 0x40000u
#define STACK_OF_SECOND_THREAD 0x42000u
#define RECYCLED 0x43000u

#define WORDS (2 * PAGE / 4)

static u32 length_of(const char *text)
{
	u32 length = 0;

	while (text[length])
		length++;
	return length;
}

static void print(const char *first, const char *second)
{
	say(first, length_of(first));
	say(second, length_of(second));
	say("\n", 1);
}

static void passed(const char *what) { print("PASS ", what); }

static void check(u32 right, const char *what)
{
	if (right)
		return;
	print("FAIL ", what);
	exit_process();
}

static u32 same(const char *one, const char *other)
{
	while (*one && *one == *other)
		one++, other++;
	return *one == *other;
}

/* Argument `number` of those that follow one another. */
static const char *argument(const char *arguments, u32 number)
{
	while (number--)
		arguments += length_of(arguments) + 1;
	return arguments;
}

/* What a thread is told, and what it says. */
static volatile u32 stop, rounds, stopped;

static volatile u32 *const stored = (volatile u32 *)STORED;

NOT_INLINED static void thread_stores(u32 first)
{
	u32 round, i;

	for (round = first; !stop; round++) {
		for (i = 0; i < WORDS; i++)
			stored[i] = round;
		rounds = round;
	}
	stopped = 1;
	exit_thread();
}

static void begin_thread(void (*function)(u32), u32 stack, u32 number)
{
	stop = stopped = rounds = 0;
	check(spawn(function, stack, number) != FAILED, "a thread");
}

static void end_thread(void)
{
	stop = 1;
	while (!stopped)
		yield();
}

/* Waits until the thread has gone round twice more. */
static void more_rounds(void)
{
	u32 seen = rounds;

	while (rounds < seen + 2)
		yield();
}

NOT_INLINED static u32 loads_pages(void)
{
	u32 i, sum = 0;

	for (i = 0; i < WORDS; i++)
		sum += stored[i];
	return sum;
}

static void zero_pages(void)
{
	volatile u32 *words = (volatile u32 *)ZEROS;
	u32 i;

	for (i = 0; i < WORDS; i++)
		check(words[i] == 0, "zeros");
	for (i = 0; i < WORDS; i++)
		words[i] = i;
	for (i = 0; i < WORDS; i++)
		check(words[i] == i, "what was stored");
	check(!unmap(ZEROS) && !unmap(ZEROS + PAGE), "unmap");
	passed("zero-pages");
}

/* The child has what there was when it was born, whatever its parent's thread stores, and a thread of its own. */
static void child_of_a_writer(void)
{
	u32 sum = loads_pages(), i;

	for (i = 0; i < 3; i++)
		yield();
	for (i = 1; i < WORDS; i++)
		check(stored[i] == stored[0] || stored[i] == stored[0] - 1, "a child's memory, half of a round");
	check(loads_pages() == sum, "a child's memory while its parent stores");
	begin_thread(thread_stores, STACK_OF_SECOND_THREAD, 1000000);
	more_rounds();
	end_thread();
	for (i = 0; i < WORDS; i++)
		check(stored[i] == rounds, "what a child's thread stored");
	write_file(0, (const void *)&rounds, 4);
	exit_process();
}

static void fork_while_a_thread_stores(void)
{
	u32 child, round, told, i;

	begin_thread(thread_stores, STACK_OF_THREAD, 1);
	for (round = 0; round < 3; round++) {
		more_rounds();
		child = fork();
		if (!child)
			child_of_a_writer();
		check(child != FAILED, "fork");
		more_rounds();
		check(stored[0] < 1000000, "a parent's memory while its child stores");
		wait(child);
		read_file(0, &told, 4);
		check(told > 1000000, "a child's end");
	}
	end_thread();
	for (i = 0; i < WORDS; i++)
		check(stored[i] == rounds, "what a parent's thread stored");
	passed("fork-while-a-thread-stores");
}

/* Each has a page of the file at an address of its own, and takes turns with the other; what it stores there `read` has, and what `write` has
 * stored is there. */
NOT_INLINED static void takes_turns(volatile u32 *page, u32 first)
{
	u32 turn, word;

	for (turn = first; turn < 12; turn += 2) {
		while (page[0] != turn)
			yield();
		if (turn) {
			check(page[8 + turn - 1] == turn * 3, "what the other stored");
			check(page[64 + turn - 1] == turn * 5, "what the other wrote");
		}
		page[8 + turn] = (turn + 1) * 3;
		check(!read_file(4 * (8 + turn), &word, 4) && word == (turn + 1) * 3, "what read has");
		word = (turn + 1) * 5;
		check(!write_file(4 * (64 + turn), &word, 4) && page[64 + turn] == word, "what write has stored");
		page[0] = turn + 1;
	}
}

NOT_INLINED static u32 loads_elsewhere(void) { return *(volatile u32 *)NUMBERS_ELSEWHERE; }

NOT_INLINED static void stores_to_file(u32 number) { *(volatile u32 *)(FILE + PAGE) = number; }

static void share_a_file(void)
{
	u32 child, zero = 0, number;

	write_file(0, &zero, 4);
	write_file(PAGE, &zero, 4);
	check(!map_file(0, FILE, 1) && !map_file(1, FILE + PAGE, 1), "mapping a file");
	stores_to_file(1);
	child = fork();
	if (!child) {
		/* The child's own mappings are of other colours than its parent's. */
		check(!unmap(FILE) && !unmap(FILE + PAGE), "unmapping a file");
		check(!map_file(0, TURNS_ELSEWHERE, 1) && !map_file(1, NUMBERS_ELSEWHERE, 0), "mapping a file");
		takes_turns((volatile u32 *)TURNS_ELSEWHERE, 1);
		for (number = 2; number < 6; number++) {
			while (loads_elsewhere() != number)
				yield();
			*(volatile u32 *)TURNS_ELSEWHERE = number;
		}
		exit_process();
	}
	takes_turns((volatile u32 *)FILE, 0);
	for (number = 2; number < 6; number++) {
		stores_to_file(number);
		while (*(volatile u32 *)FILE != number)
			yield();
	}
	wait(child);
	check(!unmap(FILE) && !unmap(FILE + PAGE), "unmapping a file");
	passed("shared-file");
}

NOT_INLINED static void stores_here(volatile u32 *page, u32 number) { page[16] = number; }
NOT_INLINED static u32 loads_there(const volatile u32 *page) { return page[16]; }

/* One process has a page of the file at two addresses of different colours. Nothing of the kernel's but faults comes between. */
static void two_addresses(void)
{
	volatile u32 *const here = (volatile u32 *)FILE, *const there = (volatile u32 *)TURNS_ELSEWHERE;
	u32 number;

	check(!map_file(2, FILE, 1) && !map_file(2, TURNS_ELSEWHERE, 1), "mapping a page twice");
	for (number = 1; number < 7; number += 2) {
		stores_here(here, number);
		check(loads_there(there) == number, "what was stored at another address");
		stores_here(there, number + 1);
		check(loads_there(here) == number + 1, "what was stored at another address");
	}
	check(!unmap(FILE) && !unmap(TURNS_ELSEWHERE), "unmapping a page twice");
	passed("two-addresses");
}

static volatile u32 told, heard;

/* The child does what it is told by a debugger. */
static void is_debugged(void)
{
	u32 i;

	for (i = 1; i < 4; i++) {
		heard = answers() * 100 + i;
		while (told != i)
			yield();
	}
	heard = answers() * 100 + i;
	for (;;)
		yield();
}

static void debug_a_child(void)
{
	u32 child = fork(), i;

	if (!child)
		is_debugged();
	for (i = 1; i < 4; i++) {
		while (peek(child, &heard) != i * 100 + i)
			yield();
		check(!poke(child, answer, ANSWER(i + 1)), "poking code");
		check(!poke(child, &told, i), "poking data");
	}
	while (peek(child, &heard) != i * 100 + i)
		yield();
	check(answers() == 1 && !told && !heard, "a debugger's own memory");
	kill(child);
	wait(child);
	passed("peek-and-poke");
}

static void second_program(const char *arguments)
{
	static volatile u32 data = 1234, zeros[16];
	u32 i, done = 4711;

	check(same(argument(arguments, 1), "alpha") && same(argument(arguments, 2), "beta gamma"), "arguments of exec");
	check(data == 1234 && !told && !zeros[0], "data after exec");
	for (i = 0; i < PAGE / 4; i++)
		check(((volatile u32 *)STORED)[i] == 0, "memory after exec");
	data = 5;
	zeros[0] = 5;
	write_file(0, &done, 4);
	exit_process();
}

static void exec_a_child(void)
{
	static const char arguments[] = "second\0alpha\0beta gamma";
	u32 round, child, done;

	for (round = 0; round < 2; round++) {
		child = fork();
		if (!child) {
			told = 1;
			stored[0] = 1;
			exec(arguments, sizeof arguments);
		}
		wait(child);
		check(!read_file(0, &done, 4) && done == 4711, "the end of a child after exec");
		done = 0;
		write_file(0, &done, 4);
	}
	passed("exec");
}

#if defined(DISK)
#define SECTOR 512u
#define BYTES (4 * SECTOR)

/* The word before the buffer and the word behind it, each in a line with bytes of it. */
static volatile u32 *volatile before, *volatile behind;

NOT_INLINED static void thread_stores_beside(u32 number)
{
	while (!stop) {
		*before = number;
		*behind = number;
		rounds = number++;
	}
	stopped = 1;
	exit_thread();
}

NOT_INLINED static void loads_buffer(const volatile u32 *buffer, u32 first)
{
	u32 i;

	for (i = 0; i < BYTES / 4; i++)
		check(buffer[i] == first + 4 * i, "what a disk delivered");
}

NOT_INLINED static void stores_buffer(volatile u32 *buffer, u32 first)
{
	u32 i;

	for (i = 0; i < BYTES / 4; i++)
		buffer[i] = first + 4 * i;
}

static void use_the_disk(void)
{
	u32 round, sector;

	for (round = 0; round < 4; round++) {
		volatile u32 *buffer = (volatile u32 *)(BUFFER + round * PAGE + PAGE - 1012 + 4 * round);
		volatile u32 *other = (volatile u32 *)(OTHER_BUFFER + 2 * PAGE + 64 - 4 * round);

		sector = 16 * round;
		before = buffer - 1;
		behind = buffer + BYTES / 4;
		stores_buffer(buffer, 7);
		begin_thread(thread_stores_beside, STACK_OF_THREAD, 1);
		more_rounds();
		/* Every word of it that was never written is its own offset. */
		check(!read_disk(sector, (void *)buffer, BYTES), "reading a disk");
		loads_buffer(buffer, sector * SECTOR);
		more_rounds();
		stores_buffer(buffer, 0x1000000 * (round + 1));
		check(!write_disk(sector + 4, (const void *)buffer, BYTES), "writing a disk");
		end_thread();
		check(*before == rounds && *behind == rounds, "what was stored beside a buffer");
		stores_buffer(other, 3);
		check(!read_disk(sector + 4, (void *)other, BYTES), "reading a disk");
		loads_buffer(other, 0x1000000 * (round + 1));
	}
	passed("direct-disk");
}
#endif

/* Frames that others had, at other colours, and what a disk or a file had left in them. */
static void recycle(void)
{
	u32 round, page, word, child;

	for (round = 0; round < 4; round++) {
		child = fork();
		if (!child) {
			for (page = 0; page < 11; page++) {
				volatile u32 *words = (volatile u32 *)(RECYCLED + (page + round % 2) * PAGE);

				for (word = 0; word < PAGE / 4; word += 4)
					check(!words[word], "zeros in a frame that others had");
				words[5] = round;
			}
			exit_process();
		}
		wait(child);
	}
	passed("recycled-frames");
}

__attribute__((section(".text.start"), used)) static void start(const char *arguments)
{
	if (same(arguments, "second"))
		second_program(arguments);
	check(same(argument(arguments, 1), "first") && same(argument(arguments, 2), "second argument"), "arguments");
	passed("arguments");
	zero_pages();
	fork_while_a_thread_stores();
	share_a_file();
	two_addresses();
	debug_a_child();
	exec_a_child();
#if defined(DISK)
	use_the_disk();
#endif
	recycle();
	exit_process();
}
