/* The chip compiled for the machine that runs the tests. */
#define CHIP_ROOM 1536
