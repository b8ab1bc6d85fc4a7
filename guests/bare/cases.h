/*
 * Cases without an operating system: one frame, mapped at addresses of different colours, and one maintenance instruction in each form.
 *
 * The name of a case says what a judge must find: `stale_…` a finding whose consumer is the function of that name, `clean_…` none.
 * Every case gets a frame that no case before has touched. A case returns what it loaded, which on an emulator without caches is
 * always the newest value.
 */
#ifndef CASES_H
#define CASES_H

typedef unsigned int u32;

#define PAGE 4096u
#define NEWEST 0x5a5a5a5au /* equal bytes: no byte order, no sign */

/* What a case may touch: one frame through its first and second colour, and past the cache. */
struct frame {
	char *a, *b;
	char *uncached;
};

struct named_case {
	const char *name;
	u32 (*run)(const struct frame *frame);
};

/* A case; the linker gathers them all. */
#define CASE(name)                                                                                                                 \
	__attribute__((noinline, noclone)) static u32 name(const struct frame *frame);                                             \
	static const struct named_case entry_of_##name __attribute__((used, section("cases"))) = {#name, name};                    \
	static u32 name(const struct frame *frame)

extern const struct named_case __start_cases[], __stop_cases[];

/* Accesses that the compiler neither merges nor moves. */
#define STORE(address) (*(volatile u32 *)(address) = NEWEST)
#define LOAD(address) (*(volatile u32 *)(address))
#define REWRITE(address) (*(volatile u32 *)(address) = LOAD(address))
#define CALL(address) ((void (*)(void))(address))()

/*
 * The cases of one maintenance operation on one line, `op(address)`. `written` is `clean` if it brings dirty bytes to memory, `dropped` is
 * `clean` if it takes an old copy away; otherwise `stale`. `good_write_back` is an operation known to bring the line to memory.
 */
#define CASES_OF_LINE_OPERATION(op, written, dropped)                                                                              \
	CASES_OF_OPERATION(op, written, dropped)                                                                                   \
	CASE(stale_##op##_of_wrong_colour)                                                                                         \
	{                                                                                                                          \
		STORE(frame->a);                                                                                                   \
		op(frame->b);                                                                                                      \
		return LOAD(frame->b);                                                                                             \
	}

/* The same for an operation that reaches every line. */
#define CASES_OF_OPERATION(op, written, dropped)                                                                                   \
	CASE(written##_##op##_of_new_bytes)                                                                                        \
	{                                                                                                                          \
		STORE(frame->a);                                                                                                   \
		op(frame->a);                                                                                                      \
		return LOAD(frame->b);                                                                                             \
	}                                                                                                                          \
	CASE(dropped##_##op##_of_old_copy)                                                                                         \
	{                                                                                                                          \
		LOAD(frame->b);                                                                                                    \
		STORE(frame->a);                                                                                                   \
		good_write_back(frame->a);                                                                                         \
		op(frame->b);                                                                                                      \
		return LOAD(frame->b);                                                                                             \
	}

/* The cases that need no maintenance instruction, or any. */
#define CASES_OF_ACCESSES                                                                                                          \
	CASE(stale_store_then_load) { STORE(frame->a); return LOAD(frame->b); }                                                    \
	CASE(clean_store_then_load_of_same_colour) { STORE(frame->a); return LOAD(frame->a); }                                     \
	CASE(stale_copy_after_write_back)                                                                                          \
	{                                                                                                                          \
		LOAD(frame->b);                                                                                                    \
		STORE(frame->a);                                                                                                   \
		good_write_back(frame->a);                                                                                         \
		return LOAD(frame->b);                                                                                             \
	}                                                                                                                          \
	CASE(clean_no_copy_after_write_back)                                                                                       \
	{                                                                                                                          \
		STORE(frame->a);                                                                                                   \
		good_write_back(frame->a);                                                                                         \
		return LOAD(frame->b);                                                                                             \
	}                                                                                                                          \
	CASE(clean_old_copy_of_another_line)                                                                                       \
	{                                                                                                                          \
		LOAD(frame->b + 256);                                                                                              \
		STORE(frame->a);                                                                                                   \
		good_write_back(frame->a);                                                                                         \
		return LOAD(frame->b);                                                                                             \
	}                                                                                                                          \
	CASE(stale_uncached_load_of_dirty_bytes) { STORE(frame->a); return LOAD(frame->uncached); }                                \
	CASE(clean_uncached_load_after_write_back)                                                                                 \
	{                                                                                                                          \
		STORE(frame->a);                                                                                                   \
		good_write_back(frame->a);                                                                                         \
		return LOAD(frame->uncached);                                                                                      \
	}                                                                                                                          \
	CASE(stale_copy_after_uncached_store)                                                                                      \
	{                                                                                                                          \
		LOAD(frame->a);                                                                                                    \
		STORE(frame->uncached);                                                                                            \
		return LOAD(frame->a);                                                                                             \
	}                                                                                                                          \
	CASE(stale_store_under_dirty_alias)                                                                                        \
	{                                                                                                                          \
		STORE(frame->a);                                                                                                   \
		STORE(frame->b);                                                                                                   \
		return NEWEST;                                                                                                     \
	}                                                                                                                          \
	CASE(stale_uncached_store_under_dirty_bytes)                                                                               \
	{                                                                                                                          \
		STORE(frame->a);                                                                                                   \
		STORE(frame->uncached);                                                                                            \
		return NEWEST;                                                                                                     \
	}                                                                                                                          \
	CASE(clean_uncached_store_then_first_load) { STORE(frame->uncached); return LOAD(frame->a); }                              \
	CASE(clean_store_after_write_back_of_alias)                                                                                \
	{                                                                                                                          \
		STORE(frame->a);                                                                                                   \
		good_write_back(frame->a);                                                                                         \
		STORE(frame->b);                                                                                                   \
		return NEWEST;                                                                                                     \
	}                                                                                                                          \
	CASE(clean_uncached_store_after_write_back)                                                                                \
	{                                                                                                                          \
		STORE(frame->a);                                                                                                   \
		good_write_back(frame->a);                                                                                         \
		STORE(frame->uncached);                                                                                            \
		return NEWEST;                                                                                                     \
	}                                                                                                                          \
	CASE(stale_neighbour_of_a_store_to_an_old_copy)                                                                            \
	{                                                                                                                          \
		LOAD(frame->b);                                                                                                    \
		STORE(frame->a);                                                                                                   \
		good_write_back(frame->a);                                                                                         \
		STORE(frame->b + 4); /* b is dirty here and old there: its write-back puts the old bytes over the newer ones */    \
		return LOAD(frame->a);                                                                                             \
	}                                                                                                                          \
	CASE(clean_neighbour_of_a_store_after_dropping_the_old_copy)                                                               \
	{                                                                                                                          \
		LOAD(frame->b);                                                                                                    \
		STORE(frame->a);                                                                                                   \
		good_write_back(frame->a);                                                                                         \
		good_write_back(frame->b);                                                                                         \
		STORE(frame->b + 4);                                                                                               \
		return LOAD(frame->a);                                                                                             \
	}

/*
 * The cases of code that is stored to. `OWN_CODE(code)` makes a subroutine inside of the case, in a line of its own, and gives its address.
 * Storing what is there already makes newer bytes for a judge and none for the processor. `drop_code` takes a line out of the instruction
 * cache.
 */
#define CASES_OF_CODE                                                                                                              \
	CASE(stale_fetch_of_dirty_code)                                                                                            \
	{                                                                                                                          \
		char *code;                                                                                                        \
                                                                                                                                   \
		(void)frame;                                                                                                       \
		OWN_CODE(code);                                                                                                    \
		REWRITE(code);                                                                                                     \
		CALL(code);                                                                                                        \
		return NEWEST;                                                                                                     \
	}                                                                                                                          \
	CASE(clean_fetch_after_write_back)                                                                                         \
	{                                                                                                                          \
		char *code;                                                                                                        \
                                                                                                                                   \
		(void)frame;                                                                                                       \
		OWN_CODE(code);                                                                                                    \
		REWRITE(code);                                                                                                     \
		good_write_back(code);                                                                                             \
		CALL(code);                                                                                                        \
		return NEWEST;                                                                                                     \
	}                                                                                                                          \
	CASE(stale_fetch_of_old_copy)                                                                                              \
	{                                                                                                                          \
		char *code;                                                                                                        \
                                                                                                                                   \
		(void)frame;                                                                                                       \
		OWN_CODE(code);                                                                                                    \
		CALL(code);                                                                                                        \
		REWRITE(code);                                                                                                     \
		good_write_back(code);                                                                                             \
		CALL(code);                                                                                                        \
		return NEWEST;                                                                                                     \
	}                                                                                                                          \
	CASE(clean_fetch_after_dropping_the_old_copy)                                                                              \
	{                                                                                                                          \
		char *code;                                                                                                        \
                                                                                                                                   \
		(void)frame;                                                                                                       \
		OWN_CODE(code);                                                                                                    \
		CALL(code);                                                                                                        \
		REWRITE(code);                                                                                                     \
		good_write_back(code);                                                                                             \
		drop_code(code);                                                                                                   \
		CALL(code);                                                                                                        \
		return NEWEST;                                                                                                     \
	}

/* What a board provides. */
void print_letter(char letter);
void map(struct frame *frame, u32 number);
__attribute__((noreturn)) void end_machine(void);

static void print(const char *text)
{
	while (*text)
		print_letter(*text++);
}

/* Runs every case on a frame of its own and ends the machine. Called by the board's start code. */
__attribute__((noreturn, used)) static void run_cases(void)
{
	const struct named_case *c;
	struct frame frame;
	u32 number = 0;

	print("CONGRUENT-BOOT-OK\n");
	for (c = __start_cases; c < __stop_cases; c++) {
		map(&frame, number++);
		print(c->run(&frame) == NEWEST ? "PASS " : "FAIL ");
		print(c->name);
		print("\n");
	}
	print("CONGRUENT-DONE\n");
	end_machine();
}

#endif
