/** Up to how many bytes joining pieces costs less than handling each by itself. */
const joinedBytes = 64 * 1024

/** Buffers that follow one another, as one where they are small; large ones as they are: copies of those would add up. */
export const joinSmall = (pieces: ReadonlyArray<Buffer>): ReadonlyArray<Buffer> => {
  if (pieces.length < 2) return pieces
  let size = 0
  for (const piece of pieces) size += piece.length
  return size <= joinedBytes ? [Buffer.concat(pieces, size)] : pieces
}
