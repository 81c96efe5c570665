/* A pointer that the compiler cannot see through: what lies within 63 bytes of it takes one word of code to reach,
 * not two. */
#ifndef NEAR_H
#define NEAR_H

#ifdef __AVR__
#define NEAR(type, name, object) type *name; __asm__("" : "=b"(name) : "0"(&(object)))
#else
#define NEAR(type, name, object) type *name = &(object)
#endif

/* A function that stays one: inlined, its pointers would live in stack slots of the loop in main. */
#define APART __attribute__((noinline))
#ifndef FAST
#define FAST 0 /* 1 where there is flash to spare */
#endif
#if FAST
#define APART_IF_SMALL
#else
#define APART_IF_SMALL APART
#endif

#endif
