/* Arduino Uno and Nano: ATmega328P at 16 MHz.
 *
 *   PD0 (D0), PD1 (D1)  UART, on the USB connector
 *   PD6 (D6)            strip, data          PD7 (D7)  strip, backup data
 *   PD2 (D2)            button to ground     PC0 (A0)  touch module, active high (TOUCH=1)
 *   PB5 (D13)           the LED on the board: spikes
 */
#define BOARD_MCU LINK_MCU_ATMEGA328P
#define CHIP_ROOM 1230 /* bytes for weights and marks: 410 plastic synapses */
#define RX_RING 256
#define RX_CREDIT 128 /* what the host counts on; what is sent twice finds room in the rest */
#define TX_RING 128
#define QUEUE 24
#define SLOT_SIZE 508
#define BOOT_LOADER 1
#define GOES_ON 1 /* after a start without a host, from the snapshot */

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
