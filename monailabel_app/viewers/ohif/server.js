// The MONAI Label server that served this page, whatever its host and port.

const SERVER = `${window.location.origin}/`;

/** Send a request; a refusal becomes an error with the server's reason. */
async function ask(method, path, { query = {}, form, json, signal } = {}) {
  const url = new URL(path, SERVER);
  Object.entries(query).forEach(([name, value]) => url.searchParams.set(name, value));
  const options = { method, signal };
  if (form) {
    options.body = new FormData();
    Object.entries(form).forEach(([name, value]) =>
      value instanceof File
        ? options.body.append(name, value, value.name)
        : options.body.append(name, value)
    );
  } else if (json) {
    options.body = JSON.stringify(json);
    options.headers = { 'Content-Type': 'application/json' };
  }
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw new Error('The server does not answer; is it running?');
  }
  if (!response.ok) {
    const detail = await response.json().then(found => found.detail, () => response.statusText);
    throw new Error(typeof detail === 'string' ? detail : JSON.stringify(detail));
  }
  return response;
}

async function askJson(...request) {
  return (await ask(...request)).json();
}

/**
 * Run a model on an image.
 *
 * @param {object} more parameters of the request; of them `label` is a file that goes with it
 * @returns {{answer: object, label: {data: Uint8Array, sizes: number[], header: object}}}
 */
async function infer(model, image, { label: drawn, ...more } = {}) {
  const params = {
    result_extension: '.nrrd',
    result_dtype: 'uint8',
    index: 'file', // slices of clicks are counted as in the archive
    ...more,
  };
  const path = `infer/${encodeURIComponent(model)}`;
  const sent = { params: JSON.stringify(params), ...(drawn ? { label: drawn } : {}) };
  const form = await stoppable(model, async signal =>
    (await ask('POST', path, { query: { image, output: 'all' }, form: sent, signal })).formData()
  );
  const summary = form.get('params');
  const answer = JSON.parse(typeof summary === 'string' ? summary : await summary.text());
  return { answer, label: await readNrrd(await form.get('image').arrayBuffer()) };
}

/** Save a label file for an image as final, so that trainings use it. */
function saveLabel(image, file, params) {
  return askJson('PUT', 'datastore/label', {
    query: { image },
    form: {
      params: JSON.stringify({ client: 'OHIF', client_id: readerId(), ...params }),
      label: file,
    },
  });
}
