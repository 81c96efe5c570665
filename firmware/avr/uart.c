#include "uart.h"

#include <avr/interrupt.h>
#include <avr/io.h>

#include "board.h"
#include "link.h"

#define DIVISOR (F_CPU / 8 / BAUD - 1)
#if F_CPU / 8 / (DIVISOR + 1) != BAUD
#error "this clock does not divide to this baud rate"
#endif

#if F_CPU / BAUD < 16
#error "too fast for this clock: bytes would be lost while the strip is told; at most F_CPU / 16"
#endif

#if RX_RING & (RX_RING - 1) || TX_RING & (TX_RING - 1) || RX_RING > 256 || TX_RING > 256
#error "rings are powers of 2, at most 256"
#endif

uint8_t uart_tx[TX_RING];
uint8_t uart_head, uart_tail;
volatile uint8_t uart_sent;

static uint8_t rx[RX_RING];
static volatile uint8_t rx_head, rx_tail;

void uart_init(void)
{
    UBRR0L = DIVISOR; /* its high byte, and the frame format 8N1, are as after reset */
    UCSR0A = 1 << U2X0;
    UCSR0B = 1 << RXEN0 | 1 << TXEN0 | 1 << RXCIE0;
}

static inline __attribute__((always_inline)) void receive(uint8_t status)
{
    uint8_t byte = UDR0, next = (rx_head + 1) & (RX_RING - 1);

    if (status & 1 << DOR0 && ++stats.overruns == 0)
        stats.overruns--;
    if (next == rx_tail) {
        if (++stats.overflows == 0)
            stats.overflows--;
        return;
    }
    rx[rx_head] = byte;
    rx_head = next;
}

static inline __attribute__((always_inline)) void send(void)
{
    uint8_t at = uart_sent;

    UDR0 = uart_tx[at];
    uart_sent = (at + 1) & (TX_RING - 1);
}

ISR(USART_RX_vect)
{
    receive(UCSR0A);
}

ISR(USART_UDRE_vect)
{
    if (uart_sent != uart_head)
        send();
    if (uart_sent == uart_head)
        UCSR0B &= ~(1 << UDRIE0);
}

void uart_poll_receive(void)
{
    uint8_t status = UCSR0A;

    if (status & 1 << RXC0)
        receive(status);
}

uint8_t uart_waiting(void)
{
    return (rx_head - rx_tail) & (RX_RING - 1);
}

uint8_t uart_read(void)
{
    uint8_t at = rx_tail, byte = rx[at];

    rx_tail = (at + 1) & (RX_RING - 1);
    return byte;
}

void uart_start(void)
{
    uint8_t sreg = SREG;

    cli();
    UCSR0B |= 1 << UDRIE0;
    SREG = sreg;
}

uint8_t uart_quiet(void)
{
    return uart_sent == uart_head;
}

void uart_rewind(void)
{
    uart_sent = uart_tail;
    if (uart_tail != uart_head)
        uart_start();
}
