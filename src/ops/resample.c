/* Other resolutions: interpolate, pixel_shuffle and its inverse, channel_shuffle, grid_sample. Interpolation is separable: along
 * each axis a sum of rows picked by index times weights that depend on the place alone. */
#include "ops/op.h"

#include <math.h>
#include <string.h>

/* ---- interpolate ------------------------------------------------------------------------------------------------------ */

enum { I_SIZE, I_SCALE, I_MODE, I_ALIGN, I_RECOMPUTE };
enum { NEAREST, NEAREST_EXACT, LINEAR, BICUBIC, AREA, MODES };

/* Cubic convolution (Keys 1981) with a = -0.75, at distance t from the tap. */
static double cubic(double t) {
    const double a = -0.75;
    t = fabs(t);
    return t <= 1 ? ((a + 2) * t - (a + 3)) * t * t + 1 : t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

/* Taps of output place `o`: `at` may lie outside and is clamped. Returns how many. */
static int taps_at(int mode, int64_t o, int64_t in, double scale, bool align, int64_t *at, double *weight) {
    double from = align ? scale * (double)o : scale * ((double)o + 0.5) - 0.5;
    weight[0] = 1;
    if (mode == NEAREST || mode == NEAREST_EXACT) {
        at[0] = SOMA_MIN((int64_t)floor(scale * ((double)o + (mode == NEAREST ? 0 : 0.5))), in - 1);
        return 1;
    }
    if (mode == LINEAR) {
        from = fmax(from, 0);
        at[0] = SOMA_MIN((int64_t)from, in - 1);
        at[1] = SOMA_MIN(at[0] + 1, in - 1);
        weight[1] = from - (double)at[0];
        weight[0] = 1 - weight[1];
        return 2;
    }
    const int64_t left = (int64_t)floor(from);
    for (int k = 0; k < 4; k++) {
        const int64_t place = left - 1 + k;
        weight[k] = cubic(from - (double)place);
        at[k] = SOMA_MAX(0, SOMA_MIN(place, in - 1));
    }
    return 4;
}

static soma_tensor *along_axis(soma_tensor *x, int dim, int64_t out, int mode, double scale, bool align) {
    const int64_t in = x->shape[dim];
    const int taps = mode == BICUBIC ? 4 : mode == LINEAR ? 2 : 1;
    soma_tensor *index[4], *weight[4], *sum = NULL;
    for (int k = 0; k < taps; k++) {
        index[k] = soma__index_row(out);
        weight[k] = soma_empty(SOMA_SHAPE(out), SOMA_F64);
        if (!index[k] || !weight[k])
            return NULL;
    }
    for (int64_t o = 0; index[0]->data && o < out; o++) {
        int64_t at[4];
        double w[4];
        taps_at(mode, o, in, scale, align, at, w);
        for (int k = 0; k < taps; k++) {
            ((int64_t *)index[k]->data)[o] = at[k];
            ((double *)weight[k]->data)[o] = w[k];
        }
    }
    if (taps == 1)
        return soma_index_select(x, dim, index[0]);
    int64_t shape[SOMA_MAX_DIMS];
    for (int d = 0; d < x->ndim; d++)
        shape[d] = d == dim ? out : 1;
    for (int k = 0; k < taps; k++) {
        soma_tensor *part = soma_mul(soma_index_select(x, dim, index[k]),
                                     soma_to(soma_reshape(weight[k], x->ndim, shape), (soma_dtype)x->dtype));
        sum = sum ? soma_add(sum, part) : part;
    }
    return sum;
}

/* Modes by name and the number of axes that each takes (0: any). */
static int mode_of(const char *name, int axes) {
    static const struct {
        const char *name;
        int mode, axes;
    } known[] = {{"nearest", NEAREST, 0}, {"nearest-exact", NEAREST_EXACT, 0},
                 {"area", AREA, 0},       {"linear", LINEAR, 1},
                 {"bilinear", LINEAR, 2}, {"trilinear", LINEAR, 3},
                 {"bicubic", BICUBIC, 2}};
    for (size_t i = 0; i < SOMA_LEN(known); i++)
        if (strcmp(name, known[i].name) == 0 && (known[i].axes == 0 || known[i].axes == axes))
            return known[i].mode;
    soma_fail(SOMA_EINVAL,
              "interpolate: mode is '%s' for %d ax%ss; expected nearest, nearest-exact, area, linear (one axis), bilinear or bicubic "
              "(two), trilinear (three)",
              name, axes, axes == 1 ? "i" : "e");
    return -1;
}

static soma_tensor *area(soma_tensor *x, int axes, const int64_t *out) {
    return axes == 1   ? soma_adaptive_avg_pool1d(x, out[0])
           : axes == 2 ? soma_adaptive_avg_pool2d(x, out[0], out[1])
                       : soma_adaptive_avg_pool3d(x, out[0], out[1], out[2]);
}

static bool interpolate_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    const int axes = x->ndim - 2;
    const soma_attr *size = &a->attrs[I_SIZE];
    const double factor = soma__attr_float(a, I_SCALE);
    const bool align = soma__attr_int(a, I_ALIGN) != 0, recompute = soma__attr_int(a, I_RECOMPUTE) != 0;
    int64_t out[3] = {0};
    if (axes < 1 || axes > 3)
        return soma__expected(x, "x", "[N, C, L], [N, C, H, W] or [N, C, D, H, W]");
    const int mode = mode_of(a->attrs[I_MODE].value.s, axes);
    if (mode < 0)
        return false;
    if ((size->count > 0) == (factor != 0) || factor < 0 || (align && mode != LINEAR && mode != BICUBIC)) {
        soma_fail(SOMA_EINVAL, align && mode != LINEAR && mode != BICUBIC ? "interpolate: align_corners is for the linear and cubic modes"
                                                                          : "interpolate: expected either size or a scale_factor above 0");
        return false;
    }
    if (size->count > 0 && !soma__attr_list("interpolate", size, axes, 1, NULL, out))
        return false;
    soma_tensor *y = x;
    for (int i = 0; i < axes; i++) {
        const int64_t in = x->shape[i + 2];
        if (factor > 0)
            out[i] = (int64_t)fmin(floor((double)in * factor), INT32_MAX);
        if (in < 1 || out[i] < 1)
            return soma__expected(x, "x", "planes of 1 or more elements, in and out");
        double scale = factor > 0 && !recompute ? 1 / factor : (double)in / (double)out[i];
        if (align)
            scale = out[i] > 1 ? (double)(in - 1) / (double)(out[i] - 1) : 0;
        if (mode != AREA && y)
            y = along_axis(y, i + 2, out[i], mode, scale, align);
    }
    return soma__return(a, mode == AREA ? area(x, axes, out) : y);
}

SOMA__LINES(interpolate, "[2,3,4,5] size=7,3", "s[1,2,5,4] scale_factor=2.0 mode='bilinear'",
            "[2,2,4] size=7 mode='linear' align_corners=true", "[1,1,3,4,3] size=4,6,2 mode='trilinear'",
            "[1,2,4,5] size=7,8 mode='bicubic'", "s[1,2,6,6] scale_factor=0.5 mode='bicubic' align_corners=true",
            "[1,2,6,5] size=3,2 mode='area'", "[1,2,5] scale_factor=1.5 mode='nearest-exact'", "[0,2,3,3] size=2 mode='bilinear'",
            "[1,1,1,1] size=3 mode='bilinear' align_corners=true", "[1,1,3,2,2] scale_factor=2.0",
            "[2,1,7] scale_factor=0.6 mode='linear' recompute_scale_factor=true",
            "[4,4] size=2 !ESHAPE interpolate: x is [4, 4] f32, expected [N, C, L]",
            "[1,1,4,4] !EINVAL expected either size or a scale_factor",
            "[1,1,4,4] size=2 mode='linear' !EINVAL mode is 'linear' for 2 axes",
            "[1,1,4] size=2 align_corners=true !EINVAL align_corners is for the linear and cubic modes",
            "[1,1,4] scale_factor=0.1 !ESHAPE expected planes of 1 or more elements, in and out")

static const soma_op interpolate_op = {
    SOMA__COMPOSITE(interpolate),
    .family = "resample",
    .onnx = "Resize",
    .doc = "x [N, C, …] at another resolution along the last one to three axes, of `size` or scale_factor (one number for all axes) times "
           "as large. "
           "nearest repeats, linear/bilinear/trilinear draw straight lines, bicubic uses Keys' cubic (a = -0.75), area averages. With "
           "align_corners the "
           "corners stay where they are; else the outer edges do. Shrinking by the linear and cubic modes skips elements (use area).",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_DEF_INTS("size", "sizes of the result, one number an axis or one for all", 0, 0),
                        SOMA_DEF_FLOAT("scale_factor", 0, "how many times as large; 0: `size` says it"),
                        SOMA_DEF_STRING("mode", "nearest", "nearest, nearest-exact, linear, bilinear, trilinear, bicubic or area"),
                        SOMA_DEF_BOOL("align_corners", false, "the corners' elements stay in place"),
                        SOMA_DEF_BOOL("recompute_scale_factor", false, "scale by the rounded sizes instead of the given factor")),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .backward = SOMA_COMPOSED,
};

soma_tensor *soma_interpolate_ex(soma_tensor *x, const soma_interpolate_opts *opts) {
    soma_interpolate_opts o = {0};
    if (opts)
        memcpy(&o, opts, SOMA_MIN(opts->size_of, sizeof o));
    soma_attr size = {.name = "size", .kind = SOMA_ATTR_INTS};
    for (int i = 0; i < 3 && o.size[i] > 0; i++)
        size.value.ints[size.count++] = o.size[i];
    const soma_attr attrs[] = {size, SOMA_FLOAT("scale_factor", o.scale_factor), SOMA_STRING("mode", o.mode ? o.mode : "nearest"),
                               SOMA_BOOLEAN("align_corners", o.align_corners),
                               SOMA_BOOLEAN("recompute_scale_factor", o.recompute_scale_factor)};
    return SOMA__RUN(&interpolate_op, attrs, x);
}

/* ---- Shuffles --------------------------------------------------------------------------------------------------------- */

static bool plane_factor(soma_args *a, const char *name, int64_t of, int64_t by) {
    if (by >= 1 && of % by == 0)
        return true;
    char text[SOMA__SHAPE_TEXT];
    soma_fail(SOMA_ESHAPE, "%s: %s is %lld, which does not divide x, %s", a->op->name, name, (long long)soma__attr_int(a, 0),
              soma__tensor_text(a->in[0], text));
    return false;
}

/* x as [N, C, H, W] in `v`; false when it has fewer than three dimensions. */
static bool planes(const soma_tensor *x, int64_t *v) {
    if (x->ndim < 3)
        return soma__expected(x, "x", "[..., C, H, W]");
    v[0] = 1;
    for (int d = 0; d < x->ndim - 3; d++)
        v[0] *= x->shape[d];
    memcpy(v + 1, x->shape + x->ndim - 3, 3 * sizeof *v);
    return true;
}

static soma_tensor *finish_planes(soma_tensor *y, const soma_tensor *x, int64_t c, int64_t h, int64_t w) {
    int64_t shape[SOMA_MAX_DIMS];
    memcpy(shape, x->shape, sizeof shape);
    shape[x->ndim - 3] = c;
    shape[x->ndim - 2] = h;
    shape[x->ndim - 1] = w;
    return soma_reshape(y, x->ndim, shape);
}

static bool pixel_shuffle_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    const int64_t r = soma__attr_int(a, 0);
    int64_t v[4];
    if (!planes(x, v) || !plane_factor(a, "upscale_factor", v[1], r < 1 || r > INT16_MAX ? 0 : r * r))
        return false;
    const int64_t c = v[1] / (r * r);
    soma_tensor *y = soma_permute(soma_reshape(x, 6, (const int64_t[]){v[0], c, r, r, v[2], v[3]}), SOMA_DIMS(0, 1, 4, 2, 5, 3));
    return soma__return(a, finish_planes(y, x, c, v[2] * r, v[3] * r));
}

static bool pixel_unshuffle_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    const int64_t r = soma__attr_int(a, 0);
    int64_t v[4];
    if (!planes(x, v) || !plane_factor(a, "downscale_factor", v[2], r) || !plane_factor(a, "downscale_factor", v[3], r))
        return false;
    soma_tensor *y = soma_permute(soma_reshape(x, 6, (const int64_t[]){v[0], v[1], v[2] / r, r, v[3] / r, r}), SOMA_DIMS(0, 1, 3, 5, 2, 4));
    return soma__return(a, finish_planes(y, x, v[1] * r * r, v[2] / r, v[3] / r));
}

static bool channel_shuffle_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    const int64_t groups = soma__attr_int(a, 0);
    if (x->ndim < 3)
        return soma__expected(x, "x", "[N, C, …] with at least three dimensions");
    if (!plane_factor(a, "groups", x->shape[1], groups))
        return false;
    const int64_t rest = x->shape[0] * x->shape[1] == 0 ? 0 : x->numel / (x->shape[0] * x->shape[1]);
    soma_tensor *y = soma_reshape(x, 4, (const int64_t[]){x->shape[0], groups, x->shape[1] / groups, rest});
    return soma__return(a, soma_reshape(soma_permute(y, SOMA_DIMS(0, 2, 1, 3)), x->ndim, x->shape));
}

SOMA__LINES(pixel_shuffle, "[2,4,2,3] upscale_factor=2", "s[1,9,2,2] upscale_factor=3", "[8,2,1] upscale_factor=2",
            "[2,2,4,1,2] upscale_factor=2", "[0,4,2,2] upscale_factor=2", "[1,1,1] upscale_factor=1",
            "[1,3,2,2] upscale_factor=2 !ESHAPE upscale_factor is 2, which does not divide x, [1, 3, 2, 2] f32",
            "[4,4] upscale_factor=2 !ESHAPE expected [..., C, H, W]")
SOMA__LINES(pixel_unshuffle, "[2,1,4,6] downscale_factor=2", "s[1,2,3,6] downscale_factor=3", "[2,4,2] downscale_factor=2",
            "[2,2,1,2,2] downscale_factor=2", "[0,1,2,2] downscale_factor=2", "[1,1,1] downscale_factor=1",
            "[1,1,3,4] downscale_factor=2 !ESHAPE downscale_factor is 2, which does not divide x",
            "[1,1,3,4] downscale_factor=0 !ESHAPE downscale_factor is 0")
SOMA__LINES(channel_shuffle, "[2,4,2,3] groups=2", "s[1,6,2] groups=3", "[2,6,2,2] groups=2", "[1,4,1,1,2] groups=4", "[0,4,2] groups=2",
            "[1,1,1] groups=1", "[1,3,2] groups=2 !ESHAPE groups is 2, which does not divide x",
            "[4,4] groups=2 !ESHAPE expected [N, C, …]")

#define SHUFFLE(NAME, ATTR, HELP, ONNX, DOC)                                                                                               \
    static const soma_op NAME##_op = {                                                                                                     \
        SOMA__COMPOSITE(NAME),                                                                                                            \
        .family = "resample",                                                                                                              \
        .onnx = ONNX,                                                                                                                      \
        .doc = DOC,                                                                                                                        \
        .in = {{.name = "x"}},                                                                                                             \
        .n_in = 1,                                                                                                                         \
        .outputs = 1,                                                                                                                      \
        .attrs = SOMA_ATTRS(SOMA_NEED_INT(ATTR, HELP)),                                                                                    \
        .dtypes = SOMA_ANY,                                                                                                                \
        .promote = SOMA_PROMOTE_SAME,                                                                                                      \
        .backward = SOMA_COMPOSED,                                                                                                         \
    };                                                                                                                                     \
    soma_tensor *soma_##NAME(soma_tensor *x, int64_t n) {                                                                                  \
        const soma_attr attr = SOMA_INT(ATTR, n);                                                                                          \
        return SOMA__RUN(&NAME##_op, &attr, x);                                                                                            \
    }
SHUFFLE(pixel_shuffle, "upscale_factor", "how many times as high and wide", "DepthToSpace",
        "[..., C r², H, W] to [..., C, H r, W r]: channels become pixels of a plane r times as large (Shi et al. 2016).")
SHUFFLE(pixel_unshuffle, "downscale_factor", "how many times smaller", "SpaceToDepth",
        "The inverse of pixel_shuffle: [..., C, H r, W r] to [..., C r², H, W].")
SHUFFLE(channel_shuffle, "groups", "groups that are mixed", NULL,
        "Channels of x [N, C, …] in groups, dealt out so that each new group has some of each (Zhang et al. 2018).")

/* ---- grid_sample ------------------------------------------------------------------------------------------------------ */

enum { G_MODE, G_PADDING, G_ALIGN };

/* Where coordinate g in [-1, 1] falls in 0 … size - 1. */
static soma_tensor *unnormalise(soma_tensor *g, int64_t size, bool align) {
    return align ? soma_mul_scalar(soma_add_scalar(g, 1), (double)(size - 1) / 2)
                 : soma_add_scalar(soma_mul_scalar(soma_add_scalar(g, 1), (double)size / 2), -0.5);
}

/* Folds v back and forth between low and high. */
static soma_tensor *reflect(soma_tensor *v, double low, double high) {
    const double span = high - low;
    if (!(span > 0))
        return soma_mul_scalar(v, 0);
    v = soma_abs(soma_add_scalar(v, -low));
    soma_tensor *turns = soma_detach(soma_floor(soma_mul_scalar(v, 1 / span)));
    soma_tensor *rest = soma_sub(v, soma_mul_scalar(turns, span)), *half = soma_mul_scalar(turns, 0.5);
    soma_tensor *even = soma_eq(soma_floor(half), half);
    return soma_add_scalar(soma_where(even, rest, soma_sub(soma_scalar(span), rest)), low);
}

static soma_tensor *into_plane(soma_tensor *v, int64_t size, const char *padding, bool align) {
    if (padding[0] == 'r')
        v = align ? reflect(v, 0, (double)(size - 1)) : reflect(v, -0.5, (double)size - 0.5);
    return padding[0] == 'z' ? v : soma_clamp(v, 0, (double)(size - 1));
}

/* Elements of x [N, C, H W] at rows iy and columns ix (whole numbers) [N, P], 0 outside: [N, C, P]. */
static soma_tensor *pick(soma_tensor *x, soma_tensor *iy, soma_tensor *ix, int64_t h, int64_t w) {
    if (!x || !iy || !ix)
        return NULL;
    soma_tensor *cy = soma_clamp(iy, 0, (double)(h - 1)), *cx = soma_clamp(ix, 0, (double)(w - 1));
    soma_tensor *inside = soma_logical_and(soma_eq(cy, iy), soma_eq(cx, ix));
    soma_tensor *place = soma_add(soma_mul_scalar(soma_to(cy, SOMA_I64), (double)w), soma_to(cx, SOMA_I64));
    place = soma_to(place, SOMA_I64);
    const int64_t shape[] = {x->shape[0], x->shape[1], iy->shape[1]};
    soma_tensor *v = soma_gather(x, 2, soma_expand(soma_unsqueeze(place, 1), 3, shape));
    return soma_where(soma_unsqueeze(inside, 1), v, soma_scalar(0));
}

static bool grid_inputs(soma_args *a) {
    const soma_tensor *x = a->in[0], *grid = a->in[1];
    const char *mode = a->attrs[G_MODE].value.s, *padding = a->attrs[G_PADDING].value.s;
    if (x->ndim != 4 || x->shape[2] < 1 || x->shape[3] < 1)
        return soma__expected(x, "x", "[N, C, H, W] with planes of 1 or more elements");
    if (grid->ndim != 4 || grid->shape[0] != x->shape[0] || grid->shape[3] != 2)
        return soma__expected(grid, "grid", "[N, out height, out width, 2] with x's N");
    if (strcmp(mode, "bilinear") != 0 && strcmp(mode, "nearest") != 0) {
        soma_fail(SOMA_EINVAL, "grid_sample: mode is '%s', expected bilinear or nearest", mode);
        return false;
    }
    if (strcmp(padding, "zeros") != 0 && strcmp(padding, "border") != 0 && strcmp(padding, "reflection") != 0) {
        soma_fail(SOMA_EINVAL, "grid_sample: padding_mode is '%s', expected zeros, border or reflection", padding);
        return false;
    }
    return true;
}

static bool grid_sample_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *grid = a->in[1];
    if (!grid_inputs(a))
        return false;
    const int64_t n = x->shape[0], c = x->shape[1], h = x->shape[2], w = x->shape[3], points = grid->shape[1] * grid->shape[2];
    const char *padding = a->attrs[G_PADDING].value.s;
    const bool align = soma__attr_int(a, G_ALIGN) != 0;
    soma_tensor *flat = soma_reshape(x, 3, (const int64_t[]){n, c, h * w}), *g = soma_reshape(grid, 3, (const int64_t[]){n, points, 2}),
                *y = NULL;
    soma_tensor *ix = into_plane(unnormalise(soma_select(g, 2, 0), w, align), w, padding, align),
                *iy = into_plane(unnormalise(soma_select(g, 2, 1), h, align), h, padding, align);
    if (a->attrs[G_MODE].value.s[0] == 'n') {
        y = pick(flat, soma_round(soma_detach(iy)), soma_round(soma_detach(ix)), h, w);
    } else {
        soma_tensor *x0 = soma_floor(soma_detach(ix)), *y0 = soma_floor(soma_detach(iy)), *fx = soma_sub(ix, x0), *fy = soma_sub(iy, y0);
        for (int corner = 0; corner < 4; corner++) {
            soma_tensor *wx = corner & 1 ? fx : soma_sub(soma_scalar(1), fx), *wy = corner & 2 ? fy : soma_sub(soma_scalar(1), fy);
            soma_tensor *v = pick(flat, corner & 2 ? soma_add_scalar(y0, 1) : y0, corner & 1 ? soma_add_scalar(x0, 1) : x0, h, w);
            v = soma_mul(v, soma_unsqueeze(soma_mul(wx, wy), 1));
            y = y ? soma_add(y, v) : v;
        }
    }
    return soma__return(a, soma_reshape(y, 4, (const int64_t[]){n, c, grid->shape[1], grid->shape[2]}));
}

SOMA__LINES(grid_sample, "[2,3,4,5] [2,3,2,2]@-0.9:0.9", "s[1,2,4,4] s[1,2,3,2]@-1.5:1.5 padding_mode='border'",
            "[1,2,3,4] [1,3,3,2]@-2:2 padding_mode='reflection'", "[1,2,4,5] [1,2,3,2]@-1:1 align_corners=true",
            "[2,1,3,3] [2,2,2,2]@-1:1 mode='nearest' ~", "[1,1,4,3] [1,2,2,2]@-2:2 padding_mode='reflection' align_corners=true",
            "[1,1,3,3] [1,0,2,2]", "[2,2,3] [2,2,2,2] !ESHAPE expected [N, C, H, W]",
            "[2,2,3,3] [1,2,2,2] !ESHAPE grid is [1, 2, 2, 2] f32, expected [N, out height, out width, 2]",
            "[1,1,3,3] [1,2,2,2] mode='cubic' !EINVAL mode is 'cubic'",
            "[1,1,3,3] [1,2,2,2] padding_mode='wrap' !EINVAL padding_mode is 'wrap'")

static const soma_op grid_sample_op = {
    SOMA__COMPOSITE(grid_sample),
    .family = "resample",
    .onnx = "GridSample",
    .doc = "x [N, C, H, W] at the places of grid [N, h, w, 2], whose (column, row) run from -1 to 1 over the plane: bilinear between "
           "neighbours, or the nearest. "
           "Places outside read zeros, the border or the mirrored plane. For spatial transformers (Jaderberg et al. 2015). PyTorch's "
           "bicubic mode and "
           "volumes are not here.",
    .in = {{.name = "x"}, {.name = "grid"}},
    .n_in = 2,
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_DEF_STRING("mode", "bilinear", "bilinear or nearest"),
                        SOMA_DEF_STRING("padding_mode", "zeros", "zeros, border or reflection"),
                        SOMA_DEF_BOOL("align_corners", false, "-1 and 1 are the centres of the corner elements, not the plane's edges")),
    .dtypes = SOMA_BIT(SOMA_F32) | SOMA_BIT(SOMA_F64),
    .promote = SOMA_PROMOTE_SAME,
    .backward = SOMA_COMPOSED,
};

soma_tensor *soma_grid_sample(soma_tensor *x, soma_tensor *grid, const char *mode, const char *padding_mode, bool align_corners) {
    const soma_attr attrs[] = {SOMA_STRING("mode", mode ? mode : "bilinear"),
                               SOMA_STRING("padding_mode", padding_mode ? padding_mode : "zeros"),
                               SOMA_BOOLEAN("align_corners", align_corners)};
    return SOMA__RUN(&grid_sample_op, attrs, x, grid);
}

soma_op_list soma__resample_ops = {&interpolate_op, &pixel_shuffle_op, &pixel_unshuffle_op, &channel_shuffle_op, &grid_sample_op, NULL};
