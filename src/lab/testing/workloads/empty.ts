// No workload at all.
export default {}
