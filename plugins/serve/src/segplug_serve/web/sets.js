/** Label maps that are bit masks: bit c of a value, 1 << c, says whether class c is there. */

/**
 * How the values of a label map belong to the labels of the legend.
 * @param {number} classes of a bit mask; 0: each value is one label
 * @returns {(value: number, label: number) => boolean} whether pixels of a value have a label
 */
export function membership(classes) {
  const sets = 2 ** classes;
  // 0, no class, and the label of unknown pixels are no bits.
  return (value, label) => (classes > 0 && label > 0 && label < sets && value < sets ? (value & label) > 0 : value === label);
}
