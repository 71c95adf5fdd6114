/** @typedef {'verified' | 'high' | 'low' | 'modified' | 'none' | 'never'} Trust */

/** Above this, a match by name counts as high confidence (a `filename_exact` match is above 0.9). */
const HIGH = 0.9

/**
 * How far a match can be trusted, as the panel shows it: from the method, the confidence (0 to 1)
 * and whether the bytes differ from what the publisher lists. A model that nobody was asked about has
 * no match either, but that says nothing of it.
 * @param {{match_method?: string, match_confidence?: number, hash_mismatch?: boolean, model_id?: string, lookup_attempts?: number}} match
 * @returns {Trust}
 */
export function trustOf({ match_method, match_confidence, hash_mismatch, model_id, lookup_attempts = 0 }) {
  if (hash_mismatch) return 'modified'
  if (match_method === 'hash') return 'verified'
  if (!match_method || match_method === 'none') return model_id !== undefined && lookup_attempts === 0 ? 'never' : 'none'
  if (match_method === 'filename_exact' || (match_confidence ?? 0) >= HIGH) return 'high'
  return 'low'
}

/** Whether there is a match to speak of. @param {Parameters<typeof trustOf>[0]} match */
export const isMatched = (match) => !['none', 'never'].includes(trustOf(match))
