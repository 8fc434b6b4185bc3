/* What the server and the client of the benchmarks share: the services' ports, and a few lines about sockets.
 *
 * The services are the same wherever they run, on the kernel's sockets (server.c) or on the stack (src/lab/tun/service.ts):
 *   echo    gives back what comes (RFC 862)
 *   sink    takes what comes (RFC 863)
 *   source  sends for as long as it is taken (RFC 864)
 *   short   reads a request of MESSAGE bytes, answers with as many, and closes first
 *   http    a hello; where there is Node (src/lab/tun/node-program.ts)
 */
#ifndef PEER_H
#define PEER_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ECHO_PORT = 7, SINK_PORT = 9, SOURCE_PORT = 19, SHORT_PORT = 80, HTTP_PORT = 8080 };
enum { MESSAGE = 64, BLOCK = 256 * 1024, EVENTS = 512 };

static inline void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fprintf(stderr, "\n");
  exit(1);
}

static inline void check(int good, const char *what) {
  if (!good) die("%s: %s", what, strerror(errno));
}

static inline void no_delay(int fd) {
  int one = 1;
  check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0, "TCP_NODELAY");
}

static inline struct sockaddr_in address_of(const char *text, int port) {
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
  if (inet_pton(AF_INET, text, &address.sin_addr) != 1) die("%s is not an IPv4 address", text);
  return address;
}

/* As many descriptors as this process may have. */
static inline void raise_descriptors(void) {
  struct rlimit limit;
  check(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
  limit.rlim_cur = limit.rlim_max;
  check(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
}

static inline int wants(int count, char **arguments, const char *name) {
  for (int i = 1; i < count; i++) if (strcmp(arguments[i], name) == 0) return 1;
  return 0;
}

/* The value behind `--name`, or the default. */
static inline const char *option(int count, char **arguments, const char *name, const char *standard) {
  for (int i = 1; i + 1 < count; i++) if (strcmp(arguments[i], name) == 0) return arguments[i + 1];
  return standard;
}

static inline long number(int count, char **arguments, const char *name, long standard) {
  const char *text = option(count, arguments, name, NULL);
  if (text == NULL) return standard;
  char *end;
  long value = strtol(text, &end, 10);
  if (end == text || *end != 0 || value < 0) die("%s %s: give a whole number", name, text);
  return value;
}

static inline int64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

#endif
