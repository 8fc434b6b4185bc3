// What `import … from 'damselfly/otel'` gives: chains of hops in traces of OpenTelemetry, and the header by which a trace goes on in other
// processes. Only what makes or follows spans needs @opentelemetry/api.
export { parseTraceparent, type TraceContext, traceparentText } from '../kernel/trace/context.ts'
export { type ExportOptions, exportChain } from './export.ts'
export { contextsOf, type IdentityOptions, traceparentOf } from './identity.ts'
export { HopIds, type IdGenerator } from './ids.ts'
export { chainFromTraceparent, withTraceparent } from './remote.ts'
export { contextOf, followSpans } from './span.ts'
