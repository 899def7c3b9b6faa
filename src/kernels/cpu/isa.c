/* Finds out once what the processor can do. SOMA_ISA in the environment may ask for less, never for more. */
#include "isa.h"

#include "base/base.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

static const char *const names[SOMA__ISA_COUNT] = {SOMA__ISA_NAMES};
static atomic_int level_in_use = -1;

#if defined(__x86_64__)
static int detect(void) {
    unsigned a, b, c = 0, d;
    __builtin_cpu_init(); /* checks also that the system saves the wide registers */
    bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 29)) != 0;
    if (!f16c || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return 0;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512vl"))
        return 1;
    return 2;
}
static bool detect_bf16(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512bf16");
}
#else
static int detect(void) { return 0; }
static bool detect_bf16(void) { return false; }
#endif

int soma__isa_best(void) {
    static atomic_int best = -1;
    int level = atomic_load_explicit(&best, memory_order_relaxed);
    if (level < 0)
        atomic_store_explicit(&best, level = detect(), memory_order_relaxed);
    return level;
}

bool soma__isa_bf16(void) {
    static atomic_int has = -1;
    int known = atomic_load_explicit(&has, memory_order_relaxed);
    if (known < 0)
        atomic_store_explicit(&has, known = detect_bf16(), memory_order_relaxed);
    return known && soma__isa_level() == SOMA__ISA_COUNT - 1;
}

const char *soma__isa_name(int level) { return level >= 0 && level < SOMA__ISA_COUNT ? names[level] : "unknown"; }

/* Several threads may come here at once: all find the same. */
static int choose(void) {
    int best = soma__isa_best(), level = best;
    const char *wanted = getenv("SOMA_ISA");
    if (wanted && *wanted) {
        int i = 0;
        while (i < SOMA__ISA_COUNT && strcmp(names[i], wanted) != 0)
            i++;
        if (i > best)
            soma__log(SOMA_LOG_WARNING, "SOMA_ISA=%s: %s; using %s", wanted,
                      i == SOMA__ISA_COUNT ? "no such instruction set in this build" : "this machine does not have it", names[best]);
        else
            level = i;
    }
    atomic_store_explicit(&level_in_use, level, memory_order_relaxed);
    return level;
}

int soma__isa_level(void) {
    int level = atomic_load_explicit(&level_in_use, memory_order_relaxed);
    return level >= 0 ? level : choose();
}

void soma__isa_force(int level) {
    if (level > soma__isa_best())
        level = soma__isa_best();
    atomic_store_explicit(&level_in_use, level, memory_order_relaxed);
}

const char *soma_isa(void) { return names[soma__isa_level()]; }
