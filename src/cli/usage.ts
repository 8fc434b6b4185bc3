// What the command line takes, in words; and the error that sends somebody here.

export const USAGE = `damselfly: a multi-core TCP/IP stack in user space

  damselfly                       as "damselfly up"
  damselfly up [options]          boot the machine and run traffic through it, or be a host on a device
  damselfly run [options] PROGRAM [its arguments]
                                  run a program of Node's, its net and dgram on this stack
  damselfly stat [options]        the tables of an instance that runs: once, live, or for Prometheus
  damselfly discipline [options] [NAME]
                                  have an instance that runs come to work on its connections in another way: giant,
                                  msgp, connp-l or connp-t; without a name tell what it is
  damselfly trace [options]       where what goes on in an instance that runs has come from
  damselfly lab [options] [EXPERIMENT ...]
                                  measure the design against its rivals, and write a report
  damselfly calibrate [options]   measure what things cost here, for the laboratory's model of up to 128 CPUs
  damselfly help                  this text

up: without a device, two hosts on an in-memory wire exchange UDP echo and ping
  --cpus N                        CPUs of the machine, 1 to 64 (default 2)
  --discipline NAME               how CPUs come to work on a connection: giant, msgp, connp-l or connp-t (default connp-t)
  --groups N                      with connp-l: connection groups, 1 to 4096 (default 128)
  --dispatch POLICY               how packets get to protocols: direct, hybrid or deferred, or by name: tcp=deferred,ip=hybrid;
                                  names are ether, arp, ip, icmp, igmp, udp, tcp (default direct)
  --layers LIST                   boundaries that are queues with threads of their own: of ether,ip,tcp,socket, or all
  --seconds N                     stop after so long, 1 to 86400 (default 5 on the wire; with a device: run until Ctrl-C)
  --device tun:NAME | tap:NAME    be a real host: the kernel reaches it through this interface
  --address A.B.C.D/N             this host's address (with --device; required there)
  --kernel-address A.B.C.D/N      the kernel's address on the interface (default: the first other one of the prefix)
  --echo-port N                   UDP port of the echo service, 1 to 65535 (default 7)
  --pcap FILE                     record what passes: FILE ends in .pcap or .pcapng
  --flows N                       on the wire: flows of each CPU, 0 to 1000 (default 16); with 0 there are pings only
  --window N                      on the wire: datagrams under way in each flow, 1 to 1000 (default 16)
  --payload N                     on the wire: bytes of each datagram, 0 to 65507 (default 64)
  --loss P                        on the wire: share of packets lost, 0 to 0.9 (default 0)
  --seed N                        seeds every random choice, 0 to 4294967295 (default: another one each time)
  --trace MODE                    trace what is sent to its origin: off, 1/N for one of N, all, or exact (default off)
  --pairs                         the table shows each pair of CPUs
  --json                          print the counts as JSON instead of tables
  --layout                        print the layout of the machine's memory

run: the program is reached at its own address, through a TUN device; nothing in it is changed
  --address A.B.C.D/N             the program's address (default 10.77.0.2/24)
  --kernel-address A.B.C.D/N      the kernel's end (default: the first other one of the prefix)
  --gateway A.B.C.D               where packets beyond the prefix go: the kernel's end, mostly (default: nowhere)
  --device tun | tap | none       the kind of the device; none: only 127.0.0.1, within the program (default tun)
  --tun NAME                      the interface's name (default df0)
  --cpus N                        1: the stack is on the program's thread; more: N workers, 1 to 64 (default 1)
  --instances                     the program once on each of the N CPUs (connp-t only)
  --discipline NAME               how CPUs come to work on a connection: giant, msgp, connp-l or connp-t (default connp-t)
  --groups N                      with connp-l: connection groups, 1 to 4096 (default 128)
  --dispatch POLICY               how packets get to protocols: direct, hybrid or deferred, or by name: tcp=deferred,ip=hybrid;
                                  names are ether, arp, ip, icmp, igmp, udp, tcp (default direct)
  --layers LIST                   boundaries that are queues with threads of their own: of ether,ip,tcp,socket, or all
  --pcap FILE                     record what passes: FILE ends in .pcap or .pcapng
  --trace MODE                    trace what is sent to its origin: off, 1/N for one of N, all, or exact (default off)

stat:
  --pid N                         which instance (default: the only one that runs)
  --live                          show the change again and again, for each second; without it once, since boot. On a
                                  terminal letters and digits choose the column that is sorted by, and q ends it
  --interval S                    with --live: seconds from one to the next, 0.2 to 3600 (default 1)
  --count N                       with --live: end after so many (default: go on until it is ended)
  --watch N                       the same as --live --interval N
  --sort COLUMN                   sort by this column, the largest first; with a - behind it the smallest
  --pairs                         the table shows each pair of CPUs
  --json                          print JSON; with --live a line each time
  --prometheus                    serve the counts to Prometheus, until it is ended
  --listen ADDR:PORT              with --prometheus: where; a port alone is on loopback (default 127.0.0.1:9464)

discipline: all hosts of the instance, with all their connections; nothing is lost
  --groups N                      with connp-l: connection groups, 1 to 4096 (default 128)
  --pid N                         which instance (default: the only one that runs)

trace: without a view how much is traced, and in which ports something waits
  --mode MODE                     from now on: off, 1/N for one of N, all, or exact, which is all, with a look at each call site
  --port NAME                     with --mode: of what is sent to this port (inherit takes that back); alone: what waits there,
                                  each with its originator. A part of the name will do, and may mean several
  --limit N                       with --port: so many messages of each, 1 to 1000 (default 20)
  --wait S                        with --port and --packet: look again until there is something, for 0 to 60 seconds (default 1)
  --waits                         which threads wait for whose answer, and the deadlocks among them
  --packet [WHICH]                one packet's life through all hand-offs, with the time at each: the newest that a program has
                                  read or answered, or next; tcp:80, udp:53, tcp or udp, also next,tcp:80; or the number of a
                                  trace, as the comments of a capture have it: 0x2a. Needs --mode all or 1/N
  --stacks                        with --packet: also where in the source each hop was made
  --pid N                         which instance (default: the only one that runs)
  --json                          print JSON

lab: all experiments, or those that are named; in less than a minute, or with --full as long as it takes;
"scaling" has to be named, or --full given
  --list                          the experiments
  --full                          the full sweeps; after an interruption the same command goes on
  --out DIR                       where results, plan, plots (SVG) and report go; a measurement that is there goes on
                                  (default: a new folder in damselfly-lab; with --full: damselfly-lab/full)
  --report FILE                   where the report goes (default: report.html in the folder)
  --plan FILE                     run the plan of an earlier measurement again: its plan.json or results.json
  --only NAME=VALUE[,VALUE ...]   only the cells of the sweeps that have these values of a parameter; may be given again
  --seed N                        seeds the order of the runs, 0 to 4294967295 (default: another one each time)
  --repeat N                      runs of each cell, 1 to 1000 (default: up to 3, as many as fit; with --full 7)
  --seconds N                     measuring time of each run, 0.01 to 3600 (default: what fits; with --full 3)
                                  With --repeat or --seconds all runs are made, however long that takes
  --calibration FILE              what the experiment "scaling" takes its costs from (default: with --full, and where it is the only
                                  experiment: calibration.json in the folder, measured first; else what came with this version)

calibrate: on two processors, with nothing else at work
  --out FILE                      where the costs go (default: damselfly-lab/calibration.json); an earlier calibration is replaced
  --seconds N                     measuring time of each run of the stack, 0.05 to 60 (default 0.5)
  --json                          print the file instead of a table
`

/** Wrong words on the command line: exit code 2, with the sentence and a hint at the usage. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
