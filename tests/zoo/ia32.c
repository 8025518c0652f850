/* A 32-bit program: threads with storage of their own that stand in system calls of 32-bit programs, by whatever way these are made;
 * handlers of signals, robust mutexes, timers, registers, segments. It talks through files as every program of the zoo does. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(void *) == 4, "this is to be a 32-bit program");

static const char *folder;
static char wrong[8192];
static pthread_mutex_t of_wrong = PTHREAD_MUTEX_INITIALIZER;

static void say(const char *format, ...) {
    va_list rest;
    va_start(rest, format);
    pthread_mutex_lock(&of_wrong);
    size_t length = strlen(wrong);
    vsnprintf(wrong + length, sizeof wrong - length - 1, format, rest);
    strcat(wrong, "\n");
    pthread_mutex_unlock(&of_wrong);
    va_end(rest);
}

#define HOLDS(what) do { if (!(what)) say("%s does not hold", #what); } while (0)

static void path(char *place, const char *name) { snprintf(place, 512, "%s/%s", folder, name); }

static void put(const char *name, const char *text) {
    char at[512], part[520];
    path(at, name);
    snprintf(part, sizeof part, "%s.part", at);
    FILE *file = fopen(part, "w");
    if (file == NULL) exit(3);
    fputs(text, file);
    fclose(file);
    rename(part, at);
}

static void finish(void) {
    put("result", wrong[0] ? wrong : "ok");
    exit(0);
}

static void nap(int milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    while (nanosleep(&time, &time) != 0 && errno == EINTR) {}
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* ---- calls that threads stand in ---- */

#define LIMIT 5
#define MILLION 1000000LL

struct short_time { int32_t seconds, nanoseconds; };
struct long_time { int64_t seconds, nanoseconds; };

/* By the old way into the kernel. */
static int old_call(int number, int a, int b, int c, int d, int e) {
    int answer;
    __asm__ volatile("int $0x80" : "=a"(answer) : "0"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
    return answer;
}

/* By the function that the kernel has for it in the vdso (sysenter, or syscall). */
static int new_call(int number, int a, int b, int c, int d, int e) {
    int answer;
    int (*way)(void) = (int (*)(void))getauxval(AT_SYSINFO);
    __asm__ volatile("call *%[way]"
                     : "=a"(answer)
                     : "0"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e), [way] "m"(way)
                     : "memory");
    return answer;
}

static int by_nanosleep(void) {
    struct timespec time = {LIMIT, 0}, rest;
    return nanosleep(&time, &rest);
}
static int by_usleep(void) { return usleep(LIMIT * MILLION); }
static int by_poll(void) { return poll(NULL, 0, LIMIT * 1000); }
static int by_ppoll(void) {
    struct timespec time = {LIMIT, 0};
    return ppoll(NULL, 0, &time, NULL);
}
static int by_select(void) {
    struct timeval time = {LIMIT, 0};
    return select(0, NULL, NULL, NULL, &time);
}
#ifndef CALM
static int by_epoll(void) {
    struct epoll_event event;
    return epoll_wait(epoll_create1(EPOLL_CLOEXEC), &event, 1, LIMIT * 1000);
}
#endif
static int by_condition(void) {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    time.tv_sec += LIMIT;
    pthread_mutex_lock(&mutex);
    return pthread_cond_timedwait(&condition, &mutex, &time) == ETIMEDOUT ? 0 : -1;
}
static int old_short_nanosleep(void) {
    struct short_time time = {LIMIT, 0}, rest = {0, 0};
    return old_call(162, (int)&time, (int)&rest, 0, 0, 0);
}
static int new_short_nanosleep(void) {
    struct short_time time = {LIMIT - 1, 1000 * MILLION - 1};
    return new_call(162, (int)&time, 0, 0, 0, 0);
}
static int old_short_clock(void) {
    struct short_time time = {LIMIT, 7};
    return old_call(267, CLOCK_MONOTONIC, 0, (int)&time, (int)&time, 0);
}
static int new_long_clock(void) {
    struct long_time time = {LIMIT, 7};
    return new_call(407, CLOCK_MONOTONIC, 0, (int)&time, (int)&time, 0);
}
static int old_long_clock(void) {
    struct long_time time = {LIMIT, 7};
    return old_call(407, CLOCK_BOOTTIME, 0, (int)&time, 0, 0);
}
static int old_short_futex(void) {
    struct short_time time = {LIMIT, 11};
    int word = 1;
    return old_call(240, (int)&word, FUTEX_WAIT_PRIVATE, 1, (int)&time, 0) == -ETIMEDOUT ? 0 : -1;
}
static int new_long_futex(void) {
    struct long_time time = {LIMIT, 11};
    int word = 1;
    return new_call(422, (int)&word, FUTEX_WAIT_PRIVATE, 1, (int)&time, 0) == -ETIMEDOUT ? 0 : -1;
}
static int new_poll(void) { return new_call(168, 0, 0, LIMIT * 1000, 0, 0); }
#ifndef CALM
static int old_epoll(void) {
    struct epoll_event event;
    return old_call(256, epoll_create1(EPOLL_CLOEXEC), (int)&event, 1, LIMIT * 1000, 0);
}
static int old_short_signal(void) {
    struct short_time time = {LIMIT, 13};
    uint64_t set = 1ULL << (SIGRTMAX - 1);
    return old_call(177, (int)&set, 0, (int)&time, 8, 0) == -EAGAIN ? 0 : -1;
}
static int new_long_signal(void) {
    struct long_time time = {LIMIT, 13};
    uint64_t set = 1ULL << (SIGRTMAX - 1);
    return new_call(421, (int)&set, 0, (int)&time, 8, 0) == -EAGAIN ? 0 : -1;
}

#endif

static int ends[2];
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER, robust;
static int words[2];

static int by_read(void) {
    char byte = 0;
    return read(ends[0], &byte, 1) == 1 && byte == 'x' ? 0 : -1;
}
static int by_mutex(void) { return pthread_mutex_lock(&held) || pthread_mutex_unlock(&held); }
static int old_futex(void) { return old_call(240, (int)&words[0], FUTEX_WAIT, 0, 0, 0); }
static int new_futex(void) { return new_call(422, (int)&words[1], FUTEX_WAIT, 0, 0, 0); }
static int by_robust(void) {
    pthread_mutex_lock(&robust);
    return by_read();
}

static struct call {
    const char *name;
    int (*way)(void);
    int limit, ended, answer, own_held;
    int64_t lasted;
    pid_t tid;
    pthread_t thread;
} calls[] = {
#define CALL(way, limit) {#way, way, limit, 0, 0, 0, 0, 0, 0}
    CALL(by_nanosleep, LIMIT), CALL(by_usleep, LIMIT), CALL(by_poll, LIMIT), CALL(by_ppoll, LIMIT), CALL(by_select, LIMIT),
    CALL(by_condition, 0), CALL(old_short_nanosleep, LIMIT), CALL(new_short_nanosleep, LIMIT),
    CALL(old_short_clock, LIMIT), CALL(new_long_clock, LIMIT), CALL(old_long_clock, LIMIT), CALL(old_short_futex, LIMIT),
    CALL(new_long_futex, LIMIT), CALL(new_poll, LIMIT),
#ifndef CALM
    CALL(by_epoll, LIMIT), CALL(old_epoll, LIMIT), CALL(old_short_signal, LIMIT), CALL(new_long_signal, LIMIT),
#endif
    CALL(by_read, 0), CALL(by_robust, 0), CALL(by_mutex, 0), CALL(old_futex, 0), CALL(new_futex, 0),
};
#define CALLS (int)(sizeof calls / sizeof calls[0])

/* ---- what threads have for themselves ---- */

static __thread int own = 1234;
static __thread char own_more[4000];

static void *stand(void *given) {
    struct call *call = given;
    own += call - calls;
    own_more[3999] = (char)own;
    call->tid = syscall(SYS_gettid);
    int64_t begin = now();
    errno = 0;
    call->answer = call->way();
    if (call->answer != 0) call->answer = errno ? -errno : call->answer;
    call->lasted = now() - begin;
    call->own_held = own == 1234 + (call - calls) && own_more[3999] == (char)own;
    __atomic_store_n(&call->ended, 1, __ATOMIC_SEQ_CST);
    /* Whoever holds a robust mutex is to die of it. */
    while (call->way != by_robust) nap(60000);
    return NULL;
}

static int stands(const struct call *call) {
    char at[64], text[64] = "";
    snprintf(at, sizeof at, "/proc/self/task/%d/syscall", (int)call->tid);
    FILE *file = fopen(at, "r");
    if (file == NULL) return 0;
    int read = fgets(text, sizeof text, file) != NULL;
    fclose(file);
    return call->tid != 0 && read && text[0] >= '0' && text[0] <= '9';
}

/* ---- registers ---- */

static volatile int leave;
static struct { uint32_t general[3]; uint8_t vectors[8][16]; uint8_t x87[8][10]; uint16_t fs; uint32_t through; } before, after;

static void *spin(void *unused) {
    (void)unused;
    /* A segment of its own beside that of the C library: its number is left to the kernel, its base is this structure. */
    struct { unsigned number, base, limit, flags; } segment = {-1U, (unsigned)&before.through, 0xfff, 1 | 1 << 6};
    if (old_call(243, (int)&segment, 0, 0, 0, 0) != 0) say("set_thread_area fails");
    before.fs = after.fs = (uint16_t)(segment.number << 3 | 3);
    before.through = 0x5eedf00d;
    for (int place = 0; place < 8; place++) memset(before.vectors[place], 0x11 * (place + 1), 16);
    __asm__ volatile(
        "mov %[fs], %%ax\n mov %%ax, %%fs\n"
        "movups (%[vectors]), %%xmm0\n movups 16(%[vectors]), %%xmm1\n movups 32(%[vectors]), %%xmm2\n"
        "movups 48(%[vectors]), %%xmm3\n movups 64(%[vectors]), %%xmm4\n movups 80(%[vectors]), %%xmm5\n"
        "movups 96(%[vectors]), %%xmm6\n movups 112(%[vectors]), %%xmm7\n"
        "fninit\n fldpi\n fldl2e\n fldl2t\n fldlg2\n fldln2\n fld1\n"
        "push %%ebx\n push %%esi\n push %%edi\n push %%ebp\n"
        "mov $0x1badb002, %%ebx\n mov $0x2badb002, %%esi\n mov $0xcafebabe, %%edi\n mov $0x0ddba11, %%ebp\n"
        "1: pause\n mov leave, %%eax\n test %%eax, %%eax\n jz 1b\n"
        "mov %%ebx, after\n mov %%esi, after+4\n mov %%edi, after+8\n mov %%ebp, %%eax\n"
        "pop %%ebp\n pop %%edi\n pop %%esi\n pop %%ebx\n"
        "cmp $0x0ddba11, %%eax\n je 2f\n movl $0, after\n 2:\n"
        "movups %%xmm0, (%[then])\n movups %%xmm1, 16(%[then])\n movups %%xmm2, 32(%[then])\n movups %%xmm3, 48(%[then])\n"
        "movups %%xmm4, 64(%[then])\n movups %%xmm5, 80(%[then])\n movups %%xmm6, 96(%[then])\n movups %%xmm7, 112(%[then])\n"
        "fstpt (%[x87])\n fstpt 10(%[x87])\n fstpt 20(%[x87])\n fstpt 30(%[x87])\n fstpt 40(%[x87])\n fstpt 50(%[x87])\n"
        :
        : [fs] "m"(before.fs), [vectors] "S"(before.vectors), [then] "c"(after.vectors), [x87] "d"(after.x87)
        : "eax", "memory");
    uint16_t selector;
    uint32_t through;
    __asm__ volatile("mov %%fs, %0\n mov %%fs:0, %1" : "=r"(selector), "=r"(through));
    HOLDS(selector == before.fs);
    HOLDS(through == 0x5eedf00d);
    HOLDS(after.general[0] == 0x1badb002 && after.general[1] == 0x2badb002 && after.general[2] == 0xcafebabe);
    HOLDS(memcmp(before.vectors, after.vectors, sizeof before.vectors) == 0);
    long double found[3];
    memset(found, 0, sizeof found);
    memcpy(&found[0], after.x87[0], 10);
    memcpy(&found[1], after.x87[5], 10);
    HOLDS(found[0] == 1.0L && found[1] == 3.14159265358979323851L);
    return NULL;
}

/* Asks the vdso all the time, so that it is stopped in there: the clock never goes back. */
static volatile long asked;
static void *ask(void *unused) {
    (void)unused;
    int64_t last = now();
    struct timeval wall;
    while (!leave) {
        int64_t next = now();
        if (next < last) say("the clock went back by %lld", (long long)(last - next));
        last = next;
        gettimeofday(&wall, NULL);
        asked++;
    }
    return NULL;
}

/* ---- handlers of signals ---- */

static volatile sig_atomic_t plain, told, value, depth, alarms;
static char *stack_of_handlers;
#define HANDLERS 65536

static int on_stack(void) {
    char here;
    return &here > stack_of_handlers && &here < stack_of_handlers + HANDLERS;
}
static void on_plain(int signal) { plain = signal; }
static void on_told(int signal, siginfo_t *info, void *context) {
    (void)context;
    told = signal;
    value = info->si_value.sival_int;
    depth = on_stack();
}
static void on_alarm(int signal) {
    (void)signal;
    alarms++;
}

static void handle(int signal, int flags, void (*handler)(int), void (*with_more)(int, siginfo_t *, void *)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_flags = flags;
    if (flags & SA_SIGINFO) action.sa_sigaction = with_more; else action.sa_handler = handler;
    HOLDS(sigaction(signal, &action, NULL) == 0);
}

static void set_signals(void) {
    stack_of_handlers = mmap(NULL, HANDLERS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack_t stack = {.ss_sp = stack_of_handlers, .ss_size = HANDLERS};
    HOLDS(sigaltstack(&stack, NULL) == 0);
    handle(SIGUSR1, 0, on_plain, NULL);
    handle(SIGUSR2, SA_SIGINFO | SA_ONSTACK | SA_RESTART, NULL, on_told);
    handle(SIGALRM, SA_RESTART, on_alarm, NULL);
    handle(SIGRTMIN + 1, SA_RESTART, on_alarm, NULL);
    /* Two that wait: one for the process, and one that nobody handles. */
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 2);
    sigaddset(&set, SIGRTMAX);
    /* These are for the first thread, which takes them later on: no other one is to be woken by them. */
    sigaddset(&set, SIGALRM);
    sigaddset(&set, SIGRTMIN + 1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    handle(SIGRTMIN + 2, SA_SIGINFO, NULL, on_told);
    union sigval with = {.sival_int = 4711};
    HOLDS(sigqueue(getpid(), SIGRTMIN + 2, with) == 0);
}

static void check_signals(void) {
    raise(SIGUSR1);
    HOLDS(plain == SIGUSR1);
    union sigval with = {.sival_int = 815};
    pthread_sigqueue(pthread_self(), SIGUSR2, with);
    HOLDS(told == SIGUSR2 && value == 815 && depth == 1);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 2);
    sigaddset(&set, SIGALRM);
    sigaddset(&set, SIGRTMIN + 1);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    HOLDS(told == SIGRTMIN + 2 && value == 4711);
}

/* ---- the course ---- */

static timer_t timer;
static uint32_t list_before;

static uint32_t robust_list(void) {
    uint32_t head = 0, length = 0;
    HOLDS(new_call(312, 0, (int)&head, (int)&length, 0, 0) == 0 && length == 12);
    return head;
}

/* One as such programs open it, and one for large files: the survey tells them apart. */
static void open_files(void) {
    char at[512];
    path(at, "opened");
    HOLDS(open(at, O_RDWR | O_CREAT, 0600) >= 0);
    HOLDS(open(at, O_RDONLY | O_LARGEFILE) >= 0);
}

static void set_up(void) {
    set_signals();
    open_files();
    HOLDS(pipe(ends) == 0);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attributes);
    pthread_mutex_lock(&held);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1};
    struct itimerspec far = {{0, 0}, {3600, 0}};
    HOLDS(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &far, NULL) == 0);
    list_before = robust_list();
    HOLDS(list_before != 0);
    own = 99;
}

static void check(void) {
    HOLDS(own == 99);
    HOLDS(robust_list() == list_before);
    check_signals();
    struct itimerspec soon = {{0, 0}, {0, MILLION}}, left;
    HOLDS(timer_gettime(timer, &left) == 0 && left.it_value.tv_sec > 3000);
    HOLDS(timer_settime(timer, 0, &soon, NULL) == 0);
    struct itimerval alarm = {{0, 0}, {0, 1000}};
    setitimer(ITIMER_REAL, &alarm, NULL);
    for (int tries = 0; tries < 1000 && alarms < 2; tries++) nap(10);
    HOLDS(alarms == 2);
    /* More memory, from where the kernel gives it to such programs. */
    char *large = malloc(64 << 20), *small[64];
    HOLDS(large != NULL);
    memset(large, 1, 64 << 20);
    for (int count = 0; count < 64; count++) small[count] = malloc(60000);
    for (int count = 0; count < 64; count++) free(small[count]);
    free(large);
    /* A child, and a program that it becomes. */
    pid_t child = fork();
    if (child == 0) _exit(own == 99 && old_call(20, 0, 0, 0, 0, 0) == getpid() ? 7 : 1);
    int status = 0;
    HOLDS(waitpid(child, &status, 0) == child && status == 7 << 8);
    HOLDS(system("exit 5") == 5 << 8);
    struct timespec there, here;
    HOLDS(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &there) == 0 && clock_gettime(CLOCK_MONOTONIC, &here) == 0);
    HOLDS(here.tv_sec - there.tv_sec <= 2);
    HOLDS(time(NULL) - 2 <= old_call(13, 0, 0, 0, 0, 0));
}

static void judge(struct call *call) {
    for (int tries = 0; tries < 4000 && !__atomic_load_n(&call->ended, __ATOMIC_SEQ_CST); tries++) nap(10);
    if (!call->ended) return say("%s: does not end", call->name);
    if (call->answer != 0) say("%s: answers %d", call->name, call->answer);
    if (!call->own_held) say("%s: the thread has lost its storage", call->name);
    if (call->lasted < call->limit * 1000 * MILLION) say("%s: ended after %lld ns", call->name, (long long)call->lasted);
}

static void let_end(void) {
    words[0] = words[1] = 1;
    HOLDS(write(ends[1], "xx", 2) == 2);
    pthread_mutex_unlock(&held);
    for (int tries = 0; tries < 100; tries++) {
        for (int word = 0; word < 2; word++) syscall(SYS_futex, &words[word], FUTEX_WAKE, 1, NULL, NULL, 0);
        nap(2);
    }
}

int main(int count, char **given) {
    if (count != 2) return 2;
    folder = given[1];
    set_up();
    pthread_t spinner, asker;
    for (int place = 0; place < CALLS; place++) pthread_create(&calls[place].thread, NULL, stand, &calls[place]);
    pthread_create(&spinner, NULL, spin, NULL);
    pthread_create(&asker, NULL, ask, NULL);
    for (int place = 0; place < CALLS; place++) {
        for (int tries = 0; tries < 1000 && !stands(&calls[place]); tries++) nap(2);
        if (!stands(&calls[place])) say("%s: does not come to stand in its call", calls[place].name);
    }
    while (asked < 1000) nap(2);
    if (wrong[0]) finish();
    put("ready", "");
    char go[512];
    path(go, "go");
    while (access(go, F_OK) != 0) {
        if (access(folder, F_OK) != 0) return 4;
        nap(20);
    }
    for (int place = 0; place < CALLS; place++)
        if (calls[place].limit == 0 && calls[place].way != by_condition && calls[place].ended)
            say("%s: ended too early with %d", calls[place].name, calls[place].answer);
    leave = 1;
    pthread_join(spinner, NULL);
    pthread_join(asker, NULL);
    check();
    let_end();
    for (int place = 0; place < CALLS; place++) judge(&calls[place]);
    for (int place = 0; place < CALLS; place++)
        if (calls[place].way == by_robust) pthread_join(calls[place].thread, NULL);
    HOLDS(pthread_mutex_lock(&robust) == EOWNERDEAD);
    finish();
}
