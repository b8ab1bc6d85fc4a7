/*
 * A machine that lives more than once, on the malta board (`malta.h`): what it does, it is told by single letters on its console.
 *
 * One frame is mapped at two colours. A reset empties the caches and leaves what is in memory, so a load of the one colour after a store to
 * the other may see old bytes in one life, and not across a reset.
 */
#include "malta.h"

#define UART_HAS_RECEIVED 0x01u

static struct frame frame;

__attribute__((noinline, noclone)) static void stores(void)
{
	STORE(frame.a);
}

__attribute__((noinline, noclone)) static void loads(void)
{
	LOAD(frame.b);
}

static char told(void)
{
	while (!(UART[UART_STATUS] & UART_HAS_RECEIVED))
		;
	return (char)UART[0];
}

__attribute__((noreturn, used)) static void live(void)
{
	map(&frame, 0);
	print("LIVES\n");
	for (;;) {
		switch (told()) {
		case 's':
			stores();
			print("STORED\n");
			break;
		case 'l':
			loads();
			print("LOADED\n");
			break;
		case 'd':
			print("DONE\n");
			break;
		case 'p':
			print("[    1.234567] Kernel panic - not syncing: told to\n");
			end_machine();
		case 'r':
			print("RESETS\n");
			end_machine();
		}
	}
}

/* The other guests' entry is not this one's. */
__attribute__((used)) static void (*const unused)(void) = run_cases;

START(_start, stack, live);
