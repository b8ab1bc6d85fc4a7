/* Which of the guest's CPUs a program runs on. */
#ifndef CPUS_H
#define CPUS_H

#include "colours.h"

#include <sched.h>

/* How many there are, as far as this program may use them. */
__attribute__((unused)) static uint32_t cpus(void)
{
	cpu_set_t set;

	must("sched_getaffinity", sched_getaffinity(0, sizeof(set), &set));
	return CPU_COUNT(&set);
}

/* Goes on running on this CPU. */
static void go_to(uint32_t cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	must("sched_setaffinity", sched_setaffinity(0, sizeof(set), &set));
}

#endif
