/*
 * A child process with a populated buffer, led through pipes: the parent writes an order, the child does it and answers. Used by the
 * programs that reach into another process.
 */
#ifndef CHILD_H
#define CHILD_H

#include "colours.h"

#include <sys/wait.h>

struct order {
	uint32_t page, round;
};

struct child {
	pid_t pid;
	int orders, answers; /* the parent's ends */
	char *area;          /* the buffer's address in the child */
};

/* Starts a child that runs `life`, which never returns. The buffer's address is the same in parent and child. */
__attribute__((unused)) static struct child start_child(void (*life)(char *area, int orders, int answers))
{
	struct child child;
	int orders[2], answers[2];

	must("pipe", pipe(orders));
	must("pipe", pipe(answers));
	child.area = map_anonymous();
	fflush(stdout);
	child.pid = must("fork", fork());
	if (child.pid == 0) {
		close(orders[1]);
		close(answers[0]);
		populate(child.area);
		if (write(answers[1], "r", 1) != 1)
			_exit(9);
		life(child.area, orders[0], answers[1]);
		_exit(0);
	}
	close(orders[0]);
	close(answers[1]);
	child.orders = orders[1];
	child.answers = answers[0];
	return child;
}

/* The child's next answer. */
__attribute__((unused)) static char answer(const struct child *child)
{
	char letter;

	if (read(child->answers, &letter, 1) != 1)
		fail("the child is gone");
	return letter;
}

/* Gives the child an order. */
__attribute__((unused)) static void order(const struct child *child, uint32_t page, uint32_t round)
{
	struct order order = {page, round};

	if (write(child->orders, &order, sizeof order) != sizeof order)
		fail("the child takes no orders");
}

/* In the child: the next order; ends the child when there are no more. */
__attribute__((unused)) static struct order next_order(int orders)
{
	struct order order;

	if (read(orders, &order, sizeof order) != sizeof order)
		_exit(0);
	return order;
}

/* The pages of the child's buffer to be tried. */
__attribute__((unused)) static struct choice choose_in_child(const struct child *child, int only_congruent)
{
	char who[16];

	snprintf(who, sizeof who, "%d", (int)child->pid);
	return choose(who, child->area, only_congruent);
}

#endif
