import type { Answer, Choice, Conversation, DeclaredTool, Part } from "./Conversation.ts"
import { tokens } from "./Conversation.ts"
import type { Directives } from "./Directives.ts"
import { makeRandom, type Random } from "./Random.ts"
import { sample } from "./Sample.ts"

/** 2026-01-01T00:00:00Z. The second an answer was made is one of the year behind it. */
const epoch = 1_767_225_600
const year = 31_536_000

const greetings = ["Hello!", "Gladly.", "Good question.", "With pleasure."] as const

/** With letters of two, three and four bytes, so that a chunk can end within one. */
const vocabulary = [
  ..."the gate opens and a stream of small words runs through it while somebody counts each".split(" "),
  ..."naïve café Zürich œuvre 東京 水門 ✓ 🌊 поток".split(" ")
] as [string, ...Array<string>]

const shorten = (text: string, length: number): string => {
  const letters = Array.from(text.replace(/\s+/g, " ").trim())
  return letters.length <= length ? letters.join("") : `${letters.slice(0, length - 1).join("")}…`
}

/** The words of a tool's name that say what it is about: `get_current_weather` is about the current weather. */
const topics = (name: string): ReadonlyArray<string> =>
  name
    .replace(/([a-z])([A-Z])/g, "$1 $2")
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word.length > 2 && !/^(?:get|set|list|run|call|tool|the|fetch|make|bmcp)$/.test(word))

const asksFor = (prompt: string, tool: DeclaredTool): boolean => {
  const said = prompt.toLowerCase()
  if (said.includes(tool.name.toLowerCase())) return true
  const words = topics(tool.name)
  return words.length > 0 && words.every((word) => said.includes(word))
}

/** A declared tool by its name, or by what its name ends in where a gateway has put a prefix before it. */
const findTool = (tools: ReadonlyArray<DeclaredTool>, name: string): DeclaredTool =>
  tools.find((tool) => tool.name === name) ??
  tools.find((tool) => tool.name.endsWith(`_${name}`)) ?? { name, kind: "function", schema: {} }

const toolsToCall = (conversation: Conversation, directives: Directives): ReadonlyArray<DeclaredTool> => {
  const { prompt, toolChoice, tools } = conversation
  if (conversation.rounds >= directives.rounds) return []
  if (directives.tool.length > 0) return directives.tool.map((name) => findTool(tools, name))
  if (toolChoice === "none" || tools.length === 0) return []
  if (typeof toolChoice === "object") return [findTool(tools, toolChoice.name)]
  const asked = tools.find((tool) => asksFor(prompt, tool))
  if (asked !== undefined) return [asked]
  return toolChoice === "required" ? tools.slice(0, 1) : []
}

const say = (conversation: Conversation, directives: Directives, prompt: string, random: Random): string => {
  if (directives.words !== undefined) {
    return Array.from({ length: directives.words }, () => random.pick(vocabulary)).join(" ")
  }
  if (conversation.format !== undefined) {
    const schema = conversation.format === true ? { properties: { answer: { type: "string" } } } : conversation.format
    return JSON.stringify(sample(schema, prompt, random))
  }
  if (conversation.results.length > 0) {
    const told = conversation.results.map(({ name, text }) => `${name || "The tool"} says: "${shorten(text, 200)}".`)
    return `${told.join(" ")} That should answer "${shorten(prompt, 80)}".`
  }
  const heard = prompt === "" ? "You said nothing" : `You said: "${shorten(prompt, 120)}"`
  return `${random.pick(greetings)} ${heard}, and this is Sluice's simulated model, which costs nothing and knows little.`
}

/** What is left of text after so many tokens. */
const truncate = (text: string, most: number): string => tokens(text).slice(0, Math.max(0, most)).join("")

const makeChoice = (conversation: Conversation, directives: Directives, prompt: string, index: number): Choice => {
  const { identity } = conversation
  const words = makeRandom(identity, index, "words")
  const ids = makeRandom(identity, index, "calls")
  const parts: Array<Part> = []
  if (directives.reasoning !== undefined) {
    const text = `The user said "${shorten(prompt, 60)}". Let me think about what that asks for, and then answer.`
    parts.push({ type: "reasoning", text })
  }
  const calls = toolsToCall(conversation, directives).flatMap((tool) =>
    Array.from({ length: directives.parallel }, () => tool)
  )
  if (calls.length > 0) {
    if (directives.preamble) parts.push({ type: "text", text: `I will ask ${calls[0]!.name}.` })
    const values = makeRandom(identity, index, "arguments")
    for (const tool of calls) {
      const given = tool.kind === "custom" ? prompt : JSON.stringify(sample(tool.schema, prompt, values))
      const { kind, name } = tool
      parts.push({ type: "tool_call", id: ids.id(24), name, kind, arguments: directives.args ?? given })
    }
    return { parts, finish: directives.finish ?? "tool_calls" }
  }
  if (directives.refusal) {
    parts.push({ type: "refusal", text: "I'm sorry, I can't help with that." })
    return { parts, finish: directives.finish ?? "stop" }
  }
  const text = say(conversation, directives, prompt, words)
  const room = conversation.maxTokens ?? Infinity
  const thought = parts[0]?.type === "reasoning" ? tokens(parts[0].text).length : 0
  if (thought + tokens(text).length <= room) {
    parts.push({ type: "text", text })
    return { parts, finish: directives.finish ?? "stop" }
  }
  const cut = parts.map((part) => (part.type === "reasoning" ? { ...part, text: truncate(part.text, room) } : part))
  const rest = truncate(text, room - thought)
  if (rest !== "") cut.push({ type: "text", text: rest })
  return { parts: cut, finish: directives.finish ?? "length" }
}

const count = (choices: ReadonlyArray<Choice>, wanted: (part: Part) => boolean): number => {
  let sum = 0
  for (const choice of choices) {
    for (const part of choice.parts) {
      if (wanted(part)) sum += tokens(part.type === "tool_call" ? `${part.name} ${part.arguments}` : part.text).length
    }
  }
  return sum
}

/**
 * Decides what the simulated model says: a function of what was said before, the directives and the seed.
 *
 * It calls a tool when a directive or `tool_choice` says so, or when the prompt names the tool or what its name is
 * about; it answers from the results once there are any. Else it says a friendly sentence that quotes the prompt.
 *
 * @param prompt The prompt without its directives.
 */
export const answer = (conversation: Conversation, directives: Directives, prompt: string, seed: number): Answer => {
  const identity = `${seed} ${conversation.identity}`
  const seeded = { ...conversation, identity }
  const choices = Array.from({ length: conversation.choices }, (_, index) =>
    makeChoice(seeded, directives, prompt, index)
  )
  const random = makeRandom(identity, "answer")
  return {
    id: random.id(29),
    created: epoch + random.below(year),
    model: conversation.model,
    fingerprint: `fp_${makeRandom(seed, "fingerprint").id(10).toLowerCase()}`,
    choices,
    tokens: {
      input: directives.input ?? tokens(conversation.input).length,
      cached: directives.cached ?? 0,
      written: directives.written ?? 0,
      writtenLong: directives.writtenLong ?? 0,
      output: directives.output ?? count(choices, () => true),
      reasoning: directives.output === 0 ? 0 : count(choices, (part) => part.type === "reasoning")
    }
  }
}
