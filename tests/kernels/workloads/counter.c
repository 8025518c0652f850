/*
 * counter LOG: threads that count, in memory and in the widest vector register the processor has.
 *
 * It writes the lines that evidence.rs describes, and `!` with a reason when it finds itself changed. SIGUSR1 sends it
 * another way: it writes `turn`, and its chain goes on from a changed state.
 */
#define _GNU_SOURCE
#include "log.h"
#include <signal.h>
#include <sys/syscall.h>

#define THREADS 3
#define SPINS 500000L

static struct chain chains[THREADS];
static volatile sig_atomic_t turn;
static pid_t pid;

static void on_turn(int signal)
{
	(void)signal;
	turn = 1;
}

/* Holds a value in a vector register, and nowhere else, while it spins; returns whether the register kept it. */
static int keep_wide(const unsigned char *value)
{
	unsigned char after[32];
	long spins = SPINS;
	__asm__ volatile("vmovdqu (%1), %%ymm15\n\t"
			 "1: dec %0\n\t"
			 "jnz 1b\n\t"
			 "vmovdqu %%ymm15, (%2)\n\t"
			 "vzeroupper"
			 : "+r"(spins)
			 : "r"(value), "r"(after)
			 : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
			   "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	return memcmp(value, after, 32) == 0;
}

static int keep_narrow(const unsigned char *value)
{
	unsigned char after[16];
	long spins = SPINS;
	__asm__ volatile("movdqu (%1), %%xmm15\n\t"
			 "1: dec %0\n\t"
			 "jnz 1b\n\t"
			 "movdqu %%xmm15, (%2)"
			 : "+r"(spins)
			 : "r"(value), "r"(after)
			 : "memory", "cc", "xmm15");
	return memcmp(value, after, 16) == 0;
}

static void *count(void *argument)
{
	struct chain *chain = argument;
	long tid = syscall(SYS_gettid);
	int wide = __builtin_cpu_supports("avx2");
	unsigned char value[32];

	for (;;) {
		memset(value, 0xa5, sizeof value);
		memcpy(value, &chain->state, 8);
		memcpy(value + 24, &chain->state, 8);
		if (!(wide ? keep_wide(value) : keep_narrow(value)))
			say("! a vector register has changed\n");
		if (syscall(SYS_gettid) != tid || syscall(SYS_getpid) != pid)
			say("! another pid or tid\n");
		advance(chain);
		usleep(5000);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_turn, .sa_flags = SA_RESTART };
	uint64_t state;

	if (argc != 2 || sigaction(SIGUSR1, &action, NULL))
		return 2;
	pid = getpid();
	state = open_log(argv[1]);
	for (int i = 0; i < THREADS; i++) {
		pthread_t thread;
		pthread_mutex_init(&chains[i].lock, NULL);
		chains[i].state = state + 1 + i;
		if (pthread_create(&thread, NULL, count, &chains[i]))
			return 2;
	}
	for (;;) {
		if (turn) {
			turn = 0;
			say("turn\n");
			state = ~state;
		}
		state = step(state);
		write_line(state, chains, THREADS);
		usleep(100000);
	}
}
