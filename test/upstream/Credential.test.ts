import { describe, expect, it } from "vitest"
import { credentialOf, hint, mask, maskBytes, maskHeader } from "../../src/upstream/Credential.ts"

describe("the credential of a request", () => {
  it.each([
    [{ authorization: "Bearer sk-1" }, { key: "sk-1", form: "bearer" }],
    [{ authorization: "bearer   sk-1  " }, { key: "sk-1", form: "bearer" }],
    [{ "x-api-key": " sk-2 " }, { key: "sk-2", form: "x-api-key" }],
    [
      { authorization: "Bearer sk-1", "x-api-key": "sk-2" },
      { key: "sk-2", form: "x-api-key" }
    ],
    [
      { authorization: "Bearer sk-1", "x-api-key": "" },
      { key: "sk-1", form: "bearer" }
    ],
    [{ "x-api-key": ["sk-3", "sk-4"] }, { key: "sk-3", form: "x-api-key" }],
    [{ authorization: "Basic dTpw" }, null],
    [{ authorization: "Bearer" }, null],
    [{ authorization: "Bearer   " }, null],
    [{ authorization: "sk-1" }, null],
    [{ cookie: "key=sk-1", "proxy-authorization": "Bearer sk-1" }, null],
    [{}, null]
  ])("of %j is %j", (headers, credential) => {
    expect(credentialOf(headers)).toEqual(credential)
  })
})

describe("the hint of a key", () => {
  it.each([
    ["", "…"],
    ["1234", "…"],
    ["12345", "1…5"],
    ["123456789", "1…9"],
    ["1234567890", "12…90"],
    ["1234567890123456789", "12…89"],
    ["12345678901234567890", "1234…7890"]
  ])("of %j is %j", (key, shown) => {
    expect(hint(key)).toBe(shown)
  })
})

describe("masking", () => {
  const key = "sk-canary-0123456789"

  it("puts the hint wherever a key stands, in text and in bytes", () => {
    expect(mask(`${key}, "${key}" and ${key.slice(1)}`, [key])).toBe('sk-c…6789, "sk-c…6789" and k-canary-0123456789')
    expect(maskBytes(Buffer.from(`é ${key} 組`), [key]).toString()).toBe("é sk-c…6789 組")
  })

  const odd = 'ab/cd+ef=="0123456789"/z'

  it.each([
    ["as it is", odd],
    ["JSON", JSON.stringify(odd)],
    ["JSON with slashes escaped", JSON.stringify(odd).replaceAll("/", "\\/")],
    [
      "JSON with all escaped that HTML could misread",
      JSON.stringify(odd).replaceAll("+", "\\u002B").replaceAll("/", "\\u002f")
    ],
    ["a URL", `?key=${encodeURIComponent(odd)}&`],
    ["a URL in lower case", encodeURIComponent(odd).toLowerCase()],
    ["HTML", odd.replaceAll("+", "&#43;").replaceAll("/", "&#x2F;").replaceAll("=", "&#061;")]
  ])("finds a key spelled as %s", (_, spelling) => {
    for (const masked of [mask(`é ${spelling}`, [odd]), maskBytes(Buffer.from(`é ${spelling}`), [odd]).toString()]) {
      expect(masked).toContain('ab/c…9"/z')
      expect(masked).not.toContain("0123456")
      expect(masked).toMatch(/^é /)
    }
  })

  it("takes the characters of a key for nothing but themselves", () => {
    expect(mask("abcXdef.*[a-z]$1", ["abc.def"])).toBe("abcXdef.*[a-z]$1")
    expect(mask("x .*[a-z]+$1 x", [".*[a-z]+$1"])).toBe("x .*…$1 x")
    expect(mask("x $&$1 x sk-$&abcdef", ["sk-$&abcdef"])).toBe("x $&$1 x sk…ef")
  })

  it("finds a key that is not of ASCII only", () => {
    const key = "schlüssel-組-0123456789"
    expect(mask(`x ${key} x`, [key])).toBe("x schl…6789 x")
    expect(maskBytes(Buffer.from(`é ${key} 組`), [key]).toString()).toBe("é schl…6789 組")
  })

  it("leaves what holds no key as it is, also bytes that are no text", () => {
    const bytes = Buffer.from([0xff, 0x00, 0xc3, 0x28])
    expect(maskBytes(bytes, [key])).toBe(bytes)
    const mixed = Buffer.concat([bytes, Buffer.from(key), bytes])
    expect(maskBytes(mixed, [key])).toEqual(Buffer.concat([bytes, Buffer.from("sk-c…6789"), bytes]))
  })

  it("takes very short keys for words", () => {
    expect(mask("the test failed", ["test", ""])).toBe("the test failed")
    expect(maskBytes(Buffer.from("the test failed"), ["test", ""]).toString()).toBe("the test failed")
  })

  it("of a header writes only what a header may hold", () => {
    expect(maskHeader(`id ${key}`, [key])).toBe("id sk-c...6789")
    expect(maskHeader("caf\u00e9", [key])).toBe("caf\u00e9")
  })
})
