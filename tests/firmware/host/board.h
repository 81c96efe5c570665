/* The chip and the link compiled for the machine that runs the tests. */
#define CHIP_ROOM 1536
#define RX_RING 128
#define RX_CREDIT 128
#define TX_RING 128
