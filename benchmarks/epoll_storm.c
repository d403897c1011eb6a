/* The least that a storm of short connections takes: one epoll loop in C that does the work of one of the lab's agents
 * and keeps no rows. Connections are numbered FIRST, FIRST + STRIDE, ...; the number gives the source address and port.
 *
 *     epoll_storm PORT FIRST STRIDE CLIENTS START_NS      prints: ANSWERED FAILED SECONDS
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_PORT = 10240, PORTS = 65536 - FIRST_PORT }; /* of each source address, as in harness/load/slices.py */
enum { ISSUES_BETWEEN_POLLS = 16, EVENTS = 256, GIVE_UP_MS = 10000 };

static struct { int sent; long left; } *at; /* by file: is the request out, what of the answer is missing */
static long answered, failed;
static char request[256], buffer[1 << 16];

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e9 + now.tv_nsec;
}

static void end(int file, int complete)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    getsockopt(file, IPPROTO_TCP, TCP_INFO, &info, &size);
    close(file);
    complete ? answered++ : failed++;
}

static struct sockaddr_in address(unsigned host, unsigned port)
{
    return (struct sockaddr_in){AF_INET, htons(port), {htonl(host)}, {0}};
}

/* The kernel takes nothing before the connection is there. */
static int try_to_send(int file)
{
    at[file].sent = send(file, request, strlen(request), MSG_NOSIGNAL) > 0;
    return at[file].sent || errno == EAGAIN;
}

static void issue(int epoll, long number, unsigned port)
{
    struct sockaddr_in from = address(0x7f010001 + number / PORTS, FIRST_PORT + number % PORTS);
    struct sockaddr_in to = address(INADDR_LOOPBACK, port);
    int file = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (file < 0) {
        failed++;
        return;
    }
    at[file].left = 0;
    if (bind(file, (void *)&from, sizeof from) || (connect(file, (void *)&to, sizeof to) && errno != EINPROGRESS)
        || !try_to_send(file)) {
        end(file, 0);
        return;
    }
    struct epoll_event interest = {EPOLLIN | EPOLLET | (at[file].sent ? 0 : EPOLLOUT), {.fd = file}};
    epoll_ctl(epoll, EPOLL_CTL_ADD, file, &interest);
}

/* Bytes of the whole answer, by its head; the head must come in one piece. */
static long answer_length(void)
{
    char *body = strstr(buffer, "\r\n\r\n"), *length = strcasestr(buffer, "\r\ncontent-length:");
    int good = !strncmp(buffer, "HTTP/1.1 2", 10) && body && length && length < body;
    return good ? body + 4 - buffer + atol(length + 17) : -1;
}

static void receive(int file)
{
    ssize_t got;
    while ((got = recv(file, buffer, sizeof buffer - 1, 0)) > 0) {
        buffer[got] = 0;
        if (!at[file].left && (at[file].left = answer_length()) < 0)
            break;
        if (!(at[file].left -= got)) {
            end(file, 1);
            return;
        }
    }
    if (got >= 0 || errno != EAGAIN)
        end(file, 0);
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return 2;
    long port = atol(argv[1]), first = atol(argv[2]), stride = atol(argv[3]), clients = atol(argv[4]), issued = 0;
    double start_ns = atof(argv[5]), begun_ns;
    struct timespec start = {start_ns / 1e9, (long long)start_ns % 1000000000};
    struct epoll_event events[EVENTS];
    struct rlimit files;
    int epoll = epoll_create1(0);

    snprintf(request, sizeof request,
             "GET / HTTP/1.1\r\nHost: 127.0.0.1:%ld\r\nUser-Agent: stormlab\r\nConnection: close\r\n\r\n", port);
    getrlimit(RLIMIT_NOFILE, &files);
    at = calloc(files.rlim_cur, sizeof *at);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &start, NULL);
    begun_ns = now_ns();
    while (answered + failed < clients) {
        for (int i = 0; i < ISSUES_BETWEEN_POLLS && issued < clients; i++)
            issue(epoll, first + stride * issued++, port);
        int ready = epoll_wait(epoll, events, EVENTS, issued < clients ? 0 : GIVE_UP_MS);
        if (ready <= 0 && issued == clients)
            break;
        for (int i = 0; i < ready; i++) {
            int file = events[i].data.fd;
            if (!at[file].sent && !try_to_send(file))
                end(file, 0);
            else if (at[file].sent && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                receive(file);
        }
    }
    printf("%ld %ld %.6f\n", answered, clients - answered, (now_ns() - begun_ns) / 1e9);
    return 0;
}
