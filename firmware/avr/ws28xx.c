#include "ws28xx.h"

#include <avr/interrupt.h>
#include <avr/io.h>

#include "board.h"
#include "uart.h"

#if WS_PIXELS

#if WS_BACKUP
#define LINES (STRIP_DATA | STRIP_BACKUP)
#else
#define LINES STRIP_DATA
#endif

/* Cycles of a byte on the strip, with what lies between two, and of one on the line. */
#define BYTE (8 * (F_CPU / 800000) + 40)
#define UART_BYTE (10 * (F_CPU / BAUD))

void ws_init(void)
{
    STRIP_DDR |= LINES;
}

/* The comments count the cycles from the rising edge to the end of the instruction. */
static inline void put(uint8_t byte, uint8_t high, uint8_t low)
{
    uint8_t bits = 8;

    __asm__ volatile(
        "1: out %[port], %[high]  \n\t" /*  0                        */
#if F_CPU == 16000000
        "   nop                   \n\t" /*  1                        */
        "   rjmp .+0              \n\t" /*  3                        */
        "   sbrs %[byte], 7       \n\t" /*  4, or 5 skipping         */
        "   out %[port], %[low]   \n\t" /*  5: low, of a 0           */
        "   lsl %[byte]           \n\t" /*  6                        */
        "   rjmp .+0              \n\t" /*  8                        */
        "   rjmp .+0              \n\t" /* 10                        */
        "   nop                   \n\t" /* 11                        */
        "   out %[port], %[low]   \n\t" /* 12: low, of a 1           */
        "   rjmp .+0              \n\t" /* 14                        */
        "   rjmp .+0              \n\t" /* 16                        */
        "   dec %[bits]           \n\t" /* 17                        */
        "   brne 1b               \n\t" /* 19; the next edge at 20   */
#elif F_CPU == 8000000
        "   nop                   \n\t" /*  1                        */
        "   sbrs %[byte], 7       \n\t" /*  2, or 3 skipping         */
        "   out %[port], %[low]   \n\t" /*  3: low, of a 0           */
        "   lsl %[byte]           \n\t" /*  4                        */
        "   nop                   \n\t" /*  5                        */
        "   out %[port], %[low]   \n\t" /*  6: low, of a 1           */
        "   dec %[bits]           \n\t" /*  7                        */
        "   brne 1b               \n\t" /*  9; the next edge at 10   */
#else
#error "the strip's timing is known for 8 and 16 MHz"
#endif
        : [byte] "+r"(byte), [bits] "+r"(bits)
        : [port] "I"(_SFR_IO_ADDR(STRIP_PORT)), [high] "r"(high), [low] "r"(low));
}

void ws_write(const uint8_t *colours, uint8_t whole)
{
    uint8_t sreg = SREG, left = WS_PIXELS, high, low, hue, behind = 3;

    cli();
    high = STRIP_PORT | LINES;
    low = high & ~LINES;
    for (; left; left--) {
        const uint8_t *colour = colours;

        if (whole) {
            whole--;
        } else {
            colour += behind;
            behind = 6;
        }
        for (hue = 3; hue; hue--) {
            put(*colour++, high, low);
            uart_poll_receive();
#if BYTE > UART_BYTE
            uart_poll_receive(); /* the next may have come meanwhile */
#endif
        }
    }
    SREG = sreg;
}

#else

void ws_init(void)
{
}

void ws_write(const uint8_t *colours, uint8_t whole)
{
    (void)colours, (void)whole;
}

#endif
