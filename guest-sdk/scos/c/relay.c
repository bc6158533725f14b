/* Relays messages between three processes over pipes with poll(), in non-blocking mode, interrupted by a timer.
 *
 * An ordinary program for Linux. What it prints does not depend on when things happen, so that two systems can be
 * compared by it: a producer sends numbered lines in pieces, the relay collects them with poll() and hands them to a
 * consumer that reads slowly, and SIGALRM interrupts all of it again and again.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINES 400
#define BUFFER 8192

static volatile sig_atomic_t alarms;
/* Where each alarm is told, for a process that waits for one. */
static volatile sig_atomic_t told = -1;

static void on_alarm(int signal)
{
	int before = errno;

	(void)signal;
	alarms++;
	if (told >= 0 && write(told, "a", 1) != 1)
		told = -1;
	errno = before;
}

static void die(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static void set_timer(long us)
{
	struct itimerval timer = { { 0, us }, { 0, us } };

	if (setitimer(ITIMER_REAL, &timer, NULL) < 0)
		die("setitimer");
}

/* Writes all, however often it is interrupted. */
static void write_all(int fd, const char *bytes, size_t size)
{
	while (size > 0) {
		ssize_t count = write(fd, bytes, size);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			die("write");
		bytes += count;
		size -= (size_t)count;
	}
}

static int produce(int fd, int interruptions)
{
	char line[128], one;
	int number;

	for (number = 0; number < LINES; number++) {
		int size = snprintf(line, sizeof line, "line %d of %d, %.*s\n", number, LINES, number % 60,
				    "............................................................");

		/* In two pieces, and now and then not before the relay was interrupted: meanwhile there is nothing for it. */
		write_all(fd, line, (size_t)size / 2);
		if (number % 100 == 0 && read(interruptions, &one, 1) != 1)
			die("the relay has ended");
		write_all(fd, line + size / 2, (size_t)(size - size / 2));
	}
	return 0;
}

/* Reads everything, says how much it was and what its sum is. */
static int consume(int fd)
{
	unsigned long sum = 0, bytes = 0, lines = 0;
	char buffer[61];
	ssize_t count;

	while ((count = read(fd, buffer, sizeof buffer)) != 0) {
		ssize_t at;

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			die("read");
		for (at = 0; at < count; at++) {
			sum = sum * 31 + (unsigned char)buffer[at];
			lines += buffer[at] == '\n';
		}
		bytes += (unsigned long)count;
	}
	printf("consumer: %lu bytes, %lu lines, sum %lx\n", bytes, lines, sum);
	return 0;
}

static void set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		die("fcntl");
	printf("flags: %#x, then %#x\n", flags, fcntl(fd, F_GETFL));
}

/* Moves bytes from one pipe to the other until the first one ends. Each interruption is told. */
static int relay(int from, int to, int interruptions)
{
	static char buffer[BUFFER];
	size_t held = 0;
	int is_open = 1, interrupted = 0;

	while (is_open || held > 0) {
		struct pollfd fds[2] = {
			{ is_open && held < BUFFER ? from : -1, POLLIN, 0 },
			{ held > 0 ? to : -1, POLLOUT, 0 },
		};
		int found = poll(fds, 2, -1);

		if (found < 0 && errno == EINTR) {
			interrupted = 1;
			/* There may be no room, or nobody left to tell. */
			if (write(interruptions, "i", 1) < 0 && errno != EAGAIN && errno != EPIPE)
				die("write");
			continue;
		}
		if (found < 0)
			die("poll");
		if (fds[0].revents) {
			ssize_t count = read(from, buffer + held, BUFFER - held);

			if (count > 0)
				held += (size_t)count;
			else if (count == 0)
				is_open = 0;
			else if (errno != EAGAIN && errno != EINTR)
				die("read");
		}
		if (fds[1].revents) {
			ssize_t count = write(to, buffer, held);

			if (count > 0) {
				memmove(buffer, buffer + count, held - (size_t)count);
				held -= (size_t)count;
			} else if (errno != EAGAIN && errno != EINTR) {
				die("write");
			}
		}
	}
	return interrupted;
}

/* The failures that a program sees by name. */
static void refusals(void)
{
	int ends[2], empty[2];
	struct pollfd bad = { 99, POLLIN, 0 };
	struct pollfd hang = { -1, POLLIN, 0 };
	char byte;
	ssize_t count;
	size_t filled = 0;

	if (pipe(ends) < 0 || pipe(empty) < 0)
		die("pipe");
	set_nonblocking(ends[0]);
	set_nonblocking(ends[1]);
	count = read(ends[0], &byte, 1);
	printf("empty: %zd, %s\n", count, strerror(errno));
	while ((count = write(ends[1], "0123456789abcdef", 16)) > 0)
		filled += (size_t)count;
	printf("full after %zu: %zd, %s\n", filled, count, strerror(errno));
	printf("poll of a full pipe: %d\n", poll(&(struct pollfd){ ends[1], POLLOUT, 0 }, 1, 0));
	printf("poll of a bad descriptor: %d, ", poll(&bad, 1, 0));
	printf("%#x\n", (unsigned)bad.revents);
	close(ends[1]);
	hang.fd = ends[0];
	printf("poll with data and no writer: %d, ", poll(&hang, 1, 0));
	printf("%#x\n", (unsigned)hang.revents);
	close(ends[0]);
	signal(SIGPIPE, SIG_IGN);
	close(empty[0]);
	count = write(empty[1], &byte, 1);
	printf("nobody reads: %zd, %s\n", count, strerror(errno));
	hang = (struct pollfd){ empty[1], POLLOUT, 0 };
	printf("poll with no reader: %d, ", poll(&hang, 1, 0));
	printf("%#x\n", (unsigned)hang.revents);
	close(empty[1]);
	count = read(empty[1], &byte, 1);
	printf("closed: %zd, %s\n", count, strerror(errno));
	count = read(open("/", O_RDONLY), &byte, 1);
	printf("a folder: %zd, %s\n", count, strerror(errno));
	printf("no path: %d, %s\n", open((const char *)8, O_RDONLY), strerror(errno));
}

/* A read that a signal ends, and one that goes on after it. */
static void interruptions(void)
{
	struct sigaction action = { 0 };
	int ends[2], ticks[2];
	char byte;
	ssize_t count;
	pid_t child;

	if (pipe(ends) < 0 || pipe(ticks) < 0)
		die("pipe");
	action.sa_handler = on_alarm;
	if (sigaction(SIGALRM, &action, NULL) < 0)
		die("sigaction");
	set_timer(5000);
	count = read(ends[0], &byte, 1);
	printf("read: %zd, %s\n", count, strerror(errno));
	count = poll(&(struct pollfd){ ends[0], POLLIN, 0 }, 1, -1);
	printf("poll: %zd, %s\n", count, strerror(errno));
	action.sa_flags = SA_RESTART;
	if (sigaction(SIGALRM, &action, NULL) < 0)
		die("sigaction");
	child = fork();
	if (child == 0) {
		int number;

		/* Not before three more alarms have come while its parent reads. Timers are not inherited. */
		for (number = 0; number < 3; number++)
			if (read(ticks[0], &byte, 1) != 1)
				_exit(1);
		_exit(write(ends[1], "x", 1) != 1);
	}
	told = ticks[1];
	count = read(ends[0], &byte, 1);
	printf("read with SA_RESTART: %zd, %c\n", count, byte);
	set_timer(0);
	told = -1;
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	printf("alarms: %s\n", alarms >= 3 ? "three or more" : "too few");
}

int main(void)
{
	struct sigaction action = { 0 };
	int first[2], second[2], interruptions_told[2];
	pid_t producer, consumer;
	int ended[2], interrupted;

	setvbuf(stdout, NULL, _IONBF, 0);
	refusals();
	interruptions();
	if (pipe(first) < 0 || pipe(second) < 0 || pipe(interruptions_told) < 0)
		die("pipe");
	producer = fork();
	if (producer == 0) {
		close(first[0]);
		close(second[0]);
		close(second[1]);
		close(interruptions_told[1]);
		_exit(produce(first[1], interruptions_told[0]));
	}
	consumer = fork();
	if (consumer == 0) {
		close(first[0]);
		close(first[1]);
		close(second[1]);
		close(interruptions_told[0]);
		close(interruptions_told[1]);
		_exit(consume(second[0]));
	}
	close(first[1]);
	close(second[0]);
	close(interruptions_told[0]);
	set_nonblocking(first[0]);
	set_nonblocking(second[1]);
	if (fcntl(interruptions_told[1], F_SETFL, O_NONBLOCK) < 0)
		die("fcntl");
	action.sa_handler = on_alarm;
	if (sigaction(SIGALRM, &action, NULL) < 0)
		die("sigaction");
	set_timer(500);
	interrupted = relay(first[0], second[1], interruptions_told[1]);
	/* Before anything is printed: an alarm would interrupt that too, and a terminal loses it then. */
	set_timer(0);
	printf("relay: interrupted %s\n", interrupted ? "at least once" : "never");
	close(second[1]);
	/* The consumer has printed when it has ended. */
	if (waitpid(consumer, &ended[1], 0) != consumer || waitpid(producer, &ended[0], 0) != producer)
		die("waitpid");
	printf("producer: %d\nconsumer: %d\n", WEXITSTATUS(ended[0]), WEXITSTATUS(ended[1]));
	return 0;
}
