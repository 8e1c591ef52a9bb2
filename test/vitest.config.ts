import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: {
    alias: {
      "sluice/testing": new URL("../src/testing/index.ts", import.meta.url).pathname,
      sluice: new URL("../src/index.ts", import.meta.url).pathname
    }
  },
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    // The end-to-end tests mostly wait for processes; one worker, which is what two cores give, would wait for each.
    maxWorkers: 3,
    testTimeout: 30_000,
    hookTimeout: 30_000
  }
})
