/* The link of the firmware on this machine: a UART of two arrays, for tests/firmware/test_link.py. */
#include "link.h"

#include <string.h>

#include "board.h"
#include "uart.h"

uint8_t uart_tx[TX_RING];
uint8_t uart_head, uart_tail;
volatile uint8_t uart_sent;

static const uint8_t *in;
static uint32_t in_left;
static uint8_t busy;
static uint8_t out[1 << 16];
static uint32_t out_size;

uint32_t chip_now(void)
{
    return 0;
}

uint16_t _crc_xmodem_update(uint16_t crc, uint8_t byte)
{
    uint8_t i;

    crc ^= (uint16_t)byte << 8;
    for (i = 0; i < 8; i++)
        crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
    return crc;
}

uint8_t uart_waiting(void)
{
    return in_left > 100 ? 100 : in_left;
}

uint8_t uart_read(void)
{
    in_left--;
    return *in++;
}

uint8_t uart_quiet(void)
{
    return uart_sent == uart_head;
}

void uart_start(void)
{
    while (!busy && uart_sent != uart_head) {
        out[out_size++] = uart_tx[uart_sent];
        uart_sent = (uart_sent + 1) % TX_RING;
    }
}

void uart_rewind(void)
{
    uart_sent = uart_tail;
    uart_start();
}

/* 1: what is sent waits in the ring until 0. */
void line_busy(uint8_t on)
{
    busy = on;
    uart_start();
}

/* Feed bytes; every frame that comes is taken, and goes to `got`: its length, then its payload. Returns bytes
 * written there. */
uint32_t line_feed(const uint8_t *bytes, uint32_t n, uint8_t *got)
{
    uint32_t at = 0;

    in = bytes;
    in_left = n;
    while (in_left) {
        if (!link_receive())
            continue;
        got[at++] = link_size + LINK_HEAD;
        memcpy(got + at, link_frame, link_size + LINK_HEAD);
        at += link_size + LINK_HEAD;
        link_take();
    }
    return at;
}

/* The same for one frame, which is refused. */
uint8_t line_refuse(const uint8_t *bytes, uint32_t n)
{
    in = bytes;
    in_left = n;
    while (in_left)
        if (link_receive()) {
            link_refuse();
            return 1;
        }
    return 0;
}

/* Take what was sent. */
uint32_t line_sent(uint8_t *bytes)
{
    uint32_t n = out_size;

    memcpy(bytes, out, n);
    out_size = 0;
    return n;
}
