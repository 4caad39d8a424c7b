/**
 * Decode a label mask: a PNG of 8 bits with a palette, or of 8 or 16 bits in grey. A canvas would give colours, which
 * two classes may share; here the values are the labels, as the server wrote them.
 * @param {ArrayBuffer} content
 * @returns {Promise<{width: number, height: number, labels: Uint8Array|Uint16Array}>}
 */
export async function decodeLabels(content) {
  const bytes = new Uint8Array(content);
  const view = new DataView(content);
  const start = [137, 80, 78, 71, 13, 10, 26, 10];
  if (start.some((value, place) => bytes[place] !== value)) throw new Error("the answer is no PNG");
  let header = null;
  const parts = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const size = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const data = bytes.subarray(at + 8, at + 8 + size);
    if (kind === "IHDR") header = readHeader(view, at + 8);
    if (kind === "IDAT") parts.push(data);
    at += size + 12;
  }
  if (header === null) throw new Error("the answer is no whole PNG");
  const { width, height, depth } = header;
  const row = (width * depth) / 8;
  const packed = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = new Uint8Array(await new Response(packed).arrayBuffer());
  if (raw.length < (row + 1) * height) throw new Error("the answer is no whole PNG");
  const values = unfiltered(raw, row, height, depth / 8);
  return { width, height, labels: depth === 8 ? values : wide(values) };
}

function readHeader(view, at) {
  const [depth, colour, interlace] = [view.getUint8(at + 8), view.getUint8(at + 9), view.getUint8(at + 12)];
  const usual = (depth === 8 && (colour === 3 || colour === 0)) || (depth === 16 && colour === 0);
  if (!usual || interlace) throw new Error("the answer is no label mask");
  return { width: view.getUint32(at), height: view.getUint32(at + 4), depth };
}

/** The bytes without the filters of the rows (PNG specification, section 9). */
function unfiltered(raw, row, height, step) {
  const out = new Uint8Array(row * height);
  for (let y = 0; y < height; y++) {
    const from = y * (row + 1);
    const filter = raw[from];
    const line = raw.subarray(from + 1, from + 1 + row);
    const to = y * row;
    if (filter === 0) {
      out.set(line, to);
      continue;
    }
    for (let x = 0; x < row; x++) {
      const left = x >= step ? out[to + x - step] : 0;
      const up = y > 0 ? out[to + x - row] : 0;
      const corner = x >= step && y > 0 ? out[to + x - row - step] : 0;
      out[to + x] = line[x] + predicted(filter, left, up, corner);
    }
  }
  return out;
}

function predicted(filter, left, up, corner) {
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  const guess = left + up - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

function wide(bytes) {
  const out = new Uint16Array(bytes.length / 2);
  for (let place = 0; place < out.length; place++) out[place] = (bytes[2 * place] << 8) | bytes[2 * place + 1];
  return out;
}
