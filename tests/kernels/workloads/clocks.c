/*
 * clocks LOG: asks every clock in a tight loop, through the C library and so through the vdso.
 *
 * One thread compares each answer with the system call of the same name, which must lie between two answers of the vdso.
 * Another, on a processor of its own, does nothing but ask, so that a freeze finds it in the vdso. It writes the lines that
 * evidence.rs describes; `! reason` for what is wrong; `~ clock` where a clock of CPU time has begun anew (no kernel can set one).
 */
#define _GNU_SOURCE
#include "log.h"
#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#define CLOCKS 12
#define SECOND 1000000000LL

static struct chain chains[2];
static volatile int available[CLOCKS];

static long long nanoseconds(const struct timespec *time)
{
	return time->tv_sec * SECOND + time->tv_nsec;
}

static long long vdso_clock(int clock)
{
	struct timespec now = { 0 };
	if (clock_gettime(clock, &now))
		say("! clock %d gives errno %d\n", clock, errno);
	return nanoseconds(&now);
}

static long long kernel_clock(int clock)
{
	struct timespec now = { 0 };
	if (syscall(SYS_clock_gettime, clock, &now))
		say("! the system call of clock %d gives errno %d\n", clock, errno);
	return nanoseconds(&now);
}

static long long vdso_day(int unused)
{
	struct timeval now;
	(void)unused;
	gettimeofday(&now, NULL);
	return now.tv_sec * SECOND + now.tv_usec * 1000LL;
}

static long long kernel_day(int unused)
{
	struct timeval now;
	(void)unused;
	syscall(SYS_gettimeofday, &now, NULL);
	return now.tv_sec * SECOND + now.tv_usec * 1000LL;
}

static long long vdso_time(int unused)
{
	(void)unused;
	return time(NULL) * SECOND;
}

static long long kernel_time(int unused)
{
	(void)unused;
	return syscall(SYS_time, NULL) * SECOND;
}

static void forward(const char *what, int clock, long long *last, long long now)
{
	if (now < *last) {
		if (clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID)
			say("~ %d\n", clock);
		else
			say("! %s %d jumped back from %lld to %lld\n", what, clock, *last, now);
	}
	*last = now;
}

static void compare(const char *what, int clock, long long *last, long long (*vdso)(int), long long (*kernel)(int))
{
	forward(what, clock, last, vdso(clock));
	forward(what, clock, last, kernel(clock));
	forward(what, clock, last, vdso(clock));
}

static void *compare_all(void *argument)
{
	static long long last[CLOCKS], day, seconds;
	struct timespec vdso, kernel;
	unsigned cpu, node;

	for (int round = 0;; round++) {
		for (int clock = 0; clock < CLOCKS; clock++) {
			if (!available[clock])
				continue;
			compare("clock", clock, &last[clock], vdso_clock, kernel_clock);
			int failed = clock_getres(clock, &vdso) || syscall(SYS_clock_getres, clock, &kernel);
			if (failed || nanoseconds(&vdso) != nanoseconds(&kernel))
				say("! clock_getres of %d gives %lld, its system call %lld\n", clock, nanoseconds(&vdso),
				    nanoseconds(&kernel));
		}
		compare("gettimeofday", -1, &day, vdso_day, kernel_day);
		compare("time", -1, &seconds, vdso_time, kernel_time);
		if (getcpu(&cpu, &node) || cpu > 1 || node != 0)
			say("! getcpu gives processor %u of node %u\n", cpu, node);
		advance(argument);
		/* The other thread never rests; this one leaves its processor to the rest of the machine. */
		if (round % 50 == 0)
			usleep(10000);
	}
	return NULL;
}

static void *ask(void *argument)
{
	static long long last[CLOCKS], day, seconds;
	unsigned cpu, node;
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(1, &one);
	if (sched_setaffinity(0, sizeof one, &one))
		say("! sched_setaffinity: errno %d\n", errno);
	for (;;) {
		for (int i = 0; i < 100; i++) {
			for (int clock = 0; clock < CLOCKS; clock++)
				if (available[clock] && clock != CLOCK_PROCESS_CPUTIME_ID &&
				    clock != CLOCK_THREAD_CPUTIME_ID && clock != CLOCK_REALTIME_ALARM &&
				    clock != CLOCK_BOOTTIME_ALARM)
					forward("clock", clock, &last[clock], vdso_clock(clock));
			forward("gettimeofday", -1, &day, vdso_day(0));
			forward("time", -1, &seconds, vdso_time(0));
			if (getcpu(&cpu, &node) || cpu != 1 || sched_getcpu() != 1)
				say("! getcpu gives %u and sched_getcpu %d on processor 1\n", cpu, sched_getcpu());
		}
		advance(argument);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	void *(*const loops[2])(void *) = { compare_all, ask };
	uint64_t state;

	if (argc != 2)
		return 2;
	state = open_log(argv[1]);
	for (int clock = 0; clock < CLOCKS; clock++) {
		struct timespec now;
		available[clock] = clock_gettime(clock, &now) == 0;
	}
	for (int i = 0; i < 2; i++) {
		pthread_t thread;
		pthread_mutex_init(&chains[i].lock, NULL);
		chains[i].state = state + 1 + i;
		if (pthread_create(&thread, NULL, loops[i], &chains[i]))
			return 2;
	}
	for (;;) {
		state = step(state);
		write_line(state, chains, 2);
		usleep(100000);
	}
}
