#include "session.h"

#include <avr/io.h>
#include <avr/pgmspace.h>
#include <stddef.h>
#include <string.h>

#include "board.h"
#include "chip.h"
#include "clock.h"
#include "lights.h"
#include "link.h"
#include "near.h"
#include "run.h"
#include "stack.h"
#include "store.h"
#include "uart.h"
#include "ws28xx.h"

#define SILENCE_FRAMES (LINK_SILENCE_MS / 20)

/* Answers that wait for room in the transmit ring. */
enum { HELLO = 1, PONG = 2, LOADED = 4, CHECKED = 8, SAVED = 16, PROBLEM = 32, STATS = 64 };
static uint8_t owed;

uint8_t session_blocked;
uint8_t session_reset_flags;

static uint16_t hello_token, session_token;
static struct {
    uint16_t token;
    uint32_t clock;
} LINK_PACKED pong; /* PONG begins with these */
static struct link_problem problem;
static uint16_t expected; /* bytes of the image announced by BEGIN, 0 for none */
static uint16_t read_at, read_end;

static uint8_t recall(void)
{
    run_empty();
    if (!store_recall())
        return 0;
    run_whole();
#if GOES_ON
    run_period = store_head.period;
#endif
    return 1;
}

void session_start(void)
{
    owed = HELLO;
    recall();
#if GOES_ON
    run_resume();
#endif
}

static void fault(uint8_t what, uint16_t detail)
{
    problem.fault = what;
    problem.detail = detail;
    owed |= PROBLEM;
}

static uint16_t image_crc(uint16_t length)
{
    const uint8_t *byte = chip_image();
    uint16_t sum = 0xffff;

    while (length--)
        sum = link_crc(sum, *byte++);
    return sum;
}

/* Answers */

static const struct link_hello facts PROGMEM = {
    .version = LINK_VERSION,
    .schema = LINK_SCHEMA,
    .mcu = BOARD_MCU,
    .clock_hz = F_CPU,
    .timer_hz = CLOCK_HZ,
    .chip = CHIP_KIND,
    .room = CHIP_ROOM,
    .synapses = CHIP_CAPACITY,
    .leds = WS_PIXELS,
    .led = WS_KIND,
    .rx_ring = RX_CREDIT,
    .queue = QUEUE,
};

static void say_hello(void)
{
    link_begin(LINK_HELLO);
    link_put16(hello_token);
    link_put_flash(&facts.version, offsetof(struct link_hello, held) - offsetof(struct link_hello, version));
    link_put(run_state.held);
    link_put(session_reset_flags);
    store_put_identity();
}

static uint8_t ring_free(void)
{
    return RX_RING - 1 - uart_waiting();
}

static void say_pong(void)
{
    link_begin(LINK_PONG);
    link_put_all(&pong, sizeof pong);
    link_put_tick();
    link_put(ring_free());
    link_put(run_queued);
}

static void say_stats(void)
{
    stats.stack = stack_unused();
    stats.free = ring_free();
    link_begin(LINK_STATS);
    link_put_all(&stats, sizeof stats);
}

/* LOADED and CHECKED have the same fields. */
static void say_image(uint8_t id)
{
    uint16_t length = chip_snapshot();

    link_begin(id);
    link_put_tick();
    link_put16(length);
    link_put16(image_crc(length));
}

static void say_saved(void)
{
    link_begin(LINK_SAVED);
    link_put_all(&store_head.number, 3);
}

static void say_problem(void)
{
    link_begin(LINK_PROBLEM);
    link_put_all(&problem, sizeof problem);
}

static APART void say_part(void)
{
    uint16_t n = read_end - read_at;

    if (n > LINK_CHUNK)
        n = LINK_CHUNK;
    link_begin(LINK_IMAGE);
    link_put16(read_at);
    link_put_all(chip_image() + read_at, n);
    link_end();
    read_at += n;
    run_paused = read_at != read_end;
}

/* One of the answers owed, the lowest first. Without a session only HELLO is ever owed. */
static APART void answer(void)
{
    uint8_t one = owed & -owed;

    if (one && link_room(one & (HELLO | STATS) ? sizeof(struct link_hello) : sizeof(struct link_pong))) {
        owed &= ~one;
        switch (one) {
        case HELLO: say_hello(); break;
        case PONG: say_pong(); break;
        case LOADED: say_image(LINK_LOADED); break;
        case CHECKED: say_image(LINK_CHECKED); break;
        case SAVED: say_saved(); break;
        case PROBLEM: say_problem(); break;
        case STATS: say_stats(); break;
        }
        link_end();
    }
    if (run_paused && link_room(2 + LINK_CHUNK))
        say_part();
}

/* Requests */

static APART void begin_afresh(uint8_t session)
{
    owed = 0;
    read_at = read_end;
    run_paused = 0;
    link_reset(session);
}

static void begin(const struct link_begin *f)
{
    run_empty();
    expected = 0;
    if (f->chip != CHIP_KIND)
        fault(LINK_FAULT_CHIP, CHIP_KIND);
    else if (f->length > CHIP_IMAGE_SIZE)
        fault(LINK_FAULT_SIZE, CHIP_IMAGE_SIZE);
    else
        expected = f->length;
}

static void write(const struct link_write *f, uint8_t n)
{
    if (f->offset > expected || n > expected - f->offset) /* without BEGIN too */
        fault(LINK_FAULT_SIZE, expected);
    else
        memcpy(chip_image() + f->offset, f + 1, n);
}

static void commit(const struct link_commit *f)
{
    uint16_t sum = image_crc(expected);

    if (expected == 0 || sum != f->crc) {
        fault(LINK_FAULT_COMMIT, sum);
    } else if (!chip_restore(expected)) {
        fault(LINK_FAULT_IMAGE, 0);
    } else {
        run_whole();
        owed |= LOADED;
    }
    expected = 0;
}

static void read(const struct link_read *f)
{
    uint16_t left = chip_snapshot() - f->offset;

    read_at = f->offset;
    read_end = read_at + (f->length && f->length < left ? f->length : left);
    run_paused = (int16_t)left > 0;
}

static uint8_t all_synapses_known(const uint16_t *synapses, uint8_t n)
{
    for (; n; n--, synapses++)
        if (*synapses >= chip_synapses()) {
            fault(LINK_FAULT_SYNAPSE, *synapses);
            return 0;
        }
    return 1;
}

/* Bytes of fields of the host's messages, by id; MORE to come at the end. */
#define MORE 0x80
static const uint8_t sizes[] PROGMEM = { LINK_HOST_SIZES };

/* What is wrong with the message that is held, 0 for nothing. `more`: bytes of fields at its end, if it has many. */
static uint8_t wrong(uint8_t id, uint8_t *more)
{
    uint8_t size;

    if (id == LINK_ASK)
        size = sizeof(struct link_ask);
    else if (id == LINK_PING)
        size = sizeof(struct link_ping);
    else if (id < LINK_SEQUENCED || id >= LINK_SEQUENCED + sizeof sizes)
        return LINK_FAULT_UNKNOWN;
    else
        size = pgm_read_byte(&sizes[id - LINK_SEQUENCED]);
    *more = link_size - (size & ~MORE);
    if (size & MORE ? *more > LINK_CHUNK : *more)
        return LINK_FAULT_LENGTH;
    if (id >= LINK_READ && id <= LINK_SAVE && run_state.held == LINK_HELD_EMPTY)
        return LINK_FAULT_EMPTY;
    return 0;
}

/* Follow the message that is held. */
static APART enum run_answer follow(void)
{
    uint8_t id = link_frame[0], more, what;
    const void *f = link_frame + LINK_HEAD;

    if (!link_session() && id != LINK_ASK) {
        hello_token = 0;
        owed = HELLO;
        return RUN_TAKEN;
    }
    what = wrong(id, &more);
    if (what) {
        fault(what, id);
        return RUN_TAKEN;
    }
    switch (id) {
    case LINK_ASK: {
        const struct link_ask *ask = f;

        hello_token = ask->token;
        if (ask->take && hello_token != session_token) {
            session_token = hello_token;
            begin_afresh(1);
            run_halt();
        }
        owed |= HELLO;
        break;
    }
    case LINK_PING:
        pong.clock = clock_now();
        pong.token = *(const uint16_t *)f;
        owed |= PONG;
        break;
    case LINK_BEGIN: begin(f); break;
    case LINK_WRITE: write(f, more); break;
    case LINK_COMMIT: commit(f); break;
    case LINK_READ: read(f); break;
    case LINK_CHECK: owed |= CHECKED; break;
    case LINK_INPUT: {
        const uint16_t *synapses = (const uint16_t *)f + 1;

        more /= 2;
        if (all_synapses_known(synapses, more))
            return run_input(f, more, 0);
        break;
    }
    case LINK_KICK: return run_input(f, 1, 1);
    case LINK_STOP: run_halt(); run_owe_done(); break;
    case LINK_HORIZON:
        run_raise(*(const uint16_t *)f);
        run_owe_done();
        break;
    case LINK_RUN: run_free(f); break;
    case LINK_IDENTIFY: lights_identify(*(const uint8_t *)f); break;
    case LINK_PALETTE: lights_palette(f); break;
    case LINK_MIRROR: lights_mirror(*(const uint8_t *)f); break;
    case LINK_SAVE:
        if (!store_save())
            fault(LINK_FAULT_EEPROM, SLOT_SIZE);
        break;
    case LINK_RECALL:
        if (recall())
            owed |= LOADED;
        else
            fault(LINK_FAULT_EEPROM, 0);
        break;
    case LINK_NAME: store_name(*(const uint32_t *)f); break;
    case LINK_TELL: owed |= STATS; break;
    }
    return RUN_TAKEN;
}

APART void session_poll(void)
{
    session_blocked = 0;
    if (link_receive()) {
        enum run_answer what = follow();

        if (what == RUN_TAKEN)
            link_take();
        else if (what == RUN_REFUSE)
            link_refuse();
        else
            session_blocked = 1;
    }
    answer();
    if (store_poll() && link_session())
        owed |= SAVED;
}

APART void session_frame(void)
{
    link_elapsed();
    if (link_session() && link_heard() > SILENCE_FRAMES) {
        session_token = 0;
        begin_afresh(0);
    }
}

uint8_t session_may_sleep(void)
{
    return session_blocked || !uart_waiting();
}
