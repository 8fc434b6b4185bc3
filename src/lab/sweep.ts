// Cells from lists of values: all combinations, each with a key made of its parameters.
import type { Cell, CellParameters, Parameter } from './experiment.ts'

/** All combinations, the last name changing fastest: `sweep('message', { batch: [1, 16], way: ['call'] })`. */
export function sweep(workload: string, values: { readonly [name: string]: readonly Parameter[] }): Cell[] {
  let combinations: CellParameters[] = [{}]
  for (const [name, list] of Object.entries(values)) {
    combinations = combinations.flatMap((parameters) => list.map((value) => ({ ...parameters, [name]: value })))
  }
  return combinations.map((parameters) => cell(workload, parameters))
}

export function cell(workload: string, parameters: CellParameters): Cell {
  return { key: cellKey(parameters), parameters, workload }
}

/** `batch=16 way=call`. */
export function cellKey(parameters: CellParameters): string {
  return Object.entries(parameters)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')
}
