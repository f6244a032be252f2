/** The words of the page in the language of its visitor. The words themselves are in texts/. */

import { texts as english } from './texts/en.js';

/** @typedef {keyof typeof english} TextKey */

/** What each language is loaded from, once it is wanted. */
const LANGUAGES = {
  en: async () => ({ texts: english }),
  es: () => import('./texts/es.js'),
};

/** @typedef {keyof typeof LANGUAGES} Language */

let current = english;

/** @param {readonly string[]} preferred language tags, best first @returns {Language} */
export function chooseLanguage(preferred) {
  const known = preferred.map((tag) => tag.slice(0, 2)).find((tag) => tag in LANGUAGES);
  return /** @type {Language} */ (known ?? 'en');
}

/** From now on `text` speaks this language. @param {Language} language */
export async function useLanguage(language) {
  current = (await LANGUAGES[language]()).texts;
  document.documentElement.lang = language;
}

/** @param {string} key @returns {key is TextKey} */
export const hasText = (key) => Object.hasOwn(english, key);

/** @param {TextKey} key @param {Record<string, string | number>} [values] for the `{name}`s in the text */
export function text(key, values = {}) {
  return current[key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}
