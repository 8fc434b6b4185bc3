// Names become numbers that every CPU computes alike, without asking anybody.

/** FNV-1a over the UTF-16 code units (Fowler, Noll, Vo), 32 bits. Never 0, so that 0 can say "none". */
export function hashName(name: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  return hash >>> 0 || 1
}
