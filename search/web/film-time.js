// Times of films.

/**
 * Format a time of a film as H:MM:SS.
 * @param {number} seconds From the start.
 */
export function formatClock(seconds) {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 60) % 60, whole % 60].map((part) => String(part).padStart(2, '0'));
  return [Math.floor(whole / 3600), ...parts].join(':');
}
