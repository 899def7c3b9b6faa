/* CSV: every cell as text and as a number; numbers must be what strtod says. */
#include "fuzz.h"

#include <math.h>

static void use_cell(const soma_csv *c, int64_t row, int column) {
    double v;
    const char *text = soma_csv_cell(c, row, column);
    must(text != NULL && strlen(text) < 1 << 20);
    if (soma_csv_number(c, row, column, &v) == SOMA_OK)
        must(isfinite(v) && v == strtod(text, NULL));
    soma_error_clear();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    soma_csv *c = soma_csv_parse(data, size, "input");
    check_outcome(c != NULL);
    for (int64_t r = 0; r < soma_csv_rows(c); r++)
        for (int k = 0; k < soma_csv_columns(c); k++)
            use_cell(c, r, k);
    for (int k = 0; k < soma_csv_columns(c); k++) {
        int found = soma_csv_find(c, soma_csv_header(c, k));
        must(found >= 0 && found <= k);
    }
    soma_csv_free(c);
    return 0;
}
