import tseslint from 'typescript-eslint';

// Why each is off or softened stands beside it; everything else of the strict type-aware set is on.
const rules = {
  '@typescript-eslint/no-floating-promises': ['error', { ignoreVoid: true }],
  '@typescript-eslint/switch-exhaustiveness-check': [
    'error',
    // A `default: assertNever(x)` counts as handling nothing: the cases must be complete without it.
    { considerDefaultExhaustiveForUnions: false, allowDefaultCaseForExhaustiveSwitch: true },
  ],
  '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
  '@typescript-eslint/no-explicit-any': 'error',
  // Numbers and booleans in messages are fine; objects and `never` are the mistakes.
  '@typescript-eslint/restrict-template-expressions': [
    'error',
    { allowNumber: true, allowBoolean: true },
  ],
  // `() => timer.clear()` reads better than a block, and its type is still checked.
  '@typescript-eslint/no-confusing-void-expression': [
    'error',
    // `return this.fail()` in a void function ends it early in one line.
    { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
  ],
  // noPropertyAccessFromIndexSignature of tsc asks for the brackets this rule forbids.
  '@typescript-eslint/dot-notation': 'off',
  // An interface's async method may have an implementation that needs no await.
  '@typescript-eslint/require-await': 'off',
  // Off: `while (true)`-like loops with a bound inside, and checks of data from outside whose type is only a claim.
  '@typescript-eslint/no-unnecessary-condition': 'off',
  // Off: `noUncheckedIndexedAccess` makes sound accesses need it; a wrong one throws, as an assertion would.
  '@typescript-eslint/no-non-null-assertion': 'off',
  // Off: `type` and `interface` are both used on purpose (unions need `type`), and Array<{…}> reads better at times.
  '@typescript-eslint/array-type': 'off',
  // Off: a phantom type parameter of a branded or port type is used once by design.
  '@typescript-eslint/no-unnecessary-type-parameters': 'off',
  '@typescript-eslint/no-unused-vars': [
    'error',
    { argsIgnorePattern: '^_', varsIgnorePattern: '^_' },
  ],
  'no-empty': ['error', { allowEmptyCatch: false }],
  eqeqeq: 'error',
  'no-restricted-syntax': [
    'error',
    {
      selector: "CallExpression[callee.object.name='Promise'][callee.property.name='race']",
      message:
        'Promise.race leaks: each call adds a reaction to every contender, and one that lives as long as a session ' +
        'keeps them all (every audio frame, in a predecessor of ours). Use an event, a timer that is cleared, or AbortSignal.',
    },
  ],
};

export default tseslint.config(
  {
    ignores: [
      'dist/',
      'node_modules/',
      'coverage/',
      'demo-output/',
      'docs/',
      '.dragoman/',
      '.sim/',
      '.chaos/',
      '.bench/',
    ],
  },
  {
    files: ['src/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts', 'examples/**/*.ts', 'vitest.config.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: {
      parserOptions: { project: './tsconfig.test.json', tsconfigRootDir: import.meta.dirname },
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules,
  },
  {
    // Tests build wrong input on purpose and compare with whatever comes back.
    files: ['test/**/*.ts'],
    rules: {
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
    },
  },
);
