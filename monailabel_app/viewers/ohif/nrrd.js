// NRRD: the answers of the server, and the labels sent to it. Values of 8 bit.

async function through(stream, bytes) {
  const piped = new Blob([bytes]).stream().pipeThrough(stream);
  return new Uint8Array(await new Response(piped).arrayBuffer());
}

/** Read `(columns, rows[, slices])` of 8 bit, x fastest. */
async function readNrrd(buffer) {
  const bytes = new Uint8Array(buffer);
  let end = 0;
  while (end < bytes.length && !(bytes[end] === 10 && bytes[end + 1] === 10)) {
    end += 1;
  }
  const header = {};
  for (const line of new TextDecoder().decode(bytes.subarray(0, end)).split('\n')) {
    const found = /^([^:#]+):=?\s*(.*)$/.exec(line);
    if (found) {
      header[found[1].trim().toLowerCase()] = found[2].trim();
    }
  }
  if (!['uint8', 'uchar', 'unsigned char', 'uint8_t'].includes(header.type)) {
    throw new Error(`The label has values of type ${header.type}; expected 8 bit`);
  }
  const sizes = header.sizes.split(/\s+/).map(Number);
  const content = bytes.subarray(end + 2);
  const packed = ['gzip', 'gz'].includes(header.encoding);
  const data = packed ? await through(new DecompressionStream('gzip'), content) : content;
  const expected = sizes.reduce((product, size) => product * size, 1);
  if (data.length !== expected) {
    throw new Error(`The label holds ${data.length} values; expected ${sizes.join(' x ')}`);
  }
  return { data, sizes, header };
}

/**
 * Write a label of 8 bit.
 *
 * @param {Uint8Array} data x fastest
 * @param {number[]} sizes columns, rows and, of several slices or frames, their number
 * @param {?{origin: number[], directions: number[][]}} grid in mm, of volumes in the patient
 */
async function writeNrrd(data, sizes, grid, name) {
  const vector = values => `(${values.join(',')})`;
  const header = ['NRRD0004', 'type: uint8', `dimension: ${sizes.length}`];
  if (grid) {
    header.push('space: left-posterior-superior');
  }
  header.push(`sizes: ${sizes.join(' ')}`);
  if (grid) {
    header.push(`space directions: ${grid.directions.map(vector).join(' ')}`);
  }
  header.push(`kinds: ${sizes.map(() => 'domain').join(' ')}`, 'endian: little', 'encoding: gzip');
  if (grid) {
    header.push(`space origin: ${vector(grid.origin)}`);
  }
  const packed = await through(new CompressionStream('gzip'), data);
  return new File([`${header.join('\n')}\n\n`, packed], name);
}
