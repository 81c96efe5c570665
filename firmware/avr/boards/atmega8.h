/* A bare ATmega8 (28-pin DIP) at 8 or 16 MHz, with a USB serial adapter.
 *
 *   PD0 (pin 2), PD1 (pin 3)  UART: RXD to the adapter's TX, TXD to its RX
 *   PD6 (pin 12)              strip, data          PD7 (pin 13)  strip, backup data
 *   PD2 (pin 4)               button to ground     PC0 (pin 23)  touch module, active high (TOUCH=1)
 *   PB5 (pin 19)              an LED with 1 kΩ to ground: spikes
 */
#define BOARD_MCU LINK_MCU_ATMEGA8
#define CHIP_ROOM 600 /* bytes for weights and marks: 200 plastic synapses */
#define RX_RING 64
#define RX_CREDIT 64
#define TX_RING 64
#define QUEUE 5
#define SLOT_SIZE 252
#define BOOT_LOADER 0
#define GOES_ON 0 /* no room */

#define STRIP_PORT PORTD
#define STRIP_DDR DDRD
#define STRIP_DATA (1 << PD6)
#define STRIP_BACKUP (1 << PD7)

#define BUTTON_PORT PORTD
#define BUTTON_PIN PIND
#define BUTTON (1 << PD2)
#define TOUCH_PIN PINC
#define TOUCHED (1 << PC0)

#define SIGN_PORT PORTB
#define SIGN_DDR DDRB
#define SIGN (1 << PB5)

/* What this processor calls differently. */
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
