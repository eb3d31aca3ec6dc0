// The scale of the slider that sets how far variants go: noise levels (sigma), on a logarithmic
// scale, with named regimes along it.

export const STEPS = 1000;
const SNAP_STEPS = STEPS / 80; // this near to a regime, the slider goes to it
const MARGIN = 5; // the slider begins at the nearest regime, divided by this

/**
 * Limits of the server. sigma: least and most; regimes: the sigma of each name, in order.
 * @typedef {{ sigma: readonly [number, number], regimes: Record<string, number> }} Limits
 */

export class NoiseScale {
  /** @param {Limits} limits */
  constructor({ sigma, regimes }) {
    this.regimes = Object.entries(regimes);
    this.least = Math.max(sigma[0], this.regimes[0][1] / MARGIN);
    this.most = sigma[1];
  }

  /**
   * Return the position of a noise level, 0 to `STEPS`.
   * @param {number} sigma
   */
  toPosition(sigma) {
    return Math.round((STEPS * Math.log(sigma / this.least)) / Math.log(this.most / this.least));
  }

  /**
   * Return the noise level at a position. Near a regime, it is that regime's.
   * @param {number} position
   */
  toSigma(position) {
    const near = this.regimes.find(([, sigma]) => Math.abs(this.toPosition(sigma) - position) < SNAP_STEPS);
    if (near) return near[1];
    return Number((this.least * (this.most / this.least) ** (position / STEPS)).toPrecision(3));
  }

  /**
   * Return the name of the regime that has this noise level, or undefined.
   * @param {number} sigma
   */
  findRegime(sigma) {
    return this.regimes.find(([, one]) => one === sigma)?.[0];
  }

  /**
   * Return the regimes around a noise level: the last one below and the first one above it.
   * @param {number} sigma
   * @returns {[string | undefined, string | undefined]}
   */
  findNeighbours(sigma) {
    const above = this.regimes.findIndex(([, one]) => one > sigma);
    if (above < 0) return [this.regimes.at(-1)?.[0], undefined];
    return [this.regimes[above - 1]?.[0], this.regimes[above][0]];
  }
}
