/* The kernel's TCP as the peer of comparison: the services of peer.h on its sockets, one thread, epoll.
 *
 *   server [--address 0.0.0.0] [--spin]
 *
 * Prints "ready" when it listens, and goes on until it is killed, or its parent ends. With --spin it never blocks.
 */
#include "peer.h"
#include <sys/prctl.h>

struct connection {
  int fd;
  int port;
  /* Bytes of the echo that the kernel did not take yet, and where they lie. */
  int held, offset;
  /* Of a short connection's request. */
  int received;
  char *bytes;
};

static int poller;
static char block[BLOCK];
/* A connection that ended while events of the same batch may name it: freed behind the batch. */
static struct connection *ended[EVENTS];
static int ended_count;

static void watch(struct connection *connection, int operation, uint32_t events) {
  struct epoll_event event = { .events = events, .data.ptr = connection };
  check(epoll_ctl(poller, operation, connection->fd, &event) == 0, "epoll_ctl");
}

static struct connection *listener(const char *address, int port) {
  struct connection *connection = calloc(1, sizeof *connection);
  connection->port = -port;
  connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  int one = 1;
  struct sockaddr_in local = address_of(address, port);
  check(connection->fd >= 0, "socket");
  setsockopt(connection->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  check(bind(connection->fd, (struct sockaddr *)&local, sizeof local) == 0, "bind");
  check(listen(connection->fd, 4096) == 0, "listen");
  watch(connection, EPOLL_CTL_ADD, EPOLLIN);
  return connection;
}

static void end(struct connection *connection) {
  if (connection->fd < 0) return;
  close(connection->fd);
  connection->fd = -1;
  ended[ended_count++] = connection;
}

static void sweep(void) {
  for (; ended_count > 0; ended_count--) {
    free(ended[ended_count - 1]->bytes);
    free(ended[ended_count - 1]);
  }
}

static void accept_all(const struct connection *listener) {
  for (;;) {
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0) {
      if (errno == EAGAIN) return;
      if (errno == ECONNABORTED) continue;
      die("accept: %s", strerror(errno));
    }
    struct connection *connection = calloc(1, sizeof *connection);
    connection->fd = fd;
    connection->port = -listener->port;
    no_delay(fd);
    watch(connection, EPOLL_CTL_ADD, connection->port == SOURCE_PORT ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }
}

/* Gives back what is held. False when it is not all taken. */
static int give_back(struct connection *connection) {
  while (connection->held > 0) {
    ssize_t sent = send(connection->fd, connection->bytes + connection->offset, connection->held, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno != EAGAIN) end(connection);
      return 0;
    }
    connection->offset += sent;
    connection->held -= sent;
  }
  return 1;
}

static void echo(struct connection *connection, uint32_t events) {
  if (events & EPOLLOUT) {
    if (!give_back(connection)) return;
    watch(connection, EPOLL_CTL_MOD, EPOLLIN);
  }
  ssize_t got = recv(connection->fd, block, sizeof block, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) return end(connection);
  ssize_t sent = send(connection->fd, block, got, MSG_NOSIGNAL);
  if (sent == got) return;
  if (sent < 0 && errno != EAGAIN) return end(connection);
  if (sent < 0) sent = 0;
  if (connection->bytes == NULL) connection->bytes = malloc(BLOCK);
  connection->offset = 0;
  connection->held = got - sent;
  memcpy(connection->bytes, block + sent, connection->held);
  watch(connection, EPOLL_CTL_MOD, EPOLLOUT);
}

static void sink(struct connection *connection) {
  ssize_t got = recv(connection->fd, block, sizeof block, 0);
  if (got > 0 || (got < 0 && errno == EAGAIN)) return;
  end(connection);
}

static void source(struct connection *connection, uint32_t events) {
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
    ssize_t got = recv(connection->fd, block, MESSAGE, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) return end(connection);
  }
  ssize_t sent = send(connection->fd, block, sizeof block, MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN) end(connection);
}

static void short_one(struct connection *connection) {
  ssize_t got = recv(connection->fd, block, MESSAGE, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) return end(connection);
  connection->received += got;
  if (connection->received < MESSAGE) return;
  send(connection->fd, block, MESSAGE, MSG_NOSIGNAL);
  end(connection);
}

static void serve(struct connection *connection, uint32_t events) {
  if (connection->fd < 0) return;
  switch (connection->port) {
    case ECHO_PORT: return echo(connection, events);
    case SINK_PORT: return sink(connection);
    case SOURCE_PORT: return source(connection, events);
    case SHORT_PORT: return short_one(connection);
    default: return accept_all(connection);
  }
}

int main(int count, char **arguments) {
  const char *address = option(count, arguments, "--address", "0.0.0.0");
  int spins = wants(count, arguments, "--spin");
  check(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "prctl");
  raise_descriptors();
  poller = epoll_create1(0);
  check(poller >= 0, "epoll_create1");
  const int ports[] = { ECHO_PORT, SINK_PORT, SOURCE_PORT, SHORT_PORT };
  for (int i = 0; i < 4; i++) listener(address, ports[i]);
  printf("ready\n");
  fflush(stdout);
  static struct epoll_event events[EVENTS];
  for (;;) {
    int ready = epoll_wait(poller, events, EVENTS, spins ? 0 : -1);
    if (ready < 0 && errno != EINTR) die("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < ready; i++) serve(events[i].data.ptr, events[i].events);
    sweep();
  }
}
