/*
 * The first process of guests that have no busybox: what init.sh is to the others, with the same command line and the same words on the
 * console, so that whoever reads the console need not know which of the two ran.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS 8
#define KERNEL_LINE 4096

/* The whole of a small file, without the end of its last line. */
static void read_text(const char *path, char *text, size_t size)
{
	int file = open(path, O_RDONLY);
	ssize_t length = file < 0 ? 0 : read(file, text, size - 1);

	text[length < 0 ? 0 : length] = 0;
	text[strcspn(text, "\n")] = 0;
	if (file >= 0)
		close(file);
}

/* Runs `name:argument:…` and waits for its end; under a name that begins with `number` unless that is negative. */
static void run(char *item, int number)
{
	char *arguments[ARGUMENTS + 1], *rest, *word;
	char program[256], target[256];
	int count = 0, status;
	pid_t child;

	for (word = strtok_r(item, ":", &rest); word && count < ARGUMENTS; word = strtok_r(NULL, ":", &rest))
		arguments[count++] = word;
	if (!count)
		return;
	arguments[count] = NULL;
	snprintf(program, sizeof program, "/programs/%s", arguments[0]);
	if (number >= 0) {
		memcpy(target, program, sizeof target);
		snprintf(program, sizeof program, "/programs/%d.%s", number, arguments[0]);
		if (symlink(target, program))
			printf("FAIL %s has no link\n", target);
	}
	fflush(stdout);
	child = fork();
	if (child == 0) {
		/* Programs execute themselves by their first argument. */
		arguments[0] = program;
		execv(program, arguments);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || status)
		printf("FAIL %s ended with status %#x\n", program + strlen("/programs/"), child < 0 ? -1 : status);
}

int main(void)
{
	static const struct {
		const char *type, *at;
	} mounts[] = {{"proc", "/proc"}, {"sysfs", "/sys"}, {"tmpfs", "/tmp"}, {"ramfs", "/ram"}};
	static char line[KERNEL_LINE], every[KERNEL_LINE];
	char *word, *item, *list = "", *rest;
	int number = -1;
	unsigned i;

	for (i = 0; i < sizeof mounts / sizeof *mounts; i++) {
		mkdir(mounts[i].at, 0755);
		/* A kernel without one of them is told by the programs that need it. */
		mount(mounts[i].type, mounts[i].at, mounts[i].type, 0, NULL);
	}
	/* Kernel messages would cut lines of programs in two; what is critical still shows. */
	klogctl(8, NULL, 3);
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("CONGRUENT-BOOT-OK");
	read_text("/proc/cmdline", line, sizeof line);
	for (word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		if (!strncmp(word, "congruent.run=", strlen("congruent.run=")))
			list = word + strlen("congruent.run=");
		if (!strncmp(word, "congruent.rows=", strlen("congruent.rows="))) {
			list = word + strlen("congruent.rows=");
			number = 0;
		}
	}
	if (!strcmp(list, "every")) {
		read_text("/programs/every", every, sizeof every);
		list = every;
	}
	for (item = strtok_r(list, ",", &rest); item; item = strtok_r(NULL, ",", &rest))
		run(item, number < 0 ? number : number++);
	puts("CONGRUENT-DONE");
	fflush(stdout);
	reboot(RB_AUTOBOOT);
	return 1;
}
