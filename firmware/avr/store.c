#include "store.h"

#include <avr/eeprom.h>
#include <avr/interrupt.h>
#include <avr/io.h>

#include "board.h"
#include "chip.h"
#include "link.h"
#include "run.h"
#include "near.h"

#define SERIAL_AT 0 /* u32; erased: none; the host expects these two as they lie */
#define STARTS_AT 4 /* u16 */
#define SLOTS_AT 8

#define WHOLE 0xA5
#define AS_IT_IS 255
#define CRC_START ((uint16_t)LINK_SCHEMA) /* so that another layout is no snapshot */
#define CRC_AT (SLOT_SIZE - 2)
#define WEIGHTS_AT (sizeof store_head + CHIP_PARAMS_SIZE)
#define WEIGHTS_SIZE (CRC_AT - WEIGHTS_AT)
#define IDLE (SLOT_SIZE + 1)

struct store_head store_head;

static uint16_t slot = SLOTS_AT + SLOT_SIZE; /* address of the one that holds the newest snapshot */
static uint16_t next = IDLE;                 /* the byte to be saved; after the last comes the first once more */
static uint16_t crc;

static uint8_t read_at(uint16_t address)
{
    return eeprom_read_byte((const uint8_t *)address);
}

/* Before anything else runs, so the writes may wait: the count must have changed before anybody hears of it. */
void store_init(void)
{
    eeprom_update_word((uint16_t *)STARTS_AT, eeprom_read_word((const uint16_t *)STARTS_AT) + 1);
    eeprom_busy_wait();
}

/* The EEPROM may be busy with a byte of a snapshot; that is soon over. */
void store_put_identity(void)
{
    uint8_t at;

    for (at = SERIAL_AT; at < SLOTS_AT - 2; at++)
        link_put(read_at(at));
}

/* Once in a board's life, so it may wait: four bytes, far below the watchdog's patience. */
void store_name(uint32_t serial)
{
    eeprom_update_dword((uint32_t *)SERIAL_AT, serial);
}

/* The least shift that makes all weights fit 8 bits. */
static uint8_t least_shift(void)
{
    const int16_t *w = (const int16_t *)(const void *)chip_weights();
    uint16_t n, bits = 0;
    uint8_t shift = 0;

    for (n = chip_weight_count(); n; n--, w++)
        bits |= *w < 0 ? ~*w : *w;
    for (; bits > 127; bits >>= 1)
        shift++;
    return shift;
}

APART uint8_t store_save(void)
{
    uint16_t n = chip_weight_count();

    if (next != IDLE || n > WEIGHTS_SIZE)
        return 0;
    store_head.whole = 0;
    store_head.number++;
    store_head.shift = CHIP_WEIGHT_BYTES * n > WEIGHTS_SIZE ? least_shift() : AS_IT_IS;
#if GOES_ON
    store_head.period = run_period;
#endif
    slot ^= SLOTS_AT ^ (SLOTS_AT + SLOT_SIZE);
    next = 0;
    return 1;
}

static APART uint8_t byte_to_save(uint16_t i)
{
    if (i < sizeof store_head)
        return ((uint8_t *)&store_head)[i];
    if (i < WEIGHTS_AT)
        return chip_image()[i - sizeof store_head];
    if (i == CRC_AT)
        return crc;
    if (i == CRC_AT + 1)
        return crc >> 8;
    i -= WEIGHTS_AT;
    if (store_head.shift == AS_IT_IS)
        return chip_weights()[i];
    return ((int16_t *)(void *)chip_weights())[i] >> store_head.shift;
}

ISR(EE_READY_vect)
{
    EECR &= ~(1 << EERIE); /* wakes the processor, and that is all */
}

APART uint8_t store_poll(void)
{
    uint16_t i = next, address = slot + i;
    uint8_t byte;

    if (i == IDLE)
        return 0;
    if (!eeprom_is_ready())
        return 0;
    next++;
    if (i == SLOT_SIZE) {
        address = slot;
        byte = WHOLE;
    } else {
        byte = byte_to_save(i);
        if (i <= 1)
            crc = CRC_START;
        if (i < CRC_AT)
            crc = link_crc(crc, byte);
    }
    eeprom_update_byte((uint8_t *)address, byte);
    EECR |= 1 << EERIE; /* once more when it is written */
    return next == IDLE;
}

/* Whether the slot at `slot` holds a snapshot; then `store_head` is its head. */
static uint8_t is_whole(void)
{
    uint16_t i, sum = CRC_START;

    for (i = 1; i < CRC_AT; i++)
        sum = link_crc(sum, read_at(slot + i));
    if (eeprom_read_word((const uint16_t *)(slot + CRC_AT)) != sum)
        return 0;
    eeprom_read_block(&store_head, (const void *)slot, sizeof store_head);
    return store_head.whole == WHOLE;
}

APART uint8_t store_recall(void)
{
    uint8_t *w = chip_weights(), had;
    uint16_t n, first;

    if (next != IDLE)
        return 0;
    slot = SLOTS_AT;
    had = is_whole();
    first = store_head.number;
    slot += SLOT_SIZE;
    if (!is_whole() || (had && (int16_t)(store_head.number - first) < 0)) {
        if (!had)
            return 0;
        slot = SLOTS_AT;
        is_whole();
    }
    eeprom_read_block(chip_image(), (const void *)(slot + sizeof store_head), CHIP_PARAMS_SIZE);
    for (n = WEIGHTS_AT; n < CRC_AT; n++) {
        uint8_t byte = read_at(slot + n);

        if (store_head.shift == AS_IT_IS) {
            *w++ = byte;
        } else {
            *(int16_t *)(void *)w = (uint16_t)(int8_t)byte << store_head.shift;
            w += 2;
        }
    }
    chip_rest();
    return chip_restore(chip_snapshot());
}
