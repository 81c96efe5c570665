#include "link.h"

#ifdef __AVR__
#include <avr/pgmspace.h>
#include <util/crc16.h>
#else
#define pgm_read_byte(address) (*(address))
uint16_t _crc_xmodem_update(uint16_t crc, uint8_t data);
#endif

#include "board.h"
#include "chip.h"
#include "near.h"
#include "uart.h"

#define CRC_START 0xffff
#define CRC_SIZE 2

uint8_t link_buffer[1 + LINK_LONGEST + CRC_SIZE]; /* as it comes, a COBS code before the first byte */
uint8_t link_size;
struct link_stats stats;

static struct state {
    uint8_t session;
    /* Receiving. */
    uint8_t got;      /* bytes of the frame that is coming in; more than there is room for: it is none */
    uint8_t held;
    uint8_t taken;    /* last seq taken */
    uint8_t ack_due /* frames taken and not acknowledged */, resend_due, resend_said;
    uint8_t heard;
    /* Sending. Frames up to `acked` have been acknowledged; `let_go` of them are still in the ring. */
    uint8_t last_seq, acked, let_go, again, waited;
    uint8_t at, code_at, code;
    uint16_t crc;
} state;

uint16_t APART_IF_SMALL link_crc(uint16_t crc, uint8_t byte)
{
    return _crc_xmodem_update(crc, byte);
}

void link_count(uint16_t *counter)
{
    if (*counter != 0xffff)
        ++*counter;
}

void link_reset(uint8_t on)
{
    NEAR(struct state, my, state);
    my->session = on;
    my->taken = my->last_seq = my->acked = my->let_go = my->again = my->waited = 0;
    my->ack_due = my->resend_due = my->resend_said = 0;
    my->held = my->heard = 0;
    /* Not in the middle of a frame: what is under way goes out whole and is then forgotten. */
    while (!uart_quiet())
        ;
    uart_tail = uart_head;
}

uint8_t link_session(void)
{
    NEAR(struct state, my, state);
    return my->session;
}

uint8_t link_heard(void)
{
    NEAR(struct state, my, state);
    return my->heard;
}

/* Sending */

static inline uint8_t after(uint8_t i)
{
    return (i + 1) & (TX_RING - 1);
}

/* Forget frames at the tail that have been sent and are acknowledged or need no ack. The byte after the first
 * COBS code is the id, which is never 0. */
static void trim(void)
{
    NEAR(struct state, my, state);
    uint8_t sent = uart_sent;

    while (uart_tail != sent) {
        uint8_t i = uart_tail, id = uart_tx[after(i)];

        if (id >= LINK_SEQUENCED && my->let_go == 0)
            return;
        while (uart_tx[i] != 0) {
            i = after(i);
            if (i == sent)
                return;
        }
        if (id >= LINK_SEQUENCED)
            my->let_go--;
        uart_tail = after(i);
    }
}

uint8_t link_room(uint8_t size)
{
    uint8_t used;

    trim();
    used = (uart_head - uart_tail) & (TX_RING - 1);
    return (uint8_t)(TX_RING - 1 - used) >= size + LINK_HEAD + CRC_SIZE + 2;
}

static void stuff(uint8_t byte)
{
    NEAR(struct state, my, state);
    if (byte == 0) {
        uart_tx[my->code_at] = my->code;
        my->code_at = my->at;
        my->code = 1;
    } else {
        uart_tx[my->at] = byte;
        my->code++;
    }
    my->at = after(my->at);
}

void link_put(uint8_t byte)
{
    NEAR(struct state, my, state);
    my->crc = link_crc(my->crc, byte);
    stuff(byte);
}

void link_put16(uint16_t word)
{
    link_put(word);
    link_put(word >> 8);
}

void link_put_all(const void *fields, uint8_t size)
{
    const uint8_t *byte = fields;

    while (size--)
        link_put(*byte++);
}

void link_put_tick(void)
{
    uint32_t tick = chip_now();

    link_put_all(&tick, sizeof tick);
}

void link_put_flash(const void *fields, uint8_t size)
{
    const uint8_t *byte = fields;

    while (size--)
        link_put(pgm_read_byte(byte++));
}

void link_begin(uint8_t id)
{
    NEAR(struct state, my, state);
    my->code_at = uart_head;
    my->at = after(my->code_at);
    my->code = 1;
    my->crc = CRC_START;
    link_put(id);
    link_put(id >= LINK_SEQUENCED ? ++my->last_seq : 0);
    link_put(my->taken);
    my->ack_due = 0;
}

void link_end(void)
{
    NEAR(struct state, my, state);
    uint16_t sum = my->crc;

    stuff(sum >> 8);
    stuff(sum);
    uart_tx[my->code_at] = my->code;
    uart_tx[my->at] = 0;
    uart_head = after(my->at);
    uart_start();
}

void link_send(uint8_t id, const void *fields, uint8_t size)
{
    link_begin(id);
    link_put_all(fields, size);
    link_end();
}

APART void link_poll(uint8_t idle)
{
    NEAR(struct state, my, state);
    if (my->again && uart_quiet()) {
        my->again = 0;
        trim();
        if (uart_tail != uart_head) {
            link_count(&stats.resent);
            uart_rewind();
        }
    }
    if (my->resend_due && link_room(0)) {
        link_send(LINK_RESEND, 0, 0);
        my->resend_due = 0;
    }
    if (my->ack_due && (idle || my->ack_due >= RX_CREDIT / 32) && link_room(1)) {
        uint8_t room = RX_RING - 1 - uart_waiting();

        link_send(LINK_ACK, &room, 1);
    }
}

uint8_t link_wants(void)
{
    NEAR(struct state, my, state);
    return (my->ack_due || my->resend_due) && link_room(1);
}

APART void link_elapsed(void)
{
    NEAR(struct state, my, state);
    if (my->heard != 255)
        my->heard++;
    if (my->last_seq == my->acked)
        my->waited = 0;
    else if (++my->waited >= (LINK_RESEND_MS + 10) / 20) {
        my->again = 1;
        my->waited = 0;
    }
}

/* Receiving */

static void want_resend(void)
{
    NEAR(struct state, my, state);
    if (!my->resend_said && my->session)
        my->resend_due = my->resend_said = 1;
}

static void hear_ack(uint8_t ack)
{
    NEAR(struct state, my, state);
    uint8_t news = ack - my->acked;

    if (news != 0 && news <= (uint8_t)(my->last_seq - my->acked)) {
        my->acked = ack;
        my->let_go += news;
        my->waited = 0;
        trim();
    }
}

/* A whole payload lies in link_frame. 1 if it is to be held. */
static APART uint8_t judge(void)
{
    NEAR(struct state, my, state);
    uint8_t id = link_frame[0], ahead;

    /* Who asks is not the one whose acks are waited for, and may have to wait until his session is over: the
     * ring can be full. */
    if (id != LINK_ASK) {
        my->heard = 0;
        if (my->session)
            hear_ack(link_frame[2]);
    }
    if (id == LINK_RESEND) {
        my->again = my->session;
        return 0;
    }
    if (id < LINK_SEQUENCED || !my->session)
        return id != LINK_ACK || !my->session;
    ahead = link_frame[1] - my->taken - 1;
    if (ahead == 0)
        return 1;
    if (ahead < 128) {
        link_count(&stats.gaps);
        want_resend();
    } else {
        my->ack_due = RX_CREDIT;
    }
    return 0;
}

/* The zero that ends a frame has come. Every COBS code is the way to the next one, and stands where a zero was. */
static void close(void)
{
    NEAR(struct state, my, state);
    uint8_t i = 0, way;
    uint16_t sum = CRC_START;

    if (my->got == 0)
        return;
    if (my->got <= sizeof link_buffer) {
        while (i < my->got) {
            way = link_buffer[i];
            if (way == 0 || way > my->got - i)
                break;
            link_buffer[i] = 0;
            i += way;
        }
        if (i == my->got && my->got >= 1 + LINK_HEAD + CRC_SIZE) {
            for (i = 1; i < my->got; i++)
                sum = link_crc(sum, link_buffer[i]);
            if (sum == 0) {
                link_size = my->got - 1 - LINK_HEAD - CRC_SIZE;
                my->held = judge();
                return;
            }
        }
    }
    link_count(&stats.bad);
    want_resend();
}

APART uint8_t link_receive(void)
{
    NEAR(struct state, my, state);
    uint8_t most = 32;

    while (!my->held && most-- && uart_waiting()) {
        uint8_t byte = uart_read();

        if (byte == 0) {
            close();
            my->got = 0;
        } else {
            if (my->got < sizeof link_buffer)
                link_buffer[my->got] = byte;
            if (my->got <= sizeof link_buffer)
                my->got++;
        }
    }
    return my->held;
}

APART void link_take(void)
{
    NEAR(struct state, my, state);
    if (link_frame[0] >= LINK_SEQUENCED && my->session) {
        my->taken = link_frame[1];
        my->ack_due++;
        my->resend_said = 0;
    }
    my->held = 0;
}

void link_refuse(void)
{
    NEAR(struct state, my, state);
    link_count(&stats.refused);
    my->resend_said = 0;
    want_resend();
    my->held = 0;
}
