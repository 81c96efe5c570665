#include "store.h"

#include <avr/eeprom.h>
#include <avr/interrupt.h>
#include <avr/io.h>

#include "board.h"
#include "chip.h"
#include "link.h"
#include "near.h"

#define SERIAL_AT 0 /* u32; erased: none */
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
uint32_t store_serial;
uint16_t store_starts;

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
    eeprom_read_block(&store_serial, (const void *)SERIAL_AT, sizeof store_serial);
    if (store_serial == 0xffffffffUL)
        store_serial = 0;
    store_starts = eeprom_read_word((const uint16_t *)STARTS_AT) + 1;
    eeprom_update_word((uint16_t *)STARTS_AT, store_starts);
    eeprom_busy_wait();
}

/* Once in a board's life, so it may wait: four bytes, far below the watchdog's patience. */
void store_name(uint32_t serial)
{
    store_serial = serial;
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

APART uint8_t store_save(uint32_t period)
{
    uint16_t n = chip_weight_count();

    if (next != IDLE || n > WEIGHTS_SIZE)
        return 0;
    store_head.whole = 0;
    store_head.number++;
    store_head.shift = CHIP_WEIGHT_BYTES * n > WEIGHTS_SIZE ? least_shift() : AS_IT_IS;
    store_head.period = period;
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
    if (!eeprom_is_ready()) {
        EECR |= 1 << EERIE;
        return 0;
    }
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
    return next == IDLE;
}

/* The number of the snapshot in a slot, if there is one. */
static uint8_t is_whole(uint16_t address, uint16_t *number)
{
    uint16_t i, sum = CRC_START;

    for (i = 1; i < CRC_AT; i++)
        sum = link_crc(sum, read_at(address + i));
    *number = eeprom_read_word((const uint16_t *)(address + 1));
    return read_at(address) == WHOLE && eeprom_read_word((const uint16_t *)(address + CRC_AT)) == sum;
}

APART uint8_t store_recall(void)
{
    uint16_t first, second, n, address;
    uint8_t had = is_whole(SLOTS_AT, &first), has = is_whole(SLOTS_AT + SLOT_SIZE, &second);
    int16_t *w = (int16_t *)(void *)chip_weights();

    if (next != IDLE || !(had || has))
        return 0;
    slot = SLOTS_AT;
    if (has && (!had || (int16_t)(second - first) > 0))
        slot += SLOT_SIZE;
    eeprom_read_block(&store_head, (const void *)slot, sizeof store_head);
    eeprom_read_block(chip_image(), (const void *)(slot + sizeof store_head), CHIP_PARAMS_SIZE);
    address = slot + WEIGHTS_AT;
    if (store_head.shift == AS_IT_IS)
        eeprom_read_block(w, (const void *)address, WEIGHTS_SIZE);
    else
        for (n = WEIGHTS_SIZE; n; n--)
            *w++ = (int16_t)((uint16_t)(int8_t)read_at(address++) << store_head.shift);
    chip_rest();
    return chip_restore(chip_snapshot());
}
