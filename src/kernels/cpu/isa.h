/* Which instruction set the kernels use, and how a family of kernels is found for it.
 *
 * Every file in isa/ is compiled once per instruction set (cmake/kernels.cmake), with SOMA_ISA_NAME set to its name. A family
 * of kernels is a plain struct of function pointers; adding one takes two lines:
 *
 *   in the family's header:  typedef struct soma__relu_kernels { void (*f32)(…); … } soma__relu_kernels;
 *                            SOMA__FAMILY(soma__relu_kernels, soma__relu)
 *   in isa/relu.c:           const soma__relu_kernels SOMA__ISA(soma__relu) = { .f32 = relu_f32, … };
 *
 * and then soma__relu_pick()->f32(…) runs the best one that the machine has. In those files everything else is static: the same
 * names exist once per instruction set. SOMA_ISA_avx512, SOMA_ISA_avx2, SOMA_ISA_sse2, SOMA_ISA_neon or SOMA_ISA_generic is
 * 1 there. Nothing from isa/ may run before the choice was made (no constructors): the machine may not know its instructions.
 *
 * Levels are indices, worst first; the tables of all levels of the architecture are always in the library. */
#ifndef SOMA_SRC_ISA_H
#define SOMA_SRC_ISA_H

#include <stdbool.h>

#if defined(__x86_64__)
#define SOMA__ISA_COUNT 3
#define SOMA__ISA_NAMES "sse2", "avx2", "avx512"
#define SOMA__FAMILY_TABLES(type, name)                                      \
    extern const type name##_sse2, name##_avx2, name##_avx512;               \
    static const type *const name##_tables[SOMA__ISA_COUNT] __attribute__((unused)) = {&name##_sse2, &name##_avx2, &name##_avx512};
#elif defined(__aarch64__)
#define SOMA__ISA_COUNT 1
#define SOMA__ISA_NAMES "neon"
#define SOMA__FAMILY_TABLES(type, name) \
    extern const type name##_neon;      \
    static const type *const name##_tables[SOMA__ISA_COUNT] __attribute__((unused)) = {&name##_neon};
#else
#define SOMA__ISA_COUNT 1
#define SOMA__ISA_NAMES "generic"
#define SOMA__FAMILY_TABLES(type, name) \
    extern const type name##_generic;   \
    static const type *const name##_tables[SOMA__ISA_COUNT] __attribute__((unused)) = {&name##_generic};
#endif

/* Declares the tables of a family and <name>_pick(), the table for the level in use. */
#define SOMA__FAMILY(type, name)                                   \
    SOMA__FAMILY_TABLES(type, name)                                \
    __attribute__((unused)) static inline const type *name##_pick(void) { return name##_tables[soma__isa_level()]; }

/* The name of a table in a file that is compiled once per instruction set. */
#define SOMA__ISA_PASTE2(name, isa) name##_##isa
#define SOMA__ISA_PASTE(name, isa) SOMA__ISA_PASTE2(name, isa)
#ifdef SOMA_ISA_NAME
#define SOMA__ISA(name) SOMA__ISA_PASTE(name, SOMA_ISA_NAME)
#endif

/* The level in use, 0 … SOMA__ISA_COUNT - 1: the machine's best, or what SOMA_ISA asks for if the machine has it. */
int soma__isa_level(void);
int soma__isa_best(void);               /* the best level that the machine has */
const char *soma__isa_name(int level);
bool soma__isa_bf16(void);              /* the level in use has products of bf16 */
/* For tests: uses `level` from now on (at most the machine's best); -1: the default again. Not while kernels run. */
void soma__isa_force(int level);

#endif
