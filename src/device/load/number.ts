// Connections of a load are numbered, and a number is found again in what the host sends to a client: 256 connections have
// a client's address together, and the low byte of the port tells them apart. The high byte is free: a connection of a
// `short` load has another one each time.
//
// The first high byte is another one for each address, because the flow hash sees only the XOR of all words
// (net/toeplitz.ts): equal high bytes would give equal hashes to 64 connections each.
import type { LoadPlan } from './options.ts'

const FIRST_HIGH = 64
/** Ports below 1024 are services'. */
const LEAST_HIGH = 4
/** How many ports a connection has. */
export const PORTS = 256 - LEAST_HIGH

/** The client's address, as a signed word. */
export function clientOf(plan: LoadPlan, number: number): number {
  return (plan.clients + (number >>> 8)) | 0
}

export function firstPortOf(number: number): number {
  return ((FIRST_HIGH + (number >>> 8)) << 8) | (number & 255)
}

/** All of PORTS in turn. */
export function portAfter(port: number): number {
  const high = (port >>> 8) + 1
  return ((high > 255 ? LEAST_HIGH : high) << 8) | (port & 255)
}

/** The connection that a client's address, as a signed word, and port belong to, or -1. */
export function numberOf(clients: number, connections: number, client: number, port: number): number {
  const number = ((client - clients) << 8) | (port & 255)
  const isClient = ((client - clients) | 0) >>> 0 < 64 && port >= LEAST_HIGH << 8
  return isClient && number < connections ? number : -1
}
