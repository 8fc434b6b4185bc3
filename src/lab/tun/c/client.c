/* The load of the TCP benchmarks, on the kernel's sockets, one thread. Prints one line of JSON.
 *
 *   client out     TARGET   sends to the service sink
 *   client in      TARGET   takes from the service source
 *   client rr      TARGET   asks the service echo, on each connection one question at a time
 *   client connect TARGET   connects to the service short, asks, is answered, closes; again and again
 *   client http    TARGET   as rr, with requests of HTTP; answers that are as long as the first
 *
 *   --connections 1   at a time
 *   --counted 3000    ms; --warm 500 ms before are not
 *   --bytes 64        of a question of rr
 *   --spin            never blocks
 *   --port            instead of the service's own
 *
 * The service short closes first, so that ports wait there and not here. A connection that is not answered within
 * STUCK_NS ends the client with an error: a benchmark that hangs would be a figure of nothing.
 */
#include "peer.h"

#define STUCK_NS 5000000000ll
/* Latencies: below 64 ns singly, then 32 to each doubling: within 3 %. */
#define FINE 32
#define BUCKETS (FINE * 60)

struct connection {
  int fd;
  int asked, answered;
  int64_t began;
};

static uint64_t histogram[BUCKETS];
static uint64_t exchanges, bytes, failures;
static int64_t longest;
static char failure[128];
static int counting;

static int bucket_of(uint64_t ns) {
  if (ns < 2 * FINE) return ns;
  int shift = 63 - __builtin_clzll(ns) - 5;
  return shift * FINE + (ns >> shift);
}

/* The upper end of a bucket. */
static double value_of(int bucket) {
  if (bucket < 2 * FINE) return bucket;
  int shift = bucket / FINE - 1;
  return (double)((uint64_t)(bucket - shift * FINE + 1) << shift);
}

static void took(int64_t ns) {
  if (!counting) return;
  exchanges++;
  histogram[bucket_of(ns)]++;
  if (ns > longest) longest = ns;
}

static double percentile_us(double part) {
  uint64_t wanted = exchanges * part, seen = 0;
  for (int i = 0; i < BUCKETS; i++) {
    seen += histogram[i];
    if (seen > wanted) return value_of(i) / 1000;
  }
  return longest / 1000.0;
}

static int64_t cpu_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static struct {
  const char *mode;
  struct sockaddr_in target;
  int connections, question, answer, spins;
  int64_t warm_ns, counted_ns;
} options;

static char block[BLOCK], inbox[BLOCK];
static int64_t start, counted_from, until, cpu_before;

/* The time; begins to count when the warming is over. */
static int64_t look(void) {
  int64_t now = now_ns();
  if (!counting && now >= start + options.warm_ns) {
    counting = 1;
    counted_from = now;
    until = now + options.counted_ns;
    bytes = 0;
    cpu_before = cpu_ns();
  }
  return now;
}

static int is_over(int64_t now) {
  return counting && now >= until;
}

static void on_alarm(int signal) {
  (void)signal;
  static const char sentence[] = "client: nothing was answered for 5 seconds\n";
  if (write(2, sentence, sizeof sentence - 1) < 0) _exit(2);
  _exit(2);
}

static int connected(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  check(fd >= 0, "socket");
  check(connect(fd, (struct sockaddr *)&options.target, sizeof options.target) == 0, "connect");
  no_delay(fd);
  return fd;
}

static void set_non_blocking(int fd) {
  check(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0, "O_NONBLOCK");
}

static void watch(int poller, struct connection *connection, int operation, uint32_t events) {
  struct epoll_event event = { .events = events, .data.ptr = connection };
  check(epoll_ctl(poller, operation, connection->fd, &event) == 0, "epoll_ctl");
}

/* One stream, or several in turn. */
static void bulk(int outward) {
  struct connection all[options.connections];
  int poller = epoll_create1(0);
  uint32_t events = outward ? EPOLLOUT : EPOLLIN;
  for (int i = 0; i < options.connections; i++) {
    all[i].fd = connected();
    if (options.connections > 1 || options.spins) set_non_blocking(all[i].fd);
    watch(poller, &all[i], EPOLL_CTL_ADD, events);
  }
  static struct epoll_event ready[EVENTS];
  start = now_ns();
  int64_t alarmed = 0;
  for (;;) {
    int64_t now = look();
    if (is_over(now)) break;
    if (now - alarmed > 1000000000) {
      alarm(5);
      alarmed = now;
    }
    int count = 1;
    if (options.connections > 1 || options.spins) count = epoll_wait(poller, ready, EVENTS, options.spins ? 0 : -1);
    for (int i = 0; i < count; i++) {
      int fd = options.connections > 1 || options.spins ? ((struct connection *)ready[i].data.ptr)->fd : all[0].fd;
      ssize_t done = outward ? send(fd, block, BLOCK, MSG_NOSIGNAL) : recv(fd, block, BLOCK, 0);
      if (done < 0 && errno == EAGAIN) continue;
      check(done >= 0, outward ? "send" : "recv");
      if (done == 0) die("the server ended the stream");
      bytes += done;
    }
  }
  /* What lies in buffers is of no interest any more. */
  struct linger reset = { .l_onoff = 1, .l_linger = 0 };
  for (int i = 0; i < options.connections; i++) {
    setsockopt(all[i].fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(all[i].fd);
  }
}

static void ask(struct connection *connection) {
  ssize_t sent = send(connection->fd, block, options.question, MSG_NOSIGNAL);
  check(sent >= 0, "send");
  if (sent != options.question) die("the question was taken in part: give fewer --bytes");
  connection->answered = 0;
}

/* The request, and how long an answer is: its header says so. */
static void learn_http(const char *host) {
  options.question = snprintf(block, BLOCK, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host);
  struct connection one = { .fd = connected() };
  ask(&one);
  for (int length = 0; options.answer == 0;) {
    ssize_t got = recv(one.fd, inbox + length, BLOCK - 1 - length, 0);
    check(got >= 0, "recv");
    if (got == 0) die("the server ended the connection");
    inbox[length += got] = 0;
    char *end = strstr(inbox, "\r\n\r\n"), *field = strcasestr(inbox, "\r\nContent-Length:");
    if (end == NULL) continue;
    if (strncmp(inbox, "HTTP/1.1 200 ", 13) != 0 || field == NULL || field > end) die("no answer with a length: %.100s", inbox);
    options.answer = end + 4 - inbox + atoi(field + 17);
  }
  close(one.fd);
}

/* One connection, without epoll: the shortest way that there is. */
static void exchange_one(void) {
  struct connection one = { .fd = connected() };
  int flags = options.spins ? MSG_DONTWAIT : 0;
  start = now_ns();
  int64_t now = start, alarmed = 0;
  for (;;) {
    ask(&one);
    while (one.answered < options.answer) {
      ssize_t got = recv(one.fd, inbox, BLOCK, flags);
      if (got < 0 && errno == EAGAIN) continue;
      check(got >= 0, "recv");
      if (got == 0) die("the server ended the connection");
      one.answered += got;
    }
    int64_t asked = now;
    now = look();
    took(now - asked);
    if (is_over(now)) break;
    if (now - alarmed > 1000000000) {
      alarm(5);
      alarmed = now;
    }
  }
  close(one.fd);
}

static void exchange_many(void) {
  struct connection *all = calloc(options.connections, sizeof *all);
  int poller = epoll_create1(0);
  for (int i = 0; i < options.connections; i++) {
    all[i].fd = connected();
    set_non_blocking(all[i].fd);
    watch(poller, &all[i], EPOLL_CTL_ADD, EPOLLIN);
  }
  /* From here on it looks at the clock itself. */
  alarm(0);
  static struct epoll_event ready[EVENTS];
  start = now_ns();
  for (int i = 0; i < options.connections; i++) {
    all[i].began = start;
    ask(&all[i]);
  }
  int64_t heard = start;
  for (;;) {
    int count = epoll_wait(poller, ready, EVENTS, options.spins ? 0 : 1000);
    check(count >= 0 || errno == EINTR, "epoll_wait");
    int64_t now = look();
    if (is_over(now)) break;
    if (count > 0) heard = now;
    else if (now - heard > STUCK_NS) die("nothing was answered for 5 seconds");
    for (int i = 0; i < count; i++) {
      struct connection *connection = ready[i].data.ptr;
      ssize_t got = recv(connection->fd, inbox, BLOCK, 0);
      if (got < 0 && errno == EAGAIN) continue;
      check(got >= 0, "recv");
      if (got == 0) die("the server ended a connection");
      connection->answered += got;
      if (connection->answered < options.answer) continue;
      now = now_ns();
      took(now - connection->began);
      connection->began = now;
      ask(connection);
    }
  }
  struct linger reset = { .l_onoff = 1, .l_linger = 0 };
  for (int i = 0; i < options.connections; i++) {
    setsockopt(all[i].fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(all[i].fd);
  }
}

static void open_short(int poller, struct connection *connection) {
  connection->began = now_ns();
  connection->asked = connection->answered = 0;
  connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  check(connection->fd >= 0, "socket");
  int result = connect(connection->fd, (struct sockaddr *)&options.target, sizeof options.target);
  check(result == 0 || errno == EINPROGRESS, "connect");
  watch(poller, connection, EPOLL_CTL_ADD, EPOLLOUT);
}

/* The connection has failed; where and how the first one did is told at the end. */
static int failed(const char *where, const char *how) {
  if (!counting) return 0;
  if (failures++ == 0) snprintf(failure, sizeof failure, "%s: %s", where, how);
  return 0;
}

/* False when the connection has ended, well or not. */
static int serve_short(int poller, struct connection *connection) {
  if (!connection->asked) {
    ssize_t sent = send(connection->fd, block, MESSAGE, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) return 1;
    if (sent != MESSAGE) return failed("send", strerror(errno));
    connection->asked = 1;
    watch(poller, connection, EPOLL_CTL_MOD, EPOLLIN);
    return 1;
  }
  ssize_t got = recv(connection->fd, block, BLOCK, 0);
  if (got < 0 && errno == EAGAIN) return 1;
  if (got > 0) {
    connection->answered += got;
    /* Often the end is there already; to ask for it now saves a round of epoll. */
    got = recv(connection->fd, block, BLOCK, 0);
    if (got < 0 && errno == EAGAIN) return 1;
  }
  if (got < 0) return failed("recv", strerror(errno));
  if (got > 0 || connection->answered != MESSAGE) return failed("recv", "not the whole answer, or more");
  took(now_ns() - connection->began);
  return 0;
}

static void connect_many(void) {
  alarm(0);
  struct connection *all = calloc(options.connections, sizeof *all);
  int poller = epoll_create1(0);
  start = now_ns();
  for (int i = 0; i < options.connections; i++) open_short(poller, &all[i]);
  static struct epoll_event ready[EVENTS];
  int64_t heard = start;
  for (;;) {
    int count = epoll_wait(poller, ready, EVENTS, options.spins ? 0 : 1000);
    check(count >= 0 || errno == EINTR, "epoll_wait");
    int64_t now = look();
    if (is_over(now)) break;
    if (count > 0) heard = now;
    else if (now - heard > STUCK_NS) die("nothing was answered for 5 seconds");
    for (int i = 0; i < count; i++) {
      struct connection *connection = ready[i].data.ptr;
      if (serve_short(poller, connection)) continue;
      close(connection->fd);
      open_short(poller, connection);
    }
  }
  for (int i = 0; i < options.connections; i++) close(all[i].fd);
}

int main(int count, char **arguments) {
  if (count < 3) die("usage: client out|in|rr|connect|http TARGET [--connections 1] [--counted 3000] [--warm 500] [--bytes 64] [--spin] [--port P]");
  options.mode = arguments[1];
  int is_out = strcmp(options.mode, "out") == 0, is_in = strcmp(options.mode, "in") == 0;
  int is_rr = strcmp(options.mode, "rr") == 0, is_connect = strcmp(options.mode, "connect") == 0;
  int is_http = strcmp(options.mode, "http") == 0;
  if (is_out + is_in + is_rr + is_connect + is_http == 0) die("%s is not out, in, rr, connect or http", options.mode);
  int port = is_out ? SINK_PORT : is_in ? SOURCE_PORT : is_rr ? ECHO_PORT : is_http ? HTTP_PORT : SHORT_PORT;
  options.target = address_of(arguments[2], number(count, arguments, "--port", port));
  options.connections = number(count, arguments, "--connections", 1);
  options.question = number(count, arguments, "--bytes", MESSAGE);
  options.spins = wants(count, arguments, "--spin");
  options.counted_ns = number(count, arguments, "--counted", 3000) * 1000000;
  options.warm_ns = number(count, arguments, "--warm", 500) * 1000000;
  if (options.connections < 1) die("--connections: give at least 1");
  if (options.question < 1 || options.question > BLOCK) die("--bytes: give 1 to %d", BLOCK);
  raise_descriptors();
  signal(SIGALRM, on_alarm);
  alarm(options.warm_ns / 1000000000 + 6);

  if (is_http) learn_http(arguments[2]);
  else options.answer = options.question;
  if (is_out || is_in) bulk(is_out);
  else if (is_connect) connect_many();
  else if (options.connections == 1) exchange_one();
  else exchange_many();
  alarm(0);

  double seconds = (now_ns() - counted_from) / 1e9;
  printf("{\"mode\":\"%s\",\"connections\":%d,\"seconds\":%.3f,\"cpuSeconds\":%.3f,", options.mode,
         options.connections, seconds, (cpu_ns() - cpu_before) / 1e9);
  printf("\"bytes\":%llu,\"bitsPerSecond\":%.0f,", (unsigned long long)bytes, bytes * 8 / seconds);
  printf("\"exchanges\":%llu,\"failures\":%llu,\"failure\":\"%s\",\"perSecond\":%.1f,",
         (unsigned long long)exchanges, (unsigned long long)failures, failure, exchanges / seconds);
  printf("\"p50Us\":%.1f,\"p90Us\":%.1f,\"p99Us\":%.1f,\"p999Us\":%.1f,\"maxUs\":%.1f}\n", percentile_us(0.5),
         percentile_us(0.9), percentile_us(0.99), percentile_us(0.999), longest / 1000.0);
}
