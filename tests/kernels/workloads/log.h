/* What the C workloads share: the chain of states and the log of lines that evidence.rs describes. */
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static uint64_t step(uint64_t state)
{
	return state * 6364136223846793005u + 1442695040888963407u;
}

/* A thread's own chain. */
struct chain {
	pthread_mutex_t lock;
	uint64_t count, state;
};

static void advance(struct chain *chain)
{
	pthread_mutex_lock(&chain->lock);
	chain->count++;
	chain->state = step(chain->state);
	pthread_mutex_unlock(&chain->lock);
}

static int log_descriptor = -1;

/* One line, in one write. Of faults, which can come in every round of a loop, only the first ones are told. */
static void say(const char *format, ...)
{
	static int faults;
	char line[512];
	va_list arguments;
	if (format[0] == '!' && __atomic_fetch_add(&faults, 1, __ATOMIC_RELAXED) >= 100)
		return;
	va_start(arguments, format);
	int length = vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	if (write(log_descriptor, line, length) != length)
		abort();
}

/* Opens the log and writes its head; returns the nonce, which is nowhere but in memory and in that line. */
static uint64_t open_log(const char *path)
{
	uint64_t nonce;
	log_descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
	if (log_descriptor < 0 || getrandom(&nonce, sizeof nonce, 0) != sizeof nonce)
		abort();
	say("# %llu\n", (unsigned long long)nonce);
	return nonce;
}

/* The main thread's chain, with all its earlier states. */
static uint64_t *history;
static uint64_t history_length;

static void write_line(uint64_t state, struct chain *chains, int count)
{
	char threads[256] = "";
	uint64_t sum = 0;
	history = realloc(history, (history_length + 1) * sizeof *history);
	history[history_length++] = state;
	for (uint64_t i = 0; i < history_length; i++)
		sum += history[i];
	for (int i = 0, used = 0; i < count; i++) {
		pthread_mutex_lock(&chains[i].lock);
		used += snprintf(threads + used, sizeof threads - used, " %llu %llu",
				 (unsigned long long)chains[i].count, (unsigned long long)chains[i].state);
		pthread_mutex_unlock(&chains[i].lock);
	}
	say("%llu %llu %llu%s\n", (unsigned long long)history_length, (unsigned long long)state,
	    (unsigned long long)sum, threads);
}
