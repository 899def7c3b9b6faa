/* Real numbers in network descriptions. The C library's functions follow the process's locale ("0,5"), these do not. */
#include "nn/nn.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool digit(char c) { return c >= '0' && c <= '9'; }

/* Digits are gathered into a whole number of at most 19 places; 64 bits of mantissa in long double keep it exact, and one
 * multiplication by a power of ten follows. */
bool soma__nn_read_real(const char *text, const char **end, double *out) {
    const char *p = text;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+')
        p++;
    uint64_t digits = 0;
    int places = 0, exponent = 0, count = 0;
    for (bool point = false; digit(*p) || (*p == '.' && !point); p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        count++;
        if (places < 19) {
            digits = digits * 10 + (uint64_t)(*p - '0');
            places += digits > 0;
            exponent -= point;
        } else {
            exponent += !point;
        }
    }
    if (count == 0)
        return false;
    const char *e = p;
    if (*e == 'e' || *e == 'E') {
        e++;
        bool down = *e == '-';
        if (*e == '-' || *e == '+')
            e++;
        if (digit(*e)) {
            int given = 0;
            for (; digit(*e); e++)
                given = SOMA_MIN(given * 10 + (*e - '0'), 9999);
            exponent += down ? -given : given;
            p = e;
        }
    }
    long double value = digits == 0 ? 0 : exponent < 0 ? (long double)digits / powl(10, -exponent) : (long double)digits * powl(10, exponent);
    *out = negative ? -(double)value : (double)value;
    *end = p;
    return true;
}

/* Takes "d.ddde±xx" apart, whatever the locale's point is, and writes it plainly where that is short. */
static void arrange(const char *scientific, char *out) {
    char digits[24];
    int n = 0;
    const char *p = scientific;
    bool negative = *p == '-';
    for (; *p && *p != 'e'; p++)
        if (digit(*p) && n < 20)
            digits[n++] = *p;
    int exponent = 0, sign = 1;
    for (p = *p ? p + 1 : p; *p; p++) {
        if (*p == '-')
            sign = -1;
        else if (digit(*p))
            exponent = exponent * 10 + (*p - '0');
    }
    exponent *= sign;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    char *o = out;
    if (negative)
        *o++ = '-';
    if (exponent < -5 || exponent > 14) {
        *o++ = digits[0];
        if (n > 1)
            *o++ = '.';
        memcpy(o, digits + 1, (size_t)(n - 1));
        o += n - 1;
        *o++ = 'e';
        snprintf(o, 12, "%d", exponent);
        return;
    }
    int whole = exponent + 1; /* digits before the point */
    if (whole <= 0) {
        *o++ = '0';
        *o++ = '.';
        for (int i = whole; i < 0; i++)
            *o++ = '0';
    }
    for (int i = 0; i < SOMA_MAX(n, whole); i++) {
        if (i == whole && i > 0)
            *o++ = '.';
        *o++ = i < n ? digits[i] : '0';
    }
    *o = 0;
}

const char *soma__nn_write_real(double value, char *out) {
    for (int precision = 0; precision < 17; precision++) {
        char text[40];
        const char *end;
        double back;
        snprintf(text, sizeof text, "%.*e", precision, value);
        arrange(text, out);
        if (soma__nn_read_real(out, &end, &back) && back == value)
            break;
    }
    return out;
}
