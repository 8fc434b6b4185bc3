// A module that is no program: it has no default export.
export const nothing = 0
