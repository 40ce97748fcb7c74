// What a page of another site can try on a server; returns what it could read.
async ({ server, reads, writes }) => {
  const found = [];
  const within = (promise, what) =>
    Promise.race([promise, new Promise(done => setTimeout(done, 2000, null))])
      .then(text => text && found.push(`${what}: ${String(text).slice(0, 80)}`))
      .catch(() => null);
  const fetched = (address, options) =>
    fetch(address, options).then(async answer => `${answer.status} ${await answer.text()}`.trim());
  const element = (name, attributes) =>
    new Promise((done, fail) => {
      const made = document.createElement(name);
      made.onload = () => done(made);
      made.onerror = fail;
      made.onloadeddata = () => done(made);
      Object.assign(made, attributes);
      document.body.append(made);
    });

  const read = async path => {
    const address = server + path;
    for (const credentials of ['include', 'omit']) {
      await within(fetched(address, { credentials }), `fetch ${path}`);
      await within(
        fetched(address, { mode: 'no-cors', credentials }).then(text => text.slice(2)),
        `no-cors ${path}`
      );
    }
    await within(
      new Promise(done => {
        const request = new XMLHttpRequest();
        request.onloadend = () => done(request.responseText);
        request.open('GET', address);
        request.withCredentials = true;
        request.send();
      }),
      `XMLHttpRequest ${path}`
    );
    await within(element('img', { src: address }).then(made => made.width), `img ${path}`);
    await within(element('script', { src: address }).then(() => 'ran'), `script ${path}`);
    await within(element('video', { src: address }).then(() => 'plays'), `video ${path}`);
    await within(
      element('link', { rel: 'stylesheet', href: address }).then(() => 'styles'),
      `stylesheet ${path}`
    );
    for (const [name, attribute] of [['iframe', 'src'], ['object', 'data'], ['embed', 'src']]) {
      await within(
        element(name, { [attribute]: address }).then(made => made.contentDocument?.body.innerText),
        `${name} ${path}`
      );
    }
    await within(
      new Promise(done => {
        const opened = window.open(address);
        setTimeout(() => {
          try {
            done(opened.document.body.innerText);
          } catch {
            done(null);
          }
        }, 300);
      }),
      `window ${path}`
    );
  };
  await Promise.all(reads.map(read));
  const socket = new WebSocket(server.replace('http', 'ws') + '/info/');
  await within(new Promise(done => (socket.onopen = () => done('open'))), 'WebSocket');
  const events = new EventSource(`${server}/train/`, { withCredentials: true });
  await within(new Promise(done => (events.onopen = () => done('open'))), 'EventSource');

  const types = ['application/json', 'text/plain', 'application/x-www-form-urlencoded'];
  const files = () => {
    const form = new FormData();
    ['file', 'files', 'label'].forEach(name => form.append(name, new File(['x'], 'x.png')));
    return form;
  };
  const write = async ([method, path]) => {
    const address = server + path;
    for (const mode of ['cors', 'no-cors']) {
      for (const type of types) {
        const headers = { 'Content-Type': type };
        await within(
          fetched(address, { method, mode, headers, body: '{}', credentials: 'include' })
            .then(text => text.replace(/^0/, '')),
          `${method} ${path} ${type}`
        );
      }
      await within(
        fetched(address, { method, mode, body: files(), credentials: 'include' })
          .then(text => text.replace(/^0/, '')),
        `${method} ${path} with files`
      );
    }
    if (method === 'POST') {
      types.forEach(type => navigator.sendBeacon(address, new Blob(['{}'], { type })));
      navigator.sendBeacon(address, files());
      for (const enctype of ['text/plain', 'multipart/form-data', types[2]]) {
        for (const target of [`frame ${path} ${enctype}`, '_blank']) {
          const frame = document.createElement('iframe');
          frame.name = `frame ${path} ${enctype}`;
          const form = document.createElement('form');
          Object.assign(form, { method, action: address, enctype, target });
          form.innerHTML = '<input name="params" value="{}">';
          document.body.append(frame, form);
          form.submit();
          await new Promise(done => setTimeout(done, 50));
          frame.remove();
        }
      }
    }
  };
  await Promise.all(writes.map(write));
  return found;
}
