// Looks up a name that a script has in a table of ours: `toString`, which every object has, is in none of them.

export function lookUp<T>(table: { readonly [name: string]: T }, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined
}
