/* Frames on the line: COBS, CRC, seq and ack in both directions. neurobus/wire/link.py says how a session goes,
 * framing.py what a frame is.
 */
#ifndef LINK_H
#define LINK_H

#include <stdint.h>

#include "link_messages.h"

#define LINK_LONGEST (LINK_HEAD + 2 + LINK_CHUNK) /* of a payload for a board */

extern uint8_t link_buffer[];
#define link_frame (link_buffer + 1) /* the frame that is held: id, seq, ack, fields */
extern uint8_t link_size;    /* bytes of its fields */
extern struct link_stats stats; /* every counter of the program */


void link_reset(uint8_t session);  /* both seqs begin afresh, nothing is outstanding; session: one is on */
uint8_t link_session(void);        /* 1 between ASK with take and silence */
uint8_t link_receive(void);        /* 1: a frame is held, until it is taken or refused */
void link_take(void);
void link_refuse(void);            /* there is no room: the host is to send it again */
void link_poll(uint8_t idle);      /* acks, and what has to be sent again; idle: nothing else will carry the ack */
void link_elapsed(void);           /* another 20 ms have passed */
uint8_t link_wants(void);          /* there is something for link_poll to send at once */
uint8_t link_heard(void);          /* frames of 20 ms since anything was heard, at most 255 */

uint8_t link_room(uint8_t size);   /* a message with so many bytes of fields can be sent now */
void link_begin(uint8_t id);
void link_put(uint8_t byte);
void link_put16(uint16_t word);
void link_put_all(const void *fields, uint8_t size);
void link_put_tick(void);
void link_put_flash(const void *fields, uint8_t size);
void link_end(void);
void link_send(uint8_t id, const void *fields, uint8_t size);

uint16_t link_crc(uint16_t crc, uint8_t byte); /* CRC-16/CCITT-FALSE, begun with 0xffff */
void link_count(uint16_t *counter); /* stops at 65535 */

#endif
