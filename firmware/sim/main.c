/* The rig: AVR boards that are not there, cycle by cycle, each behind a pty.
 *
 *   rig --folder DIR [--pace real|free|hold] --board NAME,mcu=M,clock=HZ,elf=FILE[,...] ...
 *
 * control.c  commands over DIR/control      board.c   one board: power, reset, running
 * uart.c     the UART and the line to it    cable.c   the pty
 * eeprom.c   EEPROM that takes its time     strip.c   what the LEDs would show
 * marks.c    cycles between marks           level.c   interrupts that stay raised
 * facts.c    addresses and times by MCU
 *
 * When all stands it prints "ready" and goes on until its standard input ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "control.h"

#define CLIENTS 16
#define MS 1000000ull
static const uint64_t GRAIN_BUSY_NS = 40000;   /* the least that the rig waits, with a line in use */
static const uint64_t GRAIN_IDLE_NS = 100000;  /* and without: a step of most networks */
static const uint64_t BUSY_NS = 2 * MS;        /* a line is in use until so long after its last byte */
static const uint64_t SLIP_NS = 200 * MS;      /* further behind than that, the host's time is let go */
static const double SLICE_NS = 100e3;          /* of board time, where it does not follow the host's */

typedef struct client { int fd; size_t n; char text[4096]; } client_t;

static volatile sig_atomic_t stopped;
static void stop(int number) { (void)number; stopped = 1; }

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* -- time ----------------------------------------------------------------------------------------- */

static avr_cycle_count_t cycle_at(const rig_t *rig, const board_t *b, uint64_t ns)
{
	return b->base_cycle + (avr_cycle_count_t)((ns - b->base_ns) * rig->factor * board_hz(b) * 1e-9);
}

static uint64_t ns_at(const rig_t *rig, const board_t *b, avr_cycle_count_t cycle)
{
	return b->base_ns + (uint64_t)((cycle - b->base_cycle) / (rig->factor * board_hz(b) * 1e-9));
}

void rig_rebase(rig_t *rig)
{
	for (int i = 0; i < rig->n; i++) {
		rig->boards[i].base_ns = now_ns();
		rig->boards[i].base_cycle = rig->boards[i].avr->cycle;
	}
}

/* -- bytes ---------------------------------------------------------------------------------------- */

static void take_in(board_t *b, avr_cycle_count_t when)
{
	uint8_t bytes[LINE_DEPTH];
	ssize_t n = cable_read(&b->cable, bytes, uart_room(&b->uart));
	if (n > 0) {
		b->uart.host_baud = cable_baud(&b->cable);
		if (b->powered)
			uart_feed(&b->uart, bytes, n, when > b->avr->cycle ? when : b->avr->cycle);
	}
}

void rig_take_in(board_t *b)
{
	take_in(b, b->avr->cycle);
}

/* As a USB adapter does: what belongs together is handed over together, but soon. */
static void give_out(const rig_t *rig, board_t *b)
{
	uart_t *u = &b->uart;
	if (!u->sent_count)
		return;
	if (u->shifting && u->sent_count < 64 && board_ns(b, b->avr->cycle - u->sent_since) < rig->packet_us * 1e3)
		return;
	cable_write(&b->cable, u->sent, u->sent_count);
	u->sent_count = 0;
}

/* -- running -------------------------------------------------------------------------------------- */

static bool in_use(const board_t *b)
{
	return b->powered && (!uart_idle(&b->uart) || b->avr->cycle < b->busy_cycle + BUSY_NS * 1e-9 * b->hz);
}

/* Keep up with the host's clock; returns when the next thing is due, by that clock. */
static uint64_t run_real(rig_t *rig)
{
	uint64_t due = ~0ull, grain = GRAIN_IDLE_NS, begun = now_ns();
	for (int i = 0; i < rig->n; i++) {
		board_t *b = &rig->boards[i];
		uint64_t now = now_ns();
		avr_cycle_count_t to = cycle_at(rig, b, now);
		if (to > b->avr->cycle && ns_at(rig, b, b->avr->cycle) + SLIP_NS < now && board_next(b) < to) {
			uint64_t lost = now - ns_at(rig, b, b->avr->cycle) - SLIP_NS / 2;
			b->base_ns += lost;
			b->slipped_ns += lost;
			to = cycle_at(rig, b, now);
		}
		if (board_next(b) < to) {
			avr_cycle_count_t most = b->avr->cycle + (avr_cycle_count_t)(5e-3 * b->hz);
			board_run(b, b->avr->state == cpu_Running && most < to ? most : to);
			give_out(rig, b);
		}
		uint64_t next = board_next(b);
		if (next != ~0ull) {
			next = ns_at(rig, b, next);
			if (next < due)
				due = next;
		}
		if (in_use(b))
			grain = GRAIN_BUSY_NS;
	}
	return due < begun + grain ? begun + grain : due;
}

/* Up to now, whatever is due when: what is asked for is asked of the present. */
static void catch_up(rig_t *rig)
{
	for (int i = 0; i < rig->n && rig->pace == PACE_REAL; i++) {
		board_run(&rig->boards[i], cycle_at(rig, &rig->boards[i], now_ns()));
		give_out(rig, &rig->boards[i]);
	}
}

static void slice(rig_t *rig, board_t *b, avr_cycle_count_t to)
{
	take_in(b, b->avr->cycle);
	board_run(b, to);
	give_out(rig, b);
}

static avr_cycle_count_t after(const board_t *b, avr_cycle_count_t begin, double ns)
{
	return begin + (avr_cycle_count_t)(ns * 1e-9 * board_hz(b) + 0.5);
}

void rig_pass(rig_t *rig, board_t *only, double ns)
{
	avr_cycle_count_t *begin = calloc(rig->n, sizeof *begin);
	for (int i = 0; i < rig->n; i++)
		begin[i] = rig->boards[i].avr->cycle;
	for (double done = 0; done < ns;) {
		done = ns - done < SLICE_NS ? ns : done + SLICE_NS;
		for (int i = 0; i < rig->n; i++)
			if (!only || only == &rig->boards[i])
				slice(rig, &rig->boards[i], after(&rig->boards[i], begin[i], done));
	}
	free(begin);
}

/* As fast as can be while anything is under way, and a little longer; true while that is so. */
static bool run_free(rig_t *rig)
{
	bool more = false;
	for (int i = 0; i < rig->n; i++) {
		board_t *b = &rig->boards[i];
		if (!b->powered)
			continue;
		take_in(b, b->avr->cycle);
		bool idle = board_idle(b);
		if (!idle)
			b->busy_cycle = b->avr->cycle;
		if (idle && board_ns(b, b->avr->cycle - b->busy_cycle) >= rig->linger_ms * 1e6)
			continue;
		slice(rig, b, after(b, b->avr->cycle, SLICE_NS));
		more = true;
	}
	return more;
}

/* -- commands ------------------------------------------------------------------------------------- */

static bool serve(rig_t *rig, client_t *c)
{
	ssize_t n = read(c->fd, c->text + c->n, sizeof c->text - c->n - 1);
	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	c->n += n;
	c->text[c->n] = 0;
	char *end;
	while ((end = strchr(c->text, '\n'))) {
		*end = 0;
		catch_up(rig);
		char *reply = control(rig, c->text);
		size_t length = strlen(reply), done = 0;
		while (done < length) {
			ssize_t sent = send(c->fd, reply + done, length - done, MSG_NOSIGNAL);
			if (sent <= 0)
				break;
			done += sent;
		}
		free(reply);
		if (done < length)
			return false;
		c->n -= end + 1 - c->text;
		memmove(c->text, end + 1, c->n + 1);
	}
	return c->n < sizeof c->text - 1;
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof address.sun_path) {
		fprintf(stderr, "rig: %s: too long a path for a socket\n", path);
		return -1;
	}
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, CLIENTS)) {
		perror(path);
		return -1;
	}
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	return fd;
}

static void serve_all(rig_t *rig, int listener)
{
	static client_t clients[CLIENTS];
	static int n_clients;
	struct pollfd *fds = calloc(2 + CLIENTS + rig->n, sizeof *fds);

	while (!stopped && !rig->quit) {
		uint64_t due = 0;
		bool more = false;
		if (rig->pace == PACE_REAL)
			due = run_real(rig);
		else if (rig->pace == PACE_FREE)
			more = run_free(rig);

		int n = 0;
		fds[n++] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
		fds[n++] = (struct pollfd){.fd = n_clients < CLIENTS ? listener : -1, .events = POLLIN};
		for (int i = 0; i < n_clients; i++)
			fds[n++] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
		for (int i = 0; i < rig->n; i++) { /* a full line leaves the rest with the host */
			const board_t *b = &rig->boards[i];
			bool wanted = rig->pace != PACE_HOLD && uart_room(&b->uart) > LINE_DEPTH / 2;
			fds[n++] = (struct pollfd){.fd = wanted ? b->cable.master : -1, .events = POLLIN};
		}
		uint64_t now = now_ns(), wait = due > now ? due - now : 0;
		struct timespec timeout = {.tv_sec = wait / 1000000000ull, .tv_nsec = wait % 1000000000ull};
		bool forever = rig->pace == PACE_REAL ? due == ~0ull : !more;
#ifdef __linux__
		int ready = ppoll(fds, n, forever ? NULL : &timeout, NULL);
#else
		int ready = poll(fds, n, forever ? -1 : (int)((wait + MS - 1) / MS));
#endif
		if (ready <= 0)
			continue;
		now = now_ns();
		for (int i = 0; i < rig->n; i++)
			if (fds[2 + n_clients + i].revents) {
				board_t *b = &rig->boards[i];
				if (rig->pace == PACE_REAL)
					take_in(b, cycle_at(rig, b, now));
				else
					b->busy_cycle = b->avr->cycle;
			}
		for (int i = n_clients - 1; i >= 0; i--)
			if (fds[2 + i].revents && !serve(rig, &clients[i])) {
				close(clients[i].fd);
				clients[i] = clients[--n_clients];
			}
		if (fds[1].revents) {
			int fd = accept(listener, NULL, NULL);
			if (fd >= 0) {
				fcntl(fd, F_SETFD, FD_CLOEXEC);
				clients[n_clients++] = (client_t){.fd = fd};
			}
		}
		if (fds[0].revents) {
			char ignored[256];
			if (read(STDIN_FILENO, ignored, sizeof ignored) <= 0)
				break; /* who started us is gone */
		}
	}
	free(fds);
}

/* -- beginning ------------------------------------------------------------------------------------ */

static rig_t *complaining;

static void complain(avr_t *avr, const int level, const char *format, va_list args)
{
	if (level > LOG_ERROR || !complaining)
		return;
	for (int i = 0; i < complaining->n; i++) {
		board_t *b = &complaining->boards[i];
		if (b->avr != avr)
			continue;
		vsnprintf(b->trouble, sizeof b->trouble, format, args);
		for (char *c = b->trouble; *c; c++)
			if (*c == '"' || *c == '\\' || *c < ' ')
				*c = ' ';
	}
}

static bool pin_of(const char *text, pin_t *pin)
{
	if (text[0] < 'B' || text[0] > 'D' || text[1] < '0' || text[1] > '7')
		return false;
	*pin = (pin_t){text[0], text[1] - '0'};
	return true;
}

/* NAME,key=value,... */
static bool board_from(board_t *b, char *spec, const char *folder, uint64_t seed)
{
	board_options_t o = {.mcu = "atmega328p", .hz = 16000000, .chip = "ws2812", .seed = seed,
	                     .led = {{'B', 0}}, .button = {'D', 2}};
	char *rest = NULL, *name = strtok_r(spec, ",", &rest);
	for (char *word; name && (word = strtok_r(NULL, ",", &rest));) {
		char *value = strchr(word, '=');
		bool good = value;
		if (good) {
			*value++ = 0;
			if (!strcmp(word, "mcu")) o.mcu = value;
			else if (!strcmp(word, "clock")) o.hz = strtoul(value, NULL, 10);
			else if (!strcmp(word, "elf")) o.elf = value;
			else if (!strcmp(word, "chip")) o.chip = value;
			else if (!strcmp(word, "leds")) o.leds = atoi(value);
			else if (!strcmp(word, "order")) snprintf(o.order, sizeof o.order, "%s", value);
			else if (!strcmp(word, "led")) good = pin_of(value, &o.led[0]);
			else if (!strcmp(word, "backup")) good = pin_of(value, &o.led[1]);
			else if (!strcmp(word, "button")) good = pin_of(value, &o.button);
			else if (!strcmp(word, "ppm")) o.ppm = strtod(value, NULL);
			else if (!strcmp(word, "supply")) o.own_supply = !strcmp(value, "own");
			else if (!strcmp(word, "serial")) o.serial = strtoul(value, NULL, 0);
			else if (!strcmp(word, "seed")) o.seed = strtoull(value, NULL, 10);
			else good = false;
		}
		if (!good) {
			fprintf(stderr, "rig: board %s: what is '%s'?\n", name, word);
			return false;
		}
	}
	if (!name || !o.elf || !o.hz) {
		fprintf(stderr, "rig: a board is NAME,mcu=...,clock=HZ,elf=FILE\n");
		return false;
	}
	if (!board_make(b, name, &o))
		return false;
	cable_make(&b->cable, folder, name);
	return true;
}

int main(int argc, char **argv)
{
	rig_t rig = {.factor = 1, .linger_ms = 5, .packet_us = 200};
	const char *folder = NULL;
	rig.boards = calloc(argc, sizeof *rig.boards);
	complaining = &rig;
	avr_global_logger_set(complain);
	for (int i = 1; i + 1 < argc; i += 2) /* the folder first: boards need it */
		if (!strcmp(argv[i], "--folder"))
			folder = argv[i + 1];
	for (int i = 1; i < argc; i += 2) {
		char *value = i + 1 < argc ? argv[i + 1] : NULL;
		if (!folder || !value) {
			fprintf(stderr, "usage: rig --folder DIR [--pace real|free|hold] --board NAME,mcu=M,clock=HZ,elf=FILE ...\n");
			return 2;
		}
		if (!strcmp(argv[i], "--board")) {
			if (!board_from(&rig.boards[rig.n], value, folder, rig.n + 1))
				return 2;
			rig.n++;
		} else if (!strcmp(argv[i], "--pace")) {
			rig.pace = !strcmp(value, "free") ? PACE_FREE : !strcmp(value, "hold") ? PACE_HOLD : PACE_REAL;
		} else if (strcmp(argv[i], "--folder")) {
			fprintf(stderr, "rig: what is '%s'?\n", argv[i]);
			return 2;
		}
	}
	signal(SIGTERM, stop);
	signal(SIGINT, stop);
	signal(SIGPIPE, SIG_IGN);
#ifdef __linux__
	prctl(PR_SET_TIMERSLACK, 1000); /* 1 us; by default sleeps end up to 50 us late */
#endif
	char path[300];
	snprintf(path, sizeof path, "%s/control", folder);
	int listener = listen_at(path);
	bool good = listener >= 0;
	for (int i = 0; i < rig.n && good; i++) {
		board_plug(&rig.boards[i]);
		good = rig.boards[i].cable.master >= 0;
	}
	if (good) {
		rig_rebase(&rig);
		puts("ready");
		fflush(stdout);
		serve_all(&rig, listener);
	}
	for (int i = 0; i < rig.n; i++)
		cable_unplug(&rig.boards[i].cable);
	unlink(path);
	/* Whoever started us may have been killed, and then nobody else takes his folder away. */
	snprintf(path, sizeof path, "%s/pid", folder);
	unlink(path);
	rmdir(folder);
	return good ? 0 : 2;
}
