/* A run's doctor.jsonl, and what the doctor makes of it. */
#include "fuzz.h"

#include "doctor/doctor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char text[8192];
    size_t end;
    soma_doctor *d = soma_doctor_new();
    if (!d) return 0;
    check_outcome(soma__doctor_read_bytes(d, "input", data, size, INT64_MAX, &end) == SOMA_OK);
    for (int i = 0; i < soma_doctor_count(d); i++) {
        const soma_finding *f = soma_doctor_get(d, i);
        must(f->rule != NULL);
        soma_finding_text(f, false, text, sizeof(text));
        soma_finding_text(f, true, text, sizeof(text));
        soma_finding_json(f, text, sizeof(text));
        soma_error_clear();
    }
    soma_doctor_free(d);
    return 0;
}
