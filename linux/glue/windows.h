/* SPDX-License-Identifier: MIT */
/*
 * Local mappings of the kernel (kmap_local_page) as windows: at the colour at which the frame is used already.
 *
 * Included at the end of asm/highmem.h.
 */
#ifndef _ASM_CONGRUENT_WINDOWS_H
#define _ASM_CONGRUENT_WINDOWS_H

int congruent_window_index(int depth, unsigned long pfn);
int congruent_window_index_at(int depth, unsigned long address);
pte_t congruent_window_opens(unsigned long address, pte_t pte);
void congruent_window_returns(unsigned long address, pte_t pte);
void congruent_window_closes(unsigned long address);
void congruent_kmap(unsigned long address);

#ifndef CONGRUENT_OWN
#define kmap_flush_tlb(address)				(congruent_kmap(address), (kmap_flush_tlb)(address))
#endif

#undef flush_cache_kmaps
#define flush_cache_kmaps()				do { } while (0)

#define arch_kmap_local_map_idx(depth, pfn)		congruent_window_index(depth, pfn)
#define arch_kmap_local_unmap_idx(depth, address)	congruent_window_index_at(depth, address)

#undef arch_kmap_local_set_pte
#define arch_kmap_local_set_pte(mm, address, ptep, pte) \
	set_pte(ptep, congruent_window_opens(address, pte))

#undef arch_kmap_local_post_map
#define arch_kmap_local_post_map(address, pte)		congruent_window_returns(address, pte)
#define arch_kmap_local_pre_unmap(address)		congruent_window_closes(address)

#endif
