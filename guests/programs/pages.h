/*
 * A program's own stores and loads of a whole page: functions of these names are what findings are named after.
 */
#ifndef PAGES_H
#define PAGES_H

#include "colours.h"

/* Stores the words of this round. */
__attribute__((unused)) NOT_INLINED static void program_stores_page(volatile uint32_t *words, uint32_t page, uint32_t round)
{
	uint32_t i;

	for (i = 0; i < WORDS; i++)
		words[i] = pattern(page, i, round);
}

/* The first word that is not of this round, or WORDS. */
__attribute__((unused)) NOT_INLINED static uint32_t program_loads_page(const volatile uint32_t *words, uint32_t page, uint32_t round)
{
	uint32_t i;

	for (i = 0; i < WORDS && words[i] == pattern(page, i, round); i++)
		;
	return i;
}

#endif
