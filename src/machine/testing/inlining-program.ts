// Calls a function that calls forty others, and says what V8 compiles into it. With an argument, after `inlineMore`. For inlining.test.ts.
import { setFlagsFromString } from 'node:v8'
import { inlineMore } from '../inlining.ts'

const CALLED = Array.from({ length: 40 }, (_, i) => `f${i}`)

setFlagsFromString('--trace-turbo-inlining')
setFlagsFromString('--allow-natives-syntax')
if (process.argv[2] !== undefined) inlineMore()

const steps = Array.from({ length: 12 }, (_, i) => `x = (x * ${i + 3} + ${i}) | 0`).join('; ')
const functions = new Function(`
  ${CALLED.map((name) => `function ${name}(x) { ${steps}; return x }`).join('\n')}
  function caller(x) { ${CALLED.map((name) => `x = ${name}(x)`).join('; ')}; return x }
  return { caller, called: [${CALLED}] }
`)() as object
// Only functions that were called for a while are compiled by themselves.
new Function(
  'given',
  `const { caller, called } = given;
  for (const each of called) %EnsureFeedbackVectorForFunction(each);
  %PrepareFunctionForOptimization(caller);
  caller(1);
  caller(2);
  %OptimizeFunctionOnNextCall(caller);
  caller(3);`,
)(functions)
