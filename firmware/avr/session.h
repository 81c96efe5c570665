/* What the host asks, and the answers. neurobus/wire/link.py has the messages and says how a session goes. */
#ifndef SESSION_H
#define SESSION_H

#include <stdint.h>

extern uint8_t session_blocked;     /* the message that has come waits for an update */
extern uint8_t session_reset_flags; /* LINK_RESET_* */

void session_start(void);           /* a snapshot found becomes the chip, and runs */
void session_poll(void);            /* one message at most, and answers that there is room for */
void session_frame(void);           /* every 20 ms */
uint8_t session_may_sleep(void);

#endif
