/* count MCU PROGRAM.elf [BYTES]: run it in simavr until it sleeps for good; prints so many bytes of what its
 * `image_at` points to, in hex, and the cycles. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>

int main(int n, char **words)
{
    static elf_firmware_t program;
    avr_t *avr;
    int state, bytes;
    uint32_t i;

    if (n < 3 || elf_read_firmware(words[2], &program) != 0)
        return 2;
    avr = avr_make_mcu_by_name(words[1]);
    if (!avr)
        return 2;
    avr_init(avr);
    avr->log = LOG_ERROR;
    avr->frequency = 16000000;
    avr_load_firmware(avr, &program);
    do
        state = avr_run(avr);
    while (state != cpu_Done && state != cpu_Crashed);
    for (i = 0; n > 3 && i < program.symbolcount; i++) {
        if (strcmp(program.symbol[i]->symbol, "image_at") == 0) {
            const uint8_t *at = avr->data + (program.symbol[i]->addr & 0xffff);

            at = avr->data + (at[0] | at[1] << 8);
            for (bytes = atoi(words[3]); bytes; bytes--)
                printf("%02x", *at++);
            printf("\n");
        }
    }
    printf("%llu\n", (unsigned long long)avr->cycle);
    return state == cpu_Crashed;
}
