// Tables as comma-separated values (RFC 4180).

const BYTE_ORDER_MARK = '\uFEFF'; // without it, Excel takes UTF-8 for another encoding

/**
 * Write rows as CSV.
 * @param {readonly (readonly (string | number)[])[]} rows
 */
export function createCsv(rows) {
  return BYTE_ORDER_MARK + rows.map((row) => `${row.map(quote).join(',')}\r\n`).join('');
}

/**
 * Quote a value where it must be. A text that a spreadsheet would compute begins with an apostrophe.
 * @param {string | number} value
 */
function quote(value) {
  const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
