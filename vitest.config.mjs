import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    environment: 'happy-dom',
    environmentOptions: {
      // There is nobody to load the style sheet from.
      happyDOM: { settings: { disableCSSFileLoading: true, handleDisabledFileLoadingAsSuccess: true } }
    },
    include: ['tests/js/**/*.test.mjs']
  }
})
