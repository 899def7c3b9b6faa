/* Scopes: a stack of marks over one list of objects, oldest first. Ending a scope releases what came after its mark. What is
 * made before the first scope belongs to the context and goes with it. */
#include "base/base.h"

struct soma_scope_entry {
    int64_t mark; /* n_objects when the scope began */
    uint32_t serial;
};

static bool grow(void **list, int64_t needed, int64_t room_now, size_t item, int64_t *room) {
    if (needed <= room_now)
        return true;
    int64_t wanted = SOMA_MAX(64, room_now * 2);
    void *larger = soma__realloc(*list, (size_t)wanted * item);
    if (!larger)
        return false;
    *list = larger;
    *room = wanted;
    return true;
}

soma_scope soma_scope_begin(void) {
    soma_ctx *ctx = soma__ctx();
    int64_t room = ctx->room_scopes;
    void *scopes = ctx->scopes;
    if (!grow(&scopes, ctx->n_scopes + 1, room, sizeof *ctx->scopes, &room))
        return (soma_scope){-1, 0};
    ctx->scopes = scopes;
    ctx->room_scopes = (int32_t)room;
    uint32_t serial = ++ctx->serial;
    ctx->scopes[ctx->n_scopes] = (struct soma_scope_entry){ctx->n_objects, serial};
    return (soma_scope){ctx->n_scopes++, serial};
}

void soma_scope_end(soma_scope scope) {
    soma_ctx *ctx = soma__ctx();
    if (scope.depth < 0 || scope.depth >= ctx->n_scopes || ctx->scopes[scope.depth].serial != scope.serial)
        return;
    int64_t mark = ctx->scopes[scope.depth].mark;
    ctx->n_scopes = scope.depth;
    while (ctx->n_objects > mark)
        ctx->release(ctx->objects[--ctx->n_objects]);
}

bool soma__scope_add(void *object, void (*release)(void *)) {
    soma_ctx *ctx = soma__ctx();
    void *objects = ctx->objects;
    if (!grow(&objects, ctx->n_objects + 1, ctx->room_objects, sizeof *ctx->objects, &ctx->room_objects))
        return false;
    ctx->objects = objects;
    ctx->objects[ctx->n_objects++] = object;
    ctx->release = release;
    return true;
}

bool soma__scope_escape(void *object) {
    soma_ctx *ctx = soma__ctx();
    if (ctx->n_scopes == 0)
        return false;
    struct soma_scope_entry *inner = &ctx->scopes[ctx->n_scopes - 1];
    for (int64_t i = ctx->n_objects - 1; i >= inner->mark; i--) {
        if (ctx->objects[i] != object)
            continue;
        /* The object changes places with the scope's oldest, and the mark moves past it. */
        ctx->objects[i] = ctx->objects[inner->mark];
        ctx->objects[inner->mark++] = object;
        return true;
    }
    return false;
}
