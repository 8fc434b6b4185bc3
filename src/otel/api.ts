// @opentelemetry/api, an optional peer: whoever has OpenTelemetry has it, and it has to be theirs, since their spans are in it.
import type * as Api from '@opentelemetry/api'
import { Errno, KernelError } from '../base/errno.ts'

const PACKAGE = '@opentelemetry/api'

async function load(): Promise<typeof Api | undefined> {
  try {
    return await import('@opentelemetry/api')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND') return undefined
    throw error
  }
}

const loaded = await load()

/** @throws KernelError ENODEV where it is not installed */
export function openTelemetry(what: string): typeof Api {
  if (loaded !== undefined) return loaded
  throw new KernelError(Errno.ENODEV, `${what} needs the package ${PACKAGE}: npm install ${PACKAGE}`, 'otel')
}
