// Compiles assembly/routines.ts into the two modules that src/base/routines.ts loads from beside itself: one that
// imports a shared memory and one that imports an unshared memory (the import's type must say which).
//
//     node assembly/build.mjs [folder that tsc writes to; default: dist]
//
// Silent when all is well, and done at once when the modules are newer than what they are made of.
import { mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const dist = process.argv[2] === undefined ? join(here, '../dist') : resolve(process.argv[2])
const folder = join(dist, 'src/base')
const sources = [join(here, 'routines.ts'), fileURLToPath(import.meta.url)]
const outputs = [
  { path: join(folder, 'routines.wasm'), options: [] },
  {
    path: join(folder, 'routines.shared.wasm'),
    // 65536 pages: an import may allow more than the memory it gets, and not less.
    options: ['--sharedMemory', '--maximumMemory', '65536', '--enable', 'threads'],
  },
]

/** When a file was last written; 0 where there is none. */
const writtenMs = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0

async function compile({ path, options }) {
  // Loaded only when there is work: the compiler alone takes most of a second to start.
  const { main } = await import('assemblyscript/asc')
  let binary
  const { error, stderr } = await main(
    [
      'routines.ts',
      ...['--baseDir', here, '--outFile', 'routines.wasm'],
      ...['--importMemory', '--noExportMemory', '--initialMemory', '1'],
      ...['--runtime', 'stub', '--noAssert', '--enable', 'simd'],
      ...['--optimizeLevel', '3', '--shrinkLevel', '0', '--converge'],
      ...options,
    ],
    {
      writeFile: (_name, contents) => {
        binary = contents
      },
    },
  )
  if (error !== null || binary === undefined) throw new Error(`assembly/routines.ts: ${error}\n${stderr}`)
  // Renamed into place, so that who loads it meanwhile finds the old module or the new one, whole.
  const partial = `${path}.${process.pid}`
  writeFileSync(partial, binary)
  renameSync(partial, path)
}

const oldest = Math.min(...outputs.map(({ path }) => writtenMs(path)))
if (oldest <= Math.max(...sources.map(writtenMs))) {
  mkdirSync(folder, { recursive: true })
  for (const output of outputs) await compile(output)
}
