/**
 * What the demo says: sentences that flite's `rms` voice speaks, pocketsphinx hears word for word
 * and apertium puts into good Spanish. Chosen out of some seventy by running them; a test runs them
 * again.
 *
 * Thread: any. Pure.
 */

export interface DemoSentence {
  readonly english: string;
  /** What the translator makes of it. */
  readonly spanish: string;
}

export const DEMO_TEXT: readonly DemoSentence[] = [
  { english: 'The weather is very nice today.', spanish: 'El tiempo es muy bueno hoy.' },
  {
    english: 'Today we are going to talk about our city.',
    spanish: 'Hoy vamos a hablar sobre nuestra ciudad.',
  },
  {
    english: 'The river is very important for the city.',
    spanish: 'El río es muy importante para la ciudad.',
  },
  {
    english: 'My family has a small restaurant.',
    spanish: 'Mi familia tiene un restaurante pequeño.',
  },
  {
    english: 'I would like to visit the museum with my sister.',
    spanish: 'Me gustaría visitar el museo con mi hermana.',
  },
  {
    english: 'Many people want to learn a new language.',
    spanish: 'Muchas personas quieren aprender una lengua nueva.',
  },
  {
    english: 'We hope to see you again next year.',
    spanish: 'Esperamos verte otra vez el año que viene.',
  },
];
