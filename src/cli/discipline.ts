// damselfly discipline: how the CPUs of an instance that runs come to work on connections: what it is, or from now on another.
import { parseArgs } from 'node:util'
import { KernelError } from '../base/errno.ts'
import { disciplineOptions } from '../node/options.ts'
import type { DisciplineOrder } from '../service/operator.ts'
import { askInstance, orderInstance } from './control.ts'
import { onlyInstance, processOf } from './instance.ts'
import { UsageError } from './usage.ts'

export async function discipline(args: readonly string[]): Promise<void> {
  const text = { type: 'string' } as const
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { pid: text, groups: text },
    allowPositionals: true,
  })
  const [name, ...others] = positionals
  if (others.length > 0) throw new UsageError(`"${others[0]}" is one discipline too many: give one`)
  if (name === undefined && values.groups !== undefined) throw new UsageError('--groups goes with connp-l: name it')
  const order = name === undefined ? undefined : parse(name, values.groups)
  const given = processOf(values.pid)
  const pid = given || (await onlyInstance('discipline'))
  if (order !== undefined) await orderInstance(pid, order)
  const { title, discipline: now = 'connp-t', groups } = await askInstance(pid)
  console.log(`${title} (process ${pid}): ${now}${groups === undefined ? '' : `, ${groups} connection groups`}`)
}

/** As `up` and `run` take them. */
function parse(name: string, groups: string | undefined): DisciplineOrder {
  try {
    const wanted = disciplineOptions(name, groups, 1)
    return {
      order: 'discipline',
      discipline: wanted.discipline,
      ...(wanted.groups === undefined ? {} : { groups: wanted.groups }),
    }
  } catch (error) {
    throw error instanceof KernelError ? new UsageError(error.message) : error
  }
}
