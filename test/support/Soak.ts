/** Whether tests that repeat something many times do so in full: `npm run test:soak`. `npm test` has a short form of them. */
export const isSoak = process.env["SLUICE_SOAK"] === "1"

/** How often something is repeated: in full, or in the short form. */
export const times = (full: number, short: number): number => (isSoak ? full : short)
