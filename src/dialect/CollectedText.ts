/** How many characters of text the records of one turn hold: more than any model says. */
const mostText = 32 * 1024 * 1024

/** How long an id or a name may be without being counted: all that mean something are shorter. */
const longLabel = 1024

/** What stands behind a text that was cut: no JSON that was cut is taken for whole. */
const cutMark = "…"

/** How many pieces are held before they become one text. */
const mostPieces = 1024

/** How much text the records of one turn can still hold, for an upstream may never stop. */
export class TextRoom {
  private left: number

  /** @param size in UTF-16 code units */
  constructor(size = mostText) {
    this.left = size
  }

  /** As much of a text as there is room for. */
  take(text: string): string {
    const taken = text.length <= this.left ? text : text.slice(0, this.left)
    this.left -= taken.length
    return taken
  }

  /** A text, or as much of it as there is room for and the mark of a cut. */
  whole(text: string): string {
    const taken = this.take(text)
    return taken.length < text.length ? taken + cutMark : text
  }

  /** An id or a name, which is not cut unless it is too long to be one. */
  label(text: string): string {
    return text.length > longLabel ? this.whole(text) : text
  }
}

/** A text that is put together for the records from its pieces, as far as there is room. */
export class CollectedText {
  private readonly room: TextRoom
  private joined = ""
  private pieces: Array<string> = []
  private isCut = false

  constructor(room: TextRoom) {
    this.room = room
  }

  add(piece: string): void {
    if (this.isCut) return
    const taken = this.room.take(piece)
    this.pieces.push(taken)
    if (taken.length < piece.length) {
      this.isCut = true
      this.pieces.push(cutMark)
    }
    if (this.pieces.length < mostPieces) return
    this.joined += this.pieces.join("")
    this.pieces = []
  }

  get text(): string {
    return this.joined + this.pieces.join("")
  }
}
