/* Template: the rows of all elementwise operators for one dtype. Before including: TYPE, DT (f32, i64 …), ONE, HALF, PARAM(v) (a double as
 * a TYPE), POW, UNARY_FLOATING / BINARY_FLOATING (empty for integers) and UNARY_NUMERIC / BINARY_NUMERIC. No include guard: once a dtype. */
#define UNARY(name, kinds, expr, slope, ...) UNARY_##kinds(name, expr, slope)
#define PREDICATE(name, expr, ...) ROW1(CAT(DT, name), uint8_t, TYPE, expr)
#define BINARY(name, kinds, expr, ...) BINARY_##kinds(name, expr)
#define COMPARE(name, expr, ...) ROW2(CAT(DT, name), uint8_t, TYPE, expr)
#include "ops/elementwise.def"
#undef TYPE
#undef DT
#undef PARAM
