/* What the log fork-mmap.strace is of: a file mapped shared by a parent and its child, a thread that writes while the process
 * forks, memory that grows and moves, direct I/O beside the mapping. gcc -O2 -pthread fork_mmap.c */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static char *shared, *private;

static void *writer(void *unused)
{
	for (int i = 0; i < 16384; i++)
		private[i]++;
	return unused;
}

int main(void)
{
	int file = open("data", O_RDWR | O_CREAT | O_TRUNC, 0600);
	char block[4096];
	memset(block, 'a', sizeof block);
	for (int i = 0; i < 8; i++)
		if (write(file, block, sizeof block) != sizeof block)
			return 1;
	shared = mmap(0, 32768, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	private = mmap(0, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t thread;
	pthread_create(&thread, 0, writer, 0);
	pid_t child = fork();
	if (!child) {
		memcpy(shared + 4096, private, 4096);
		pwrite(file, private, 512, 8192);
		_exit(0);
	}
	struct iovec here = { block, 64 }, there = { private, 64 };
	process_vm_readv(child, &here, 1, &there, 1, 0);
	waitpid(child, 0, 0);
	pthread_join(thread, 0);
	pread(file, block, 4096, 4096);
	private = mremap(private, 16384, 1 << 20, MREMAP_MAYMOVE);
	int direct = open("data", O_RDWR | O_DIRECT);
	char *aligned = aligned_alloc(4096, 16384);
	pread(direct, aligned, 16384, 0);
	memset(aligned, 'b', 8192);
	pwrite(direct, aligned, 8192, 16384);
	msync(shared, 32768, MS_SYNC);
	munmap(shared, 32768);
	fsync(file);
	return 0;
}
