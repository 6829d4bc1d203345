/* Makes reads and writes of chosen files fail, end early, or take long: preloaded into a process.
 *
 * FAULTY_FILES holds rules, separated by ";", each "operation,part of the path,offset,kind,value":
 *   read,model,4096,error,5      from this offset on, reading fails with this errno; before it, it ends there
 *   write,copy,0,short,1000      no write takes more than so many bytes
 *   read,,0,delay,20             each takes so many milliseconds more
 *   read,,0,flags,0              flags of preadv2 are refused, as by an older kernel
 *   open,,0,direct,0             O_DIRECT is refused
 *   sync,copy,0,error,28         fdatasync fails
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct rule { char operation[16], part[128], kind[16]; long offset, value; };

static struct rule rules[16];
static int count = -1;

static void load(void) {
    const char *text = getenv("FAULTY_FILES");
    int found = 0;
    while (text && *text && found < 16) {
        struct rule *rule = &rules[found];
        char line[512], *field[5], *rest = line;
        size_t length = strcspn(text, ";");
        snprintf(line, sizeof line, "%.*s", (int)length, text);
        text += length + (text[length] == ';');
        for (int index = 0; index < 5; index++)
            field[index] = rest ? strsep(&rest, ",") : "";
        snprintf(rule->operation, sizeof rule->operation, "%s", field[0]);
        snprintf(rule->part, sizeof rule->part, "%s", field[1]);
        rule->offset = atol(field[2]);
        snprintf(rule->kind, sizeof rule->kind, "%s", field[3]);
        rule->value = atol(field[4]);
        found++;
    }
    count = found;
}

static const struct rule *match(int fd, const char *operation, const char *kind) {
    char name[64], path[4096] = "";
    if (count < 0)
        load();
    if (count == 0)
        return NULL;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    if (readlink(name, path, sizeof path - 1) <= 0 || path[0] != '/')
        return NULL;
    for (int index = 0; index < count; index++)
        if (!strcmp(rules[index].operation, operation) && !strcmp(rules[index].kind, kind) &&
            strstr(path, rules[index].part))
            return &rules[index];
    return NULL;
}

/* Returns how many of `length` bytes may be transferred, or -1 with errno. */
static ssize_t allowed(int fd, const char *operation, size_t length, off_t offset, int flags) {
    const struct rule *rule = match(fd, operation, "delay");
    if (rule) {
        struct timespec time = {rule->value / 1000, rule->value % 1000 * 1000000};
        nanosleep(&time, NULL);
    }
    if (flags && match(fd, operation, "flags")) {
        errno = EOPNOTSUPP;
        return -1;
    }
    rule = match(fd, operation, "error");
    if (rule && offset + (off_t)length > rule->offset) {
        ssize_t before = offset < rule->offset ? (rule->offset - offset) / 4096 * 4096 : 0;
        if (before == 0) {
            errno = (int)rule->value;
            return -1;
        }
        length = (size_t)before;
    }
    return (ssize_t)length;
}

static ssize_t cut(int fd, const char *operation, ssize_t done) {
    const struct rule *rule = match(fd, operation, "short");
    return rule && done > rule->value ? rule->value : done; /* what was transferred beyond it will be again */
}

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))
typedef ssize_t (*vector2)(int, const struct iovec *, int, off_t, int);
typedef ssize_t (*single)(int, const void *, size_t, off_t);

static ssize_t vectored(int fd, const char *operation, const char *name, const struct iovec *all, off_t offset,
                        int flags) {
    struct iovec one = all[0];
    ssize_t most = allowed(fd, operation, one.iov_len, offset, flags);
    if (most < 0)
        return -1;
    one.iov_len = (size_t)most;
    return cut(fd, operation, REAL(name, vector2)(fd, &one, 1, offset, flags));
}

ssize_t preadv64v2(int fd, const struct iovec *all, int number, off_t offset, int flags) {
    (void)number;
    return vectored(fd, "read", "preadv64v2", all, offset, flags);
}

ssize_t pwritev64v2(int fd, const struct iovec *all, int number, off_t offset, int flags) {
    (void)number;
    return vectored(fd, "write", "pwritev64v2", all, offset, flags);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) {
    ssize_t most = allowed(fd, "write", length, offset, 0);
    return most < 0 ? -1 : cut(fd, "write", REAL("pwrite64", single)(fd, data, (size_t)most, offset));
}

int fdatasync(int fd) {
    const struct rule *rule = match(fd, "sync", "error");
    if (rule) {
        errno = (int)rule->value;
        return -1;
    }
    return REAL("fdatasync", int (*)(int))(fd);
}

static int control(int fd, int command, long argument) {
    if (command == F_SETFL && (argument & O_DIRECT) && match(fd, "open", "direct")) {
        errno = EINVAL;
        return -1;
    }
    return REAL("fcntl64", int (*)(int, int, long))(fd, command, argument);
}

int fcntl64(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    long argument = va_arg(list, long);
    va_end(list);
    return control(fd, command, argument);
}

int fcntl(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    long argument = va_arg(list, long);
    va_end(list);
    return control(fd, command, argument);
}
