// How a report is known for one, without what draws it.

/** In the head of each report, so that no other file is taken for one and replaced. */
export const GENERATOR = '<meta name="generator" content="damselfly lab">'
