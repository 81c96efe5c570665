/* A firmware to try the rig with: it echoes, and does on request what the rig must show.
 *
 * Bytes below 0x80 come back. The others are requests, each with one byte of argument:
 *   0x80 n    write n LEDs with interrupts off, LED i in the colours (i, 0x55, 0xA0 + i) as sent
 *   0x81 n    leave the UART alone for n times 100 us, interrupts off
 *   0x82 n    write n to the EEPROM cells 0, 1, 2 ..., 16 of them, one as soon as the other is done
 *   0x83 _    say MCUSR as it was at the start
 *   0x84 _    hang, so that the watchdog bites
 *   0x85 _    say whether the button is pressed
 *   0x86 n    run a loop of n times 10 cycles between marks 1 and 129
 *   0x87 n    sleep with interrupts off
 *   0x88 n    let timer 1 overflow and match A, clear flags (1 overflow, 2 match), say which are left
 */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <avr/wdt.h>
#include <util/delay.h>

#ifdef __AVR_ATmega8__
#define UCSR0A UCSRA
#define UCSR0B UCSRB
#define UBRR0L UBRRL
#define UDR0 UDR
#define USART_RX_vect USART_RXC_vect
#define MARK TWAR
#define EEMPE EEMWE
#define EEPE EEWE
#else
#define MARK GPIOR0
#endif

#ifndef BAUD
#define BAUD 500000
#endif
/* Cycles high for a zero, high for a one, of a bit. */
#ifndef T0H
#define T0H (F_CPU >= 16000000 ? 5 : 3)
#define T1H (F_CPU >= 16000000 ? 12 : 6)
#define BIT (F_CPU >= 16000000 ? 20 : 10)
#endif

#ifndef LED_PINS
#define LED_PINS 3
#endif

static volatile uint8_t ring[256], head;
static uint8_t tail, cause;

ISR(USART_RX_vect)
{
	ring[head++] = UDR0;
}

#ifdef TICK_HZ
EMPTY_INTERRUPT(TIMER1_COMPA_vect)
#endif

static void send(uint8_t byte)
{
	while (!(UCSR0A & 0x20))
		;
	UDR0 = byte;
}

static uint8_t take(void)
{
	while (head == tail) {
		cli();
		if (head == tail) {
			sei();
			sleep_cpu();
		}
		sei();
	}
	return ring[tail++];
}

/* T0H cycles after the rise it falls where the bit is zero, T1H after it in any case; BIT to the next. */
static __attribute__((noinline)) void led_byte(uint8_t byte)
{
	uint8_t down = PORTB & ~3, up = down | LED_PINS, bits = 8;
	asm volatile(
		"1: out %[port], %[up]\n"
		".rept %[zero]\n nop\n .endr\n"
		"sbrs %[byte], 7\n"
		"out %[port], %[down]\n"
		"lsl %[byte]\n"
		".rept %[one]\n nop\n .endr\n"
		"out %[port], %[down]\n"
		".rept %[rest]\n nop\n .endr\n"
		"dec %[bits]\n"
		"brne 1b\n"
		: [byte] "+r"(byte), [bits] "+r"(bits)
		: [port] "I"(_SFR_IO_ADDR(PORTB)), [up] "r"(up), [down] "r"(down), [zero] "n"(T0H - 2),
		  [one] "n"(T1H - T0H - 2), [rest] "n"(BIT - T1H - 4));
}

static void leds(uint8_t n)
{
	cli();
	for (uint8_t i = 0; i < n; i++) {
		led_byte(i);
		led_byte(0x55);
		led_byte(0xA0 + i);
#ifdef GAP_US
		_delay_us(GAP_US);
#endif
	}
	sei();
}

static void store(uint8_t value)
{
	for (uint8_t i = 0; i < 16; i++) {
		while (EECR & (1 << EEPE))
			;
		EEAR = i;
		EEDR = value;
		cli();
		EECR |= 1 << EEMPE;
		EECR |= 1 << EEPE;
		sei();
	}
}

#ifdef TIFR1
#define FLAGS TIFR1
#else
#define FLAGS TIFR
#endif

static __attribute__((noinline)) uint8_t flags(uint8_t cleared)
{
	uint8_t both = 1 << TOV1 | 1 << OCF1A, left;

	cli();
	TCCR1B = 1 << CS10;
	OCR1A = 0xFFF8;
	TCNT1 = 0xFF00;
	while ((FLAGS & both) != both)
		;
	FLAGS = (cleared & 1 ? 1 << TOV1 : 0) | (cleared & 2 ? 1 << OCF1A : 0);
	left = FLAGS;
	TCCR1B = 0;
	FLAGS = both;
	sei();
	return (left >> TOV1 & 1) | (left >> OCF1A & 1) << 1;
}

int main(void)
{
	cause = MCUSR;
	MCUSR = 0;
	wdt_disable();
	DDRB = 3;
	PORTD |= 1 << 2;
	UBRR0L = (F_CPU + BAUD * 4) / (BAUD * 8UL) - 1;
#ifdef SET_UCSRC
	UCSRC = 0x86; /* 8N1, as it is anyway; the same address as UBRRH */
#endif
#ifdef TICK_HZ
	TCCR1B = 1 << WGM12 | 1 << CS11;
	OCR1A = F_CPU / 8 / TICK_HZ - 1;
#ifdef TIMSK1
	TIMSK1 = 1 << OCIE1A;
#else
	TIMSK = 1 << OCIE1A;
#endif
#endif
	UCSR0A = 0x02;
	UCSR0B = 0x98;
	set_sleep_mode(SLEEP_MODE_IDLE);
	sleep_enable();
	sei();
	for (;;) {
		uint8_t byte = take();
		if (byte < 0x80) {
			send(byte);
			continue;
		}
		uint8_t n = take();
		switch (byte) {
		case 0x80: leds(n); break;
		case 0x81:
			cli();
			for (; n; n--)
				_delay_us(100);
			sei();
			break;
		case 0x82: store(n); break;
		case 0x83: send(cause); break;
		case 0x84:
			wdt_enable(WDTO_250MS);
			for (;;)
				;
		case 0x85: send(!(PIND & (1 << 2))); break;
		case 0x86:
			cli();
			MARK = 1;
			for (; n; n--)
				__builtin_avr_delay_cycles(7);
			MARK = 129;
			sei();
			break;
		case 0x87: cli(); sleep_cpu(); break;
		case 0x88: send(flags(n)); break;
		}
	}
}
