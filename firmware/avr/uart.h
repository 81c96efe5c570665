/* The serial line: bytes in and out of two rings.
 *
 * What was sent stays in the transmit ring until the link lets go of it, so that it can be sent again:
 * uart_tail ... uart_sent is on the line or waits for an ack, uart_sent ... uart_head waits for the line.
 * Only the interrupt moves uart_sent, but for uart_rewind.
 */
#ifndef UART_H
#define UART_H

#include <stdint.h>

extern uint8_t uart_tx[];
extern uint8_t uart_head, uart_tail;
extern volatile uint8_t uart_sent;

void uart_init(void);
uint8_t uart_waiting(void);      /* bytes received */
uint8_t uart_read(void);         /* the oldest; only if uart_waiting() */
void uart_start(void);           /* there is something at uart_head */
uint8_t uart_quiet(void);        /* all of the ring has been sent */
void uart_rewind(void);          /* send again from uart_tail on; only if uart_quiet() */

/* For the strip, which keeps interrupts off for longer than a byte lasts. Takes at most 40 cycles. */
void uart_poll_receive(void);

#endif
