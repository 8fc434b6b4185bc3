// The constants of C that scripts name, as Linux has them.
import { Errno } from '../../src/base/errno.ts'
import { Unsupported } from './error.ts'
import type { Value } from './script.ts'
import { lookUp } from './table.ts'

export const Constants: { readonly [name: string]: number } = {
  ...Errno,
  AF_INET: 2,
  SOCK_STREAM: 1,
  SOCK_DGRAM: 2,
  SOCK_NONBLOCK: 0x800,
  SOCK_CLOEXEC: 0x80000,
  IPPROTO_IP: 0,
  IPPROTO_ICMP: 1,
  IPPROTO_TCP: 6,
  IPPROTO_UDP: 17,
  O_RDONLY: 0,
  O_RDWR: 2,
  O_NONBLOCK: 0x800,
  SHUT_RD: 0,
  SHUT_WR: 1,
  SHUT_RDWR: 2,
  MSG_OOB: 1,
  MSG_PEEK: 2,
  MSG_TRUNC: 0x20,
  MSG_DONTWAIT: 0x40,
  MSG_EOR: 0x80,
  MSG_WAITALL: 0x100,
  MSG_NOSIGNAL: 0x4000,
  MSG_MORE: 0x8000,
  MSG_ERRQUEUE: 0x2000,
  POLLIN: 1,
  POLLPRI: 2,
  POLLOUT: 4,
  POLLERR: 8,
  POLLHUP: 0x10,
  POLLNVAL: 0x20,
  POLLRDNORM: 0x40,
  POLLWRNORM: 0x100,
  POLLRDHUP: 0x2000,
}

/** Of TCP_INFO. */
export const InfoConstants: { readonly [name: string]: number } = {
  TCP_ESTABLISHED: 1,
  TCP_SYN_SENT: 2,
  TCP_SYN_RECV: 3,
  TCP_FIN_WAIT1: 4,
  TCP_FIN_WAIT2: 5,
  TCP_TIME_WAIT: 6,
  TCP_CLOSE: 7,
  TCP_CLOSE_WAIT: 8,
  TCP_LAST_ACK: 9,
  TCP_LISTEN: 10,
  TCP_CLOSING: 11,
  TCP_CA_Open: 0,
  TCP_CA_Disorder: 1,
  TCP_CA_CWR: 2,
  TCP_CA_Recovery: 3,
  TCP_CA_Loss: 4,
  TCPI_OPT_TIMESTAMPS: 1,
  TCPI_OPT_SACK: 2,
  TCPI_OPT_WSCALE: 4,
  TCPI_OPT_ECN: 8,
  TCP_INFINITE_SSTHRESH: 0x7fffffff,
}

/**
 * An argument as a number.
 * @throws Unsupported where it is none, or has a name that is not known
 */
export function numberOf(value: Value | undefined, line: number, what: string): number {
  switch (value?.kind) {
    case 'number':
      return value.value
    case 'word': {
      const number = lookUp(Constants, value.name)
      if (number === undefined) throw new Unsupported(line, `${value.name} is not supported`)
      return number
    }
    case 'or':
      return value.parts.reduce((sum, part) => sum | numberOf(part, line, what), 0)
    case 'call':
      if (value.name === 'htons' || value.name === 'htonl') return numberOf(value.args[0], line, what)
      throw new Unsupported(line, `${value.name}() is not supported`)
    default:
      throw new Unsupported(line, `${what} is no number`)
  }
}
