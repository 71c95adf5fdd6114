import js from '@eslint/js'
import globals from 'globals'

export default [
  { ignores: ['web/vendor/**', 'node_modules/**'] },
  js.configs.recommended,
  {
    languageOptions: { globals: { ...globals.browser } },
    rules: {
      eqeqeq: 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      'no-unused-vars': ['error', { argsIgnorePattern: '^_', caughtErrors: 'none' }]
    }
  },
  {
    files: ['scripts/**', 'tests/**', '*.mjs'],
    languageOptions: { globals: { ...globals.node } }
  }
]
