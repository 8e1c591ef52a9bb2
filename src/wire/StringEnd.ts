const backslash = 0x5c

/** The offset in JSON of the quote that closes a string whose inside begins at `from`; -1 where there is none. */
export const stringEnd = (text: string, from: number): number => {
  let at = text.indexOf('"', from)
  while (at !== -1) {
    let slashes = 0
    while (at - 1 - slashes >= from && text.charCodeAt(at - 1 - slashes) === backslash) slashes++
    if ((slashes & 1) === 0) return at
    at = text.indexOf('"', at + 1)
  }
  return -1
}
