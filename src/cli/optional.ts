// Optional packages of the command line: what nobody needs who uses the stack. npm installs them of itself, and leaves them out with
// --omit=optional.
import { Errno, KernelError } from '../base/errno.ts'

/** What draws the report of the laboratory. */
export const REPORT_PACKAGES = ['@observablehq/plot', 'linkedom'] as const
export const PROMETHEUS_PACKAGES = ['prom-client'] as const

/** Those that are not installed. */
export function missingPackages(
  packages: readonly string[],
  resolve: (name: string) => unknown = (name) => import.meta.resolve(name),
): string[] {
  return packages.filter((name) => {
    try {
      resolve(name)
      return false
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND') return true
      throw error
    }
  })
}

/** In words; undefined where none is missing. */
export function missingText(what: string, missing: readonly string[]): string | undefined {
  if (missing.length === 0) return undefined
  const packages = missing.length === 1 ? 'package' : 'packages'
  return `${what} needs the optional ${packages} ${missing.join(' and ')}: npm install ${missing.join(' ')}`
}

/** @throws KernelError ENODEV where one is not installed */
export function needPackages(what: string, packages: readonly string[]): void {
  const text = missingText(what, missingPackages(packages))
  if (text !== undefined) throw new KernelError(Errno.ENODEV, text)
}
