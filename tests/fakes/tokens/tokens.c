/* A streaming inference server that knows when it wrote each token.
 *
 * The script is part of the path: /first=US/gap=US/tokens=N/chunk=N/form=chat/v1/chat/completions waits `first`
 * microseconds from the last byte of the request, then writes a chunk of `chunk` tokens each `gap` microseconds a
 * token until `tokens` were written. Each chunk is one write. GET /log gives, a line a request, the client's
 * port, the number after "label-" in the request (0 without one) and the monotonic nanoseconds at which the kernel had
 * the request's last bytes, at which a thread had read them, and of the moment before each write of a token, and
 * forgets them.
 * A thread a connection; its port stands on the first line of standard output; it ends with its standard input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_BYTES (1 << 20)
#define STACK_BYTES (256 << 10)
#define HEAD "data: {\"id\":\"chat\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"any\","

struct record {
    struct record *next;
    long long arrived, received;
    int port; /* the client's */
    long label;
    int count;
    long long sent[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct record *records, **last = &records;

static long long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

/* Receive into `room` bytes, and set `arrived` to when the kernel had them. */
static ssize_t receive(int fd, char *text, size_t room, long long *arrived) {
    char control[CMSG_SPACE(sizeof(struct timespec))];
    struct iovec into = {text, room};
    struct msghdr message = {
        .msg_iov = &into, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(fd, &message, 0);
    *arrived = now();
    for (struct cmsghdr *each = CMSG_FIRSTHDR(&message); got > 0 && each; each = CMSG_NXTHDR(&message, each)) {
        if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec stamp, wall;
            memcpy(&stamp, CMSG_DATA(each), sizeof stamp);
            clock_gettime(CLOCK_REALTIME, &wall);
            *arrived = now() - ((wall.tv_sec - stamp.tv_sec) * 1000000000LL + wall.tv_nsec - stamp.tv_nsec);
        }
    }
    return got;
}

static void sleep_until(long long at) {
    struct timespec until = {at / 1000000000LL, at % 1000000000LL};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0) {
    }
}

static int write_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t written = send(fd, data, size, MSG_NOSIGNAL);
        if (written <= 0) {
            return -1;
        }
        data += written;
        size -= (size_t)written;
    }
    return 0;
}

static long option(const char *path, const char *name, long otherwise) {
    const char *at = strstr(path, name);
    return at == NULL ? otherwise : strtol(at + strlen(name), NULL, 10);
}

static int chunk(int fd, const char *data) {
    char framed[4096];
    int size = snprintf(framed, sizeof framed, "%zx\r\n%s\r\n", strlen(data), data);
    return write_all(fd, framed, (size_t)size);
}

/* Return the length of the whole request in `text`, 0 while it is not whole. */
static size_t whole(const char *text, size_t size) {
    const char *end = strstr(text, "\r\n\r\n");
    if (end == NULL) {
        return 0;
    }
    const char *length = strcasestr(text, "\r\ncontent-length:");
    size_t body = length != NULL && length < end ? strtoul(length + 17, NULL, 10) : 0;
    size_t total = (size_t)(end - text) + 4 + body;
    return size >= total ? total : 0;
}

static void log_page(int fd) {
    pthread_mutex_lock(&lock);
    struct record *each = records;
    records = NULL;
    last = &records;
    pthread_mutex_unlock(&lock);
    const char *head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";
    FILE *out = fdopen(dup(fd), "w");
    fputs(head, out);
    while (each != NULL) {
        struct record *next = each->next;
        fprintf(out, "%d %ld %lld %lld", each->port, each->label, each->arrived, each->received);
        for (int i = 0; i < each->count; i++) {
            fprintf(out, " %lld", each->sent[i]);
        }
        fputc('\n', out);
        free(each);
        each = next;
    }
    fclose(out);
}

static void answer(int fd, const char *path, long label, long long arrived, long long received) {
    long first = option(path, "first=", 50000), gap = option(path, "gap=", 10000);
    long tokens = option(path, "tokens=", 64), per = option(path, "chunk=", 1);
    int completion = strstr(path, "form=completion") != NULL;
    char text[2048], event[4096];
    struct record *record = malloc(sizeof *record + sizeof(long long) * (size_t)tokens);
    record->next = NULL;
    record->arrived = arrived;
    record->received = received;
    record->label = label;
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    record->port = getpeername(fd, (struct sockaddr *)&peer, &length) == 0 ? ntohs(peer.sin_port) : 0;
    record->count = 0;
    const char *head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
                       "Connection: close\r\n\r\n";
    int failed = write_all(fd, head, strlen(head));
    if (!failed && !completion) {
        failed = chunk(fd, HEAD "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n");
    }
    for (long done = 0; !failed && done < tokens; done += per) {
        text[0] = '\0';
        long here = tokens - done < per ? tokens - done : per;
        for (long i = 0; i < here && i < 400; i++) {
            strcat(text, "tok ");
        }
        if (completion) {
            snprintf(event, sizeof event, "data: {\"content\":\"%s\",\"stop\":false}\n\n", text);
        } else {
            snprintf(event, sizeof event, HEAD "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"}}]}\n\n", text);
        }
        sleep_until(received + (first + done * gap) * 1000LL);
        record->sent[record->count++] = now();
        failed = chunk(fd, event);
    }
    if (!failed && !completion) {
        snprintf(event, sizeof event,
                 HEAD "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n"
                 HEAD "\"choices\":[],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":%ld}}\n\ndata: [DONE]\n\n",
                 tokens);
        failed = chunk(fd, event);
    } else if (!failed) {
        snprintf(event, sizeof event,
                 "data: {\"content\":\"\",\"stop\":true,\"stop_type\":\"limit\",\"tokens_predicted\":%ld,"
                 "\"tokens_evaluated\":100}\n\n", tokens);
        failed = chunk(fd, event);
    }
    if (!failed) {
        write_all(fd, "0\r\n\r\n", 5);
    }
    pthread_mutex_lock(&lock);
    *last = record;
    last = &record->next;
    pthread_mutex_unlock(&lock);
}

static void *serve(void *argument) {
    int fd = (int)(long)argument, one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    char *text = malloc(REQUEST_BYTES + 1);
    size_t size = 0;
    long long arrived;
    while (size < REQUEST_BYTES) {
        ssize_t got = receive(fd, text + size, REQUEST_BYTES - size, &arrived);
        if (got <= 0) {
            break;
        }
        size += (size_t)got;
        text[size] = '\0';
        if (whole(text, size) > 0) {
            long long received = now();
            long label = option(text, "label-", 0);
            *strchr(text, '\r') = '\0'; /* the path alone */
            if (strncmp(text, "GET /log", 8) == 0) {
                log_page(fd);
            } else {
                answer(fd, text, label, arrived, received);
            }
            break;
        }
    }
    free(text);
    shutdown(fd, SHUT_WR);
    char rest[64];
    while (recv(fd, rest, sizeof rest, 0) > 0) {
    }
    close(fd);
    return NULL;
}

static void *ends_with_input(void *argument) {
    char byte;
    (void)argument;
    while (read(0, &byte, 1) > 0) {
    }
    _exit(0);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one); /* connections inherit it */
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 1024) != 0) {
        perror("tokens");
        return 1;
    }
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    pthread_t thread;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK_BYTES);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    pthread_create(&thread, &small, ends_with_input, NULL);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 || pthread_create(&thread, &small, serve, (void *)(long)fd) != 0) {
            close(fd);
        }
    }
}
