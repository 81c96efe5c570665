/* Facts of the board that this is built for, -DBOARD='"boards/uno.h"', and what its two processors call
 * differently. */
#ifndef BOARD_H
#define BOARD_H

#include BOARD

#if defined(__AVR_ATmega8__)
#define UCSR0A UCSRA
#define UCSR0B UCSRB
#define UDR0 UDR
#define UBRR0L UBRRL
#define U2X0 U2X
#define RXC0 RXC
#define DOR0 DOR
#define UDRE0 UDRE
#define RXCIE0 RXCIE
#define UDRIE0 UDRIE
#define RXEN0 RXEN
#define TXEN0 TXEN
#define USART_RX_vect USART_RXC_vect
#define TIMSK1 TIMSK
#define TIFR1 TIFR
#define EEPE EEWE
#define EEMPE EEMWE
#define EE_READY_vect EE_RDY_vect
#endif

#endif
