/*
 * The cases of what a data cache does beside its shape: of virtual tags, of stores that write through or do not allocate, of lines
 * that are filled at any moment. Each is compiled by itself, because what is right for one kind of cache is wrong for another.
 *
 * Included by arm.c in place of its own cases; names mean what they mean there (cases.h).
 */
#if defined(VIRTUAL_TAGS)
/* As on an ARM926: only loads fill lines, and `a` and `b` are two places whatever their colours. */
static void dirty(char *address)
{
	LOAD(address);
	STORE(address);
}

CASE(stale_load_through_another_page) { dirty(frame->a); return LOAD(frame->b); }
CASE(clean_load_through_the_same_page) { dirty(frame->a); return LOAD(frame->a); }
CASE(clean_load_after_write_back) { dirty(frame->a); clean_line(frame->a); return LOAD(frame->b); }
CASE(stale_load_after_write_back_of_another_page) { dirty(frame->a); clean_line(frame->b); return LOAD(frame->b); }
CASE(clean_store_that_filled_nothing) { STORE(frame->a); return LOAD(frame->b); }
CASE(stale_copy_of_another_page) { LOAD(frame->b); STORE(frame->a); return LOAD(frame->b); }
CASE(clean_copy_that_was_dropped) { LOAD(frame->b); STORE(frame->a); invalidate_line(frame->b); return LOAD(frame->b); }
CASE(stale_copy_after_drop_of_another_page) { LOAD(frame->b); STORE(frame->a); invalidate_line(frame->a); return LOAD(frame->b); }
CASE(stale_store_under_dirty_page) { dirty(frame->a); STORE(frame->b); return NEWEST; }
CASE(clean_load_after_test_and_clean) { dirty(frame->a); until_clean(c10); return LOAD(frame->b); }
CASE(clean_load_after_clean_by_way) { dirty(frame->a); clean_by_way(frame->a); return LOAD(frame->b); }
CASE(stale_load_after_clean_of_one_way) { dirty(frame->a); clean_one_way(frame->a); return LOAD(frame->b); }

/* The address comes to mean another frame: a load of its zeros is right. */
#define ZERO(address) (LOAD(address) ? 0 : NEWEST)

CASE(stale_load_of_another_frame) { STORE(frame->a); LOAD(frame->a); map_another_frame(); return ZERO(frame->a); }
CASE(stale_store_into_another_frame) { dirty(frame->a); map_another_frame(); STORE(frame->a); return NEWEST; }
CASE(clean_store_into_another_frame_after_flush)
{
	dirty(frame->a);
	clean_invalidate_line(frame->a);
	map_another_frame();
	STORE(frame->a);
	return NEWEST;
}
CASE(stale_load_of_another_frame_after_write_back)
{
	dirty(frame->a);
	clean_line(frame->a);
	map_another_frame();
	return ZERO(frame->a);
}
CASE(stale_load_of_another_frame_after_test_and_clean)
{
	dirty(frame->a);
	until_clean(c10);
	map_another_frame();
	return ZERO(frame->a);
}
CASE(clean_load_of_another_frame_after_flush)
{
	dirty(frame->a);
	clean_invalidate_line(frame->a);
	map_another_frame();
	return ZERO(frame->a);
}
CASE(clean_load_of_another_frame_after_whole_flush)
{
	dirty(frame->a);
	until_clean(c14);
	map_another_frame();
	return ZERO(frame->a);
}
CASE(clean_load_of_another_frame_after_flush_by_way)
{
	dirty(frame->a);
	clean_invalidate_by_way(frame->a);
	map_another_frame();
	return ZERO(frame->a);
}
CASE(clean_load_of_another_frame_flushed_late)
{
	STORE(frame->a);
	LOAD(frame->a);
	map_another_frame();
	clean_invalidate_line(frame->a);
	return ZERO(frame->a);
}
CASE(clean_load_of_another_frame_that_was_not_cached) { STORE(frame->a); map_another_frame(); return ZERO(frame->a); }

#elif defined(WRITE_THROUGH)
CASE(clean_load_through_another_colour) { STORE(frame->a); return LOAD(frame->b); }
CASE(clean_uncached_load) { STORE(frame->a); return LOAD(frame->uncached); }
CASE(clean_load_of_what_was_invalidated) { STORE(frame->a); invalidate_line(frame->a); return LOAD(frame->a); }
CASE(clean_store_through_another_colour) { STORE(frame->a); STORE(frame->b); return NEWEST; }
CASE(stale_copy_of_another_colour) { LOAD(frame->b); STORE(frame->a); return LOAD(frame->b); }
CASE(clean_copy_that_was_dropped) { LOAD(frame->b); STORE(frame->a); invalidate_line(frame->b); return LOAD(frame->b); }
CASE(stale_copy_that_was_written_back) { LOAD(frame->b); STORE(frame->a); clean_line(frame->b); return LOAD(frame->b); }
CASE(stale_copy_after_uncached_store) { LOAD(frame->a); STORE(frame->uncached); return LOAD(frame->a); }

#elif defined(NO_WRITE_ALLOCATE)
CASE(clean_load_after_store_that_missed) { STORE(frame->a); return LOAD(frame->b); }
CASE(clean_uncached_load_after_store_that_missed) { STORE(frame->a); return LOAD(frame->uncached); }
CASE(clean_store_after_store_that_missed) { STORE(frame->a); STORE(frame->b); return NEWEST; }
CASE(stale_load_after_store_that_hit) { LOAD(frame->a); STORE(frame->a); return LOAD(frame->b); }
CASE(clean_load_after_store_that_hit_and_was_written_back)
{
	LOAD(frame->a);
	STORE(frame->a);
	clean_line(frame->a);
	return LOAD(frame->b);
}
CASE(stale_copy_of_another_colour) { LOAD(frame->b); STORE(frame->a); return LOAD(frame->b); }
CASE(clean_copy_that_was_dropped) { LOAD(frame->b); STORE(frame->a); invalidate_line(frame->b); return LOAD(frame->b); }

#elif defined(SPECULATIVE)
/* A store past the cache stands for a device. */
CASE(stale_copy_invalidated_before_the_transfer)
{
	LOAD(frame->a);
	invalidate_line(frame->a);
	STORE(frame->uncached);
	return LOAD(frame->a);
}
CASE(clean_copy_invalidated_after_the_transfer)
{
	LOAD(frame->a);
	STORE(frame->uncached);
	invalidate_line(frame->a);
	return LOAD(frame->a);
}
CASE(clean_frame_that_was_never_cached) { STORE(frame->uncached); return LOAD(frame->a); }
CASE(stale_line_beside_the_one_that_was_accessed) { LOAD(frame->a + 64); STORE(frame->uncached); return LOAD(frame->a); }
CASE(stale_uncached_load_of_dirty_bytes) { STORE(frame->a); return LOAD(frame->uncached); }
CASE(clean_uncached_load_after_write_back) { STORE(frame->a); clean_line(frame->a); return LOAD(frame->uncached); }
#else
#error "which behaviour?"
#endif
