// Makes two network namespaces, says which, and waits: for the tests of how they are removed when the process is told to end.
import { Namespace } from '../namespace.ts'

const made = [new Namespace('first'), new Namespace('second')]
console.log(made.map(({ name }) => name).join(' '))
if (process.argv.includes('--exit')) process.exit(3)
setInterval(() => {}, 1000)
