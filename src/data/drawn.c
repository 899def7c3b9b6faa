/* Drawn apparel: ten classes of silhouettes like Fashion-MNIST's, for a demo without data and for tests.
 *
 * Each garment is a few polygons whose proportions are random, laid out in [-1, 1] x [-1, 1] (y down), then turned, stretched and
 * moved a little, filled with exact horizontal and fourfold vertical antialiasing, and given a weave: stripes, checks, a print,
 * folds, a gradient, noise. The classes overlap on purpose where the real ones do (a shirt's sleeves may be short, a dress may be
 * straight). An image is a function of (seed, index) alone; its class is index % 10. */
#include "data/dataset.h"

#include <math.h>
#include <string.h>

enum { SIDE = 28, AREA = SIDE * SIDE, ROWS = 4, MOST_POINTS = 160 };

typedef struct point {
    float x, y;
} point;

typedef struct path {
    int n;
    point p[MOST_POINTS];
} path;

typedef struct pen {
    soma__random random;
    float grey[AREA];       /* what is drawn so far */
    float a, b, c, d, x, y; /* to pixels: (a u + b v + x, c u + d v + y) */
    float tone;             /* brightness of the garment */
} pen;

static float range(pen *p, float low, float high) { return low + (high - low) * (float)soma__random_unit(&p->random); }
static bool chance(pen *p, double probability) { return soma__random_unit(&p->random) < probability; }

/* ---- Paths ---- */

static void to(path *o, float x, float y) {
    if (o->n < MOST_POINTS)
        o->p[o->n++] = (point){x, y};
}

/* A quadratic curve from the last point by way of (cx, cy) to (x, y). */
static void bend(path *o, float cx, float cy, float x, float y) {
    point from = o->n ? o->p[o->n - 1] : (point){x, y};
    for (int i = 1; i <= 6; i++) {
        float t = (float)i / 6, u = 1 - t;
        to(o, u * u * from.x + 2 * u * t * cx + t * t * x, u * u * from.y + 2 * u * t * cy + t * t * y);
    }
}

/* Closes a right half with its mirror image: the axis is x = 0. */
static void mirror(path *o) {
    for (int i = o->n - 1; i >= 0; i--)
        to(o, -o->p[i].x, o->p[i].y);
}

/* ---- Filling ---- */

/* Adds the coverage of [from, to) on one row, `weight` a full pixel. */
static void span(float *row, float from, float to_x, float weight) {
    from = SOMA_MAX(from, 0.0f);
    to_x = SOMA_MIN(to_x, (float)SIDE);
    for (int x = (int)from; x < SIDE && (float)x < to_x; x++) {
        float left = SOMA_MAX(from, (float)x), right = SOMA_MIN(to_x, (float)x + 1);
        if (right > left)
            row[x] += weight * (right - left);
    }
}

/* Where the edges cross the height y, ascending, each with its direction. */
static int crossings(const point *p, int n, float y, float *at, int *direction) {
    int found = 0;
    for (int i = 0; i < n; i++) {
        point s = p[i], e = p[i + 1 < n ? i + 1 : 0];
        if ((s.y <= y) == (e.y <= y) || found == MOST_POINTS)
            continue;
        float x = s.x + (y - s.y) * (e.x - s.x) / (e.y - s.y);
        int k = found++;
        while (k > 0 && at[k - 1] > x) {
            at[k] = at[k - 1];
            direction[k] = direction[k - 1];
            k--;
        }
        at[k] = x;
        direction[k] = e.y > s.y ? 1 : -1;
    }
    return found;
}

/* Lays `tone` over what is inside the path (non-zero winding). */
static void fill(pen *p, const path *o, float tone) {
    point q[MOST_POINTS];
    float top = SIDE, bottom = 0;
    for (int i = 0; i < o->n; i++) {
        q[i] = (point){p->a * o->p[i].x + p->b * o->p[i].y + p->x, p->c * o->p[i].x + p->d * o->p[i].y + p->y};
        top = SOMA_MIN(top, q[i].y);
        bottom = SOMA_MAX(bottom, q[i].y);
    }
    float at[MOST_POINTS + 1], cover[SIDE];
    int direction[MOST_POINTS + 1];
    for (int y = SOMA_MAX(0, (int)top); y < SIDE && (float)y < bottom; y++) {
        memset(cover, 0, sizeof cover);
        for (int row = 0; row < ROWS; row++) {
            int n = crossings(q, o->n, (float)y + ((float)row + 0.5f) / ROWS, at, direction), winding = 0;
            for (int i = 0; i + 1 < n; i++) {
                winding += direction[i];
                if (winding != 0)
                    span(cover, at[i], at[i + 1], 1.0f / ROWS);
            }
        }
        for (int x = 0; x < SIDE; x++)
            p->grey[y * SIDE + x] += SOMA_MIN(cover[x], 1.0f) * (tone * p->tone - p->grey[y * SIDE + x]);
    }
}

/* A line of some width through the points of the path, one segment at a time. */
static void stroke(pen *p, const path *o, float width, float tone) {
    for (int i = 0; i + 1 < o->n; i++) {
        point s = o->p[i], e = o->p[i + 1];
        float dx = e.x - s.x, dy = e.y - s.y, length = sqrtf(dx * dx + dy * dy);
        if (length < 1e-6f)
            continue;
        dx *= width / (2 * length);
        dy *= width / (2 * length);
        path q = {0};
        to(&q, s.x - dx + dy, s.y - dy - dx);
        to(&q, e.x + dx + dy, e.y + dy - dx);
        to(&q, e.x + dx - dy, e.y + dy + dx);
        to(&q, s.x - dx - dy, s.y - dy + dx);
        fill(p, &q, tone);
    }
}

static void line(pen *p, float x0, float y0, float x1, float y1, float width, float tone) {
    path o = {0};
    to(&o, x0, y0);
    to(&o, x1, y1);
    stroke(p, &o, width, tone);
}

/* ---- Tops ---- */

typedef struct upper {
    float neck, neck_depth, shoulder, drop; /* half width of the neck, its depth; half width and drop of the shoulders */
    float chest, waist, hem, bottom;        /* half widths; height of the hem */
    float sleeve, spread, cuff;             /* length, how far it stands off, width at its end */
    bool pointed;                           /* V neck */
} upper;

static void torso(pen *p, const upper *t, float tone) {
    float armpit = -0.9f + t->drop + 0.42f;
    path o = {0};
    to(&o, 0, -0.9f + t->neck_depth);
    if (t->pointed)
        to(&o, t->neck, -0.9f);
    else
        bend(&o, t->neck * 0.9f, -0.9f + t->neck_depth, t->neck, -0.9f);
    to(&o, t->shoulder, -0.9f + t->drop);
    bend(&o, t->chest + 0.02f, armpit - 0.1f, t->chest, armpit);
    bend(&o, t->waist, 0.5f * (armpit + t->bottom), t->hem, t->bottom);
    mirror(&o);
    fill(p, &o, tone);
}

static void sleeves(pen *p, const upper *t, float tone) {
    float shoulder_y = -0.9f + t->drop, armpit = shoulder_y + 0.42f;
    float dx = t->spread, dy = sqrtf(1 - dx * dx); /* the sleeve's direction */
    float end_x = t->shoulder + dx * t->sleeve, end_y = shoulder_y + dy * t->sleeve;
    for (int side = -1; side <= 1; side += 2) {
        path o = {0};
        float s = (float)side;
        to(&o, s * (t->neck + 0.1f), -0.9f);
        to(&o, s * t->shoulder, shoulder_y);
        to(&o, s * (end_x + 0.04f), end_y);
        to(&o, s * (end_x + 0.04f - t->cuff * dy), end_y + t->cuff * dx);
        to(&o, s * (t->chest - 0.04f), armpit + 0.05f);
        to(&o, s * t->neck, shoulder_y);
        fill(p, &o, tone);
    }
}

/* The shadow between a sleeve and the body. */
static void seams(pen *p, const upper *t, float depth) {
    float shoulder_y = -0.9f + t->drop;
    for (int side = -1; side <= 1; side += 2) {
        float s = (float)side;
        line(p, s * (t->chest + 0.01f), shoulder_y + 0.4f, s * (t->chest - 0.02f),
             SOMA_MIN(t->bottom, shoulder_y + 0.3f + 0.8f * t->sleeve), 0.06f, 1 - depth);
    }
}

static upper any_top(pen *p) {
    upper t = {.neck = range(p, 0.16f, 0.28f),
               .neck_depth = range(p, 0.08f, 0.26f),
               .drop = range(p, 0.06f, 0.18f),
               .chest = range(p, 0.42f, 0.56f),
               .bottom = range(p, 0.76f, 0.94f),
               .cuff = range(p, 0.18f, 0.26f),
               .spread = range(p, 0.1f, 0.35f),
               .pointed = chance(p, 0.3)};
    t.shoulder = t.chest + range(p, -0.03f, 0.08f);
    t.waist = t.chest * range(p, 0.86f, 1.04f);
    t.hem = t.waist * range(p, 0.98f, 1.12f);
    return t;
}

static void draw_tshirt(pen *p) {
    upper t = any_top(p);
    t.sleeve = chance(p, 0.12) ? 0 : range(p, 0.3f, 0.62f);
    t.spread = range(p, 0.35f, 0.8f);
    t.cuff = range(p, 0.24f, 0.34f);
    if (t.sleeve > 0)
        sleeves(p, &t, range(p, 0.82f, 1));
    else
        t.shoulder = t.chest * 0.72f;
    torso(p, &t, 1);
    if (chance(p, 0.3)) { /* a print */
        float x = range(p, -0.1f, 0.1f), y = range(p, -0.35f, 0.1f), w = range(p, 0.14f, 0.3f), h = range(p, 0.1f, 0.25f);
        path o = {0};
        to(&o, x - w, y - h);
        to(&o, x + w, y - h);
        to(&o, x + w, y + h);
        to(&o, x - w, y + h);
        fill(p, &o, range(p, 0.35f, 1.6f));
    }
}

static void draw_shirt(pen *p) {
    upper t = any_top(p);
    bool is_long = chance(p, 0.62);
    t.sleeve = is_long ? range(p, 1.15f, 1.6f) : range(p, 0.35f, 0.8f);
    t.spread = is_long ? range(p, 0.08f, 0.28f) : range(p, 0.3f, 0.65f);
    sleeves(p, &t, range(p, 0.8f, 1));
    torso(p, &t, 1);
    seams(p, &t, range(p, 0.1f, 0.5f));
    float shade = chance(p, 0.6) ? range(p, 0.35f, 0.7f) : range(p, 1.25f, 1.6f);
    bool collar = chance(p, 0.88);
    if (collar)
        for (int side = -1; side <= 1; side += 2) {
            path o = {0};
            float s = (float)side;
            to(&o, 0, -0.9f + t.neck_depth + 0.08f);
            to(&o, s * t.neck, -0.98f);
            to(&o, s * (t.neck + 0.1f), -0.82f);
            to(&o, s * 0.16f, -0.9f + t.neck_depth + 0.24f);
            fill(p, &o, shade);
        }
    if (!collar || chance(p, 0.8)) /* the buttons */
        line(p, 0, -0.9f + t.neck_depth, 0, t.bottom, range(p, 0.05f, 0.1f), shade);
}

static void draw_pullover(pen *p) {
    upper t = any_top(p);
    t.sleeve = range(p, 1.25f, 1.72f);
    t.spread = range(p, 0.04f, 0.26f);
    t.cuff = range(p, 0.2f, 0.3f);
    t.neck_depth = range(p, 0.03f, 0.16f);
    t.chest += 0.03f;
    t.hem = t.chest * range(p, 0.9f, 1.02f);
    sleeves(p, &t, range(p, 0.8f, 1));
    torso(p, &t, 1);
    seams(p, &t, range(p, 0.15f, 0.6f));
    float band = range(p, 0.55f, 1.15f);
    if (chance(p, 0.7)) /* ribbed hem */
        line(p, -t.hem, t.bottom - 0.05f, t.hem, t.bottom - 0.05f, 0.12f, band);
    if (chance(p, 0.3)) { /* a high collar, or a hood */
        path o = {0};
        to(&o, 0, -0.99f);
        to(&o, t.neck, -0.97f);
        to(&o, t.neck + 0.06f, -0.8f);
        to(&o, 0, -0.74f);
        mirror(&o);
        fill(p, &o, band);
    }
}

static void draw_coat(pen *p) {
    upper t = any_top(p);
    t.sleeve = range(p, 1.2f, 1.65f);
    t.spread = range(p, 0.05f, 0.26f);
    t.cuff = range(p, 0.2f, 0.3f);
    t.bottom = range(p, 0.94f, 1.04f);
    t.waist = t.chest * range(p, 0.84f, 1);
    t.hem = t.chest * range(p, 0.98f, 1.2f);
    sleeves(p, &t, range(p, 0.8f, 1));
    torso(p, &t, 1);
    seams(p, &t, range(p, 0.2f, 0.6f));
    float dark = range(p, 0.15f, 0.6f), overlap = range(p, -0.07f, 0.07f), lapel = range(p, 0.25f, 0.75f);
    if (chance(p, 0.92))
        line(p, overlap * 0.4f, -0.9f + t.neck_depth, overlap, t.bottom, range(p, 0.08f, 0.15f), dark);
    if (chance(p, 0.7))
        for (int side = -1; side <= 1; side += 2) /* lapels */
            line(p, (float)side * (t.neck + 0.04f), -0.86f, overlap * 0.5f, -0.9f + lapel, 0.06f, 0.5f * (1 + dark));
    if (chance(p, 0.4))
        line(p, -t.waist, range(p, 0, 0.15f), t.waist, range(p, 0, 0.15f), 0.09f, dark); /* a belt */
}

static void draw_dress(pen *p) {
    upper t = any_top(p);
    float width = range(p, 0.26f, 0.4f), waist_y = range(p, -0.25f, 0.15f), flare = range(p, 1.05f, 2.1f);
    t.chest = width;
    t.shoulder = width * range(p, 0.75f, 1.05f);
    t.neck = width * range(p, 0.35f, 0.7f);
    if (chance(p, 0.45)) {
        t.sleeve = chance(p, 0.5) ? range(p, 0.25f, 0.5f) : range(p, 0.9f, 1.3f);
        t.spread = range(p, 0.15f, 0.5f);
        t.cuff = range(p, 0.13f, 0.2f);
        t.shoulder = width;
        sleeves(p, &t, range(p, 0.8f, 1));
    }
    float waist = width * range(p, 0.72f, 1), hem = SOMA_MIN(width * flare, 0.85f), bottom = range(p, 0.88f, 1);
    path o = {0};
    to(&o, 0, -0.92f + t.neck_depth);
    bend(&o, t.neck * 0.9f, -0.92f + t.neck_depth, t.neck, -0.92f);
    to(&o, t.shoulder, -0.92f + t.drop);
    bend(&o, width, -0.6f, width, -0.5f);
    bend(&o, waist, waist_y - 0.15f, waist, waist_y);
    bend(&o, waist + 0.3f * (hem - waist), 0.5f * (waist_y + bottom), hem, bottom);
    mirror(&o);
    fill(p, &o, 1);
    if (chance(p, 0.45))
        line(p, -waist, waist_y, waist, waist_y, range(p, 0.05f, 0.12f), range(p, 0.3f, 0.75f));
    for (int fold = -1; fold <= 1; fold++)
        if (chance(p, 0.35))
            line(p, (float)fold * waist * 0.4f, waist_y + 0.2f, (float)fold * hem * 0.5f, bottom, 0.05f, range(p, 0.6f, 0.85f));
}

/* ---- Trousers, bags ---- */

static void draw_trouser(pen *p) {
    float waist = range(p, 0.26f, 0.38f), hip = waist * range(p, 1.05f, 1.25f), crotch = range(p, -0.4f, -0.15f);
    float ankle = range(p, 0.12f, 0.24f), stance = range(p, 0.08f, 0.26f), gap = range(p, 0.01f, 0.1f),
          bottom = range(p, 0.9f, 1);
    path o = {0};
    to(&o, 0, -0.96f);
    to(&o, waist, -0.97f);
    bend(&o, hip, -0.7f, hip, crotch);
    to(&o, gap + stance + ankle, bottom);
    to(&o, gap + stance * range(p, 0.1f, 0.9f), bottom);
    to(&o, gap * 0.5f, crotch + 0.1f);
    to(&o, 0, crotch);
    mirror(&o);
    fill(p, &o, 1);
    if (chance(p, 0.7))
        line(p, -waist, -0.92f, waist, -0.92f, 0.08f, range(p, 0.4f, 0.8f));
    if (chance(p, 0.5))
        line(p, 0, -0.9f, 0, crotch, 0.05f, range(p, 0.5f, 0.8f));
}

static void draw_bag(pen *p) {
    float half = range(p, 0.6f, 0.95f), high = range(p, -0.5f, 0), low = range(p, 0.55f, 0.9f), lean = range(p, -0.15f, 0.2f);
    float round_by = range(p, 0.02f, 0.2f), handle = range(p, 0.25f, 0.6f), handle_top = range(p, -0.95f, -0.6f);
    path o = {0};
    if (chance(p, 0.85)) { /* a handle or a strap */
        to(&o, -handle, high + 0.05f);
        bend(&o, -handle * range(p, 0.8f, 1.2f), handle_top, 0, handle_top);
        bend(&o, handle * range(p, 0.8f, 1.2f), handle_top, handle, high + 0.05f);
        stroke(p, &o, range(p, 0.06f, 0.16f), range(p, 0.5f, 1.1f));
    }
    o.n = 0;
    to(&o, 0, high);
    to(&o, half - lean - round_by, high);
    bend(&o, half - lean, high, half - lean, high + round_by);
    to(&o, half, low - round_by);
    bend(&o, half, low, half - round_by, low);
    to(&o, 0, low);
    mirror(&o);
    fill(p, &o, 1);
    float flap = high + range(p, 0.15f, 0.5f) * (low - high), shade = range(p, 0.45f, 0.85f);
    if (chance(p, 0.6))
        line(p, -half + 0.08f, flap, half - 0.08f, flap, 0.06f, shade);
    if (chance(p, 0.5)) /* the clasp */
        line(p, -0.07f, flap + 0.04f, 0.07f, flap + 0.04f, range(p, 0.1f, 0.2f), chance(p, 0.5) ? 1.5f : 0.25f);
    if (chance(p, 0.3))
        line(p, range(p, -0.5f, 0.5f), high, range(p, -0.5f, 0.5f), low, 0.06f, shade);
}

/* ---- Shoes, seen from the side, toe on the left ---- */

static void draw_sole(pen *p, float toe, float back, float ground, float thick, float heel, float tone) {
    path o = {0};
    to(&o, toe, ground - thick);
    bend(&o, toe, ground, toe + 0.15f, ground);
    to(&o, 0.25f, ground - 0.25f * heel);
    if (heel > 0.15f) { /* a heel of its own */
        float front = range(p, 0.4f, 0.6f);
        to(&o, front, ground - 0.6f * heel);
        to(&o, front + 0.1f, ground);
    }
    to(&o, back - 0.02f, ground);
    to(&o, back, ground - thick - heel);
    to(&o, 0.2f, ground - thick - 0.3f * heel);
    fill(p, &o, tone);
}

static void draw_sandal(pen *p) {
    float ground = range(p, 0.35f, 0.6f), heel = chance(p, 0.5) ? range(p, 0.25f, 0.75f) : range(p, 0, 0.12f);
    float thick = range(p, 0.1f, 0.22f), lift = range(p, 0.3f, 0.6f);
    float foot = ground - thick;
    draw_sole(p, -0.92f, 0.92f, ground, thick, heel, range(p, 0.6f, 1.1f));
    int straps = 2 + (int)soma__random_below(&p->random, 3);
    for (int i = 0; i < straps; i++) {
        float x = -0.75f + 0.5f * (float)i + range(p, -0.1f, 0.1f), reach = range(p, 0.15f, 0.4f);
        float rise = heel * SOMA_MAX(0, x) * 0.6f;
        path o = {0};
        to(&o, x, foot - rise);
        bend(&o, x + 0.3f * reach, foot - lift * range(p, 0.6f, 1) - rise, x + reach,
             foot - lift * (0.45f + 0.2f * (float)i) - rise);
        if (chance(p, 0.6))
            to(&o, SOMA_MIN(x + 2 * reach, 0.85f), foot - rise);
        stroke(p, &o, range(p, 0.08f, 0.18f), range(p, 0.7f, 1.1f));
    }
    if (chance(p, 0.6)) { /* round the ankle */
        float y = SOMA_MAX(foot - heel - lift * 0.55f, -0.8f), width = range(p, 0.08f, 0.14f);
        line(p, 0.84f, foot - heel, 0.84f, y, width * 1.4f, 0.9f);
        line(p, 0.88f, y, 0.42f, y + range(p, 0.04f, 0.24f), width, 1);
        if (chance(p, 0.5))
            line(p, 0.42f, y + 0.14f, range(p, 0, 0.25f), foot - 0.3f * heel, width, 0.9f);
    }
}

static void draw_sneaker(pen *p) {
    float ground = range(p, 0.4f, 0.6f), thick = range(p, 0.1f, 0.2f), foot = ground - thick;
    float toe = range(p, 0.2f, 0.34f), instep = range(p, 0.42f, 0.6f), ankle = range(p, 0.52f, 0.8f),
          opening = range(p, 0.1f, 0.35f);
    path o = {0};
    to(&o, -0.93f, foot);
    bend(&o, -0.96f, foot - toe, -0.6f, foot - toe - 0.04f);
    bend(&o, -0.25f, foot - toe - 0.06f, opening - 0.1f, foot - instep);
    bend(&o, opening + 0.2f, foot - instep + 0.12f, 0.7f, foot - ankle + 0.1f);
    bend(&o, 0.88f, foot - ankle, 0.9f, foot - ankle + 0.12f);
    bend(&o, 0.84f, foot - 0.3f, 0.93f, foot);
    fill(p, &o, 1);
    draw_sole(p, -0.94f, 0.95f, ground, thick, 0, chance(p, 0.6) ? range(p, 1.1f, 1.7f) : range(p, 0.3f, 0.8f));
    float shade = chance(p, 0.5) ? range(p, 0.3f, 0.7f) : range(p, 1.2f, 1.6f);
    for (int i = 0; i < 3; i++)
        if (chance(p, 0.6)) { /* laces or stripes */
            float x = -0.35f + 0.22f * (float)i, y = foot - toe - 0.02f - 0.08f * (float)i;
            line(p, x, y, x + range(p, 0.05f, 0.2f), y + range(p, 0.12f, 0.24f), 0.06f, shade);
        }
}

static void draw_boot(pen *p) {
    float ground = range(p, 0.68f, 0.9f), thick = range(p, 0.06f, 0.15f),
          heel = chance(p, 0.45) ? range(p, 0.16f, 0.45f) : range(p, 0, 0.1f);
    float foot = ground - thick, toe = range(p, 0.22f, 0.36f), shaft = range(p, 1.0f, 1.6f), front = range(p, -0.12f, 0.15f);
    float high = SOMA_MAX(foot - shaft, -0.95f), back = range(p, 0.72f, 0.88f);
    path o = {0};
    to(&o, -0.9f, foot);
    bend(&o, -0.95f, foot - toe, -0.6f, foot - toe - 0.02f);
    bend(&o, front - 0.1f, foot - toe - 0.12f - 0.3f * heel, front, foot - 0.65f);
    to(&o, front + range(p, -0.08f, 0.08f), high);
    to(&o, back + range(p, -0.02f, 0.08f), high + range(p, -0.04f, 0.08f));
    bend(&o, back - 0.04f, foot - 0.4f, back + 0.05f, foot - heel);
    to(&o, 0.2f, foot - 0.2f * heel);
    fill(p, &o, 1);
    draw_sole(p, -0.92f, back + 0.06f, ground, thick, heel, range(p, 0.3f, 1.3f));
    if (chance(p, 0.5)) { /* a strap or a zip */
        float y = range(p, high + 0.15f, foot - 0.5f);
        line(p, front, y, back, y + range(p, -0.1f, 0.1f), range(p, 0.05f, 0.14f), range(p, 0.35f, 0.8f));
    }
    if (chance(p, 0.35))
        line(p, 0.5f * (front + back), high, 0.5f * (front + back), foot - 0.3f, 0.05f, range(p, 0.4f, 0.8f));
}

/* ---- The whole picture ---- */

/* The weave by which the garment's brightness is multiplied. */
static void weave(pen *p, float *out) {
    float knots[5][5], slope_x = range(p, -0.012f, 0.012f), slope_y = range(p, -0.012f, 0.012f), folds = range(p, 0.04f, 0.22f);
    for (int i = 0; i < 25; i++)
        knots[i / 5][i % 5] = range(p, -1, 1);
    int kind = (int)soma__random_below(&p->random, 8); /* 0, 1 stripes, 2 checks, else plain */
    float period = range(p, 2.6f, 7), depth = range(p, 0.15f, 0.45f), phase = range(p, 0, 6.28f);
    float wave[SIDE];
    for (int i = 0; i < SIDE; i++)
        wave[i] = sinf(6.2832f * (float)i / period + phase);
    for (int i = 0; i < AREA; i++) {
        float x = (float)(i % SIDE), y = (float)(i / SIDE), u = x / 7, v = y / 7;
        int ku = (int)u, kv = (int)v;
        float fu = u - (float)ku, fv = v - (float)kv;
        float fold = (knots[kv][ku] * (1 - fu) + knots[kv][ku + 1] * fu) * (1 - fv) +
                     (knots[kv + 1][ku] * (1 - fu) + knots[kv + 1][ku + 1] * fu) * fv;
        float pattern = 0, across = wave[i / SIDE], along = wave[i % SIDE];
        if (kind == 0)
            pattern = across;
        else if (kind == 1)
            pattern = along;
        else if (kind == 2)
            pattern = across * along;
        out[i] = 1 + fold * folds + slope_x * (x - 13.5f) + slope_y * (y - 13.5f) + depth * pattern;
    }
}

/* Nearly normal, mean 0, variance 1: the four bytes of a word added up. Grain needs no tails, and there are 784 an image. */
static float grain_of(uint32_t word) {
    uint32_t sum = (word & 255) + (word >> 8 & 255) + (word >> 16 & 255) + (word >> 24);
    return ((float)sum - 510.0f) / 147.8f; /* sqrt(4 (256^2 - 1) / 12) */
}

static void place(pen *p, bool shoe) {
    float turn = range(p, -0.09f, 0.09f), shear = range(p, -0.06f, 0.06f), w = 13.2f * range(p, 0.8f, 1.02f),
          h = 13.2f * range(p, 0.84f, 1.02f);
    float flip = shoe && chance(p, 0.06) ? -1.0f : 1.0f;
    p->a = flip * w * cosf(turn);
    p->b = h * (shear - sinf(turn));
    p->c = flip * w * sinf(turn);
    p->d = h * cosf(turn);
    p->x = 14 + range(p, -1.6f, 1.6f);
    p->y = 14 + range(p, -1.6f, 1.6f);
    p->tone = range(p, 0.28f, 0.95f);
}

void soma__draw(uint64_t seed, int64_t index, uint8_t *pixels) {
    static void (*const draw[10])(pen *) = {draw_tshirt, draw_trouser, draw_pullover, draw_dress, draw_coat,
                                            draw_sandal, draw_shirt,   draw_sneaker,  draw_bag,   draw_boot};
    pen p = {.random = soma__random_new(seed, soma__stream(SOMA__STREAM_DRAWN, (uint64_t)index))};
    int kind = (int)(index % 10);
    place(&p, kind == 5 || kind == 7 || kind == 9);
    draw[kind](&p);
    float cloth[AREA], grain = range(&p, 0.01f, 0.07f), dust = chance(&p, 0.3) ? range(&p, 0, 0.04f) : 0;
    weave(&p, cloth);
    for (int i = 0; i < AREA; i++) {
        float covered = SOMA_MIN(1.0f, p.grey[i] / (0.3f * p.tone)), noise = grain_of(soma__random_u32(&p.random));
        float v = p.grey[i] * cloth[i] + noise * (grain * covered + dust * (1 - covered));
        pixels[i] = (uint8_t)(255 * SOMA_MAX(0.0f, SOMA_MIN(v, 1.0f)) + 0.5f);
    }
}

/* ---- The data set ---- */

typedef struct drawing {
    uint64_t seed;
    uint8_t *pixels;
} drawing;

static soma_status draw_item(void *arg, int64_t i, void *scratch) {
    (void)scratch;
    drawing *w = arg;
    soma__draw(w->seed, i, w->pixels + i * AREA);
    return SOMA_OK;
}

static soma_status take_labels(soma_dataset *d, const soma_data_opts *opts) {
    soma__strings names = {0};
    int64_t *labels = soma__alloc((size_t)d->count * sizeof *labels);
    soma_status status = labels ? SOMA_OK : SOMA_ENOMEM;
    for (int i = 0; i < 10 && status == SOMA_OK; i++)
        status = soma__strings_add(&names, soma__apparel_names[i]) ? SOMA_OK : SOMA_ENOMEM;
    for (int64_t i = 0; i < d->count && status == SOMA_OK; i++)
        labels[i] = i % 10;
    if (status == SOMA_OK)
        status = soma__label_numbers(d, labels, d->count, &names, opts, "drawn silhouettes");
    soma__strings_free(&names);
    soma__free(labels);
    return status;
}

soma_dataset *soma__open_drawn(int64_t n, uint64_t seed, const soma_data_opts *opts) {
    soma_dataset *d = soma__dataset_new(&soma__data_memory);
    drawing w = {.seed = seed, .pixels = d ? soma__alloc((size_t)n * AREA) : NULL};
    soma_status status = w.pixels ? soma__work(n, 16, draw_item, &w, NULL, NULL) : SOMA_ENOMEM;
    if (status == SOMA_OK)
        status = soma__images_take(d, w.pixels, n, 1, SIDE, SIDE, opts, NULL);
    soma__free(w.pixels);
    if (status == SOMA_OK)
        status = take_labels(d, opts);
    if (status != SOMA_OK) {
        soma_data_free(d);
        return NULL;
    }
    return soma__dataset_finish(d, "drawn silhouettes (no photographs)");
}

soma_dataset *soma_data_drawn(int64_t n, uint64_t seed) {
    if (soma__failed())
        return NULL;
    if (n < 1 || n > 100000000) {
        soma_fail(SOMA_EINVAL, "soma_data_drawn: the number of images must be 1 … 100000000, got %lld", (long long)n);
        return NULL;
    }
    soma_data_opts opts = soma__data_opts(NULL);
    soma_owner was = soma__owner_set(SOMA_OWNER_DATA);
    soma_dataset *d = soma__open_drawn(n, seed, &opts);
    soma__owner_set(was);
    return d;
}
